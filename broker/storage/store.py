"""What is a store? One bundle of ports; every backend gives the same."""

from dataclasses import dataclass

from broker.allowances import AllowanceStore
from broker.audit.feeds.following import FeedStore
from broker.audit.interface import Log
from broker.audit.payloads import PayloadStore
from broker.backups import BackupStore
from broker.consents import ApprovalKeeper
from broker.credentials import CredentialStore
from broker.definitions import PinStore
from broker.flow.interface import FlowStore
from broker.grants import GrantKeeper
from broker.guardrails.pseudonyms import PseudonymStore
from broker.idempotency import FirstCalls
from broker.identity.interface import AgentStore, KeyStore, ReplayStore, Standing
from broker.journal import JournalStore
from broker.ledger.interface import LedgerReader
from broker.operators import OperatorKeeper
from broker.retention import PruningStore
from broker.signals import Signals


@dataclass(frozen=True, slots=True)
class Store:
    """Everything the broker keeps, each part under the port of who needs it."""

    journal: JournalStore
    agents: AgentStore
    standing: Standing
    grants: GrantKeeper
    approvals: ApprovalKeeper
    keys: KeyStore
    credentials: CredentialStore
    replays: ReplayStore
    operators: OperatorKeeper
    pins: PinStore
    allowances: AllowanceStore
    feeds: FeedStore
    log: Log
    ledger: LedgerReader
    signals: Signals
    flow: FlowStore
    payloads: PayloadStore
    pruning: PruningStore
    backups: BackupStore
    first_calls: FirstCalls
    pseudonyms: PseudonymStore
