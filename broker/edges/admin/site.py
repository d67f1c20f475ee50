"""Which resources does the operator API have? All of them, on one way in."""

import time
from typing import Protocol

from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from broker.audit.interface import LogReader
from broker.consents import Consents
from broker.credentials import Credentials
from broker.edges.admin.agents import Agents
from broker.edges.admin.api import AdminApi
from broker.edges.admin.approvals import Approvals
from broker.edges.admin.attestation import Attestations, Visible
from broker.edges.admin.calls import Calls
from broker.edges.admin.connectors import Catalog, Connectors
from broker.edges.admin.credentials import AgentCredentials
from broker.edges.admin.grants import GrantTrees
from broker.edges.admin.keys import BrokerKeys
from broker.edges.admin.operation import PREFIX
from broker.edges.admin.staff import Staff
from broker.grants import GrantKeeper, Grants
from broker.identity.interface import AgentStore
from broker.identity.operators import OperatorStore, OperatorTokens
from broker.identity.seals import Sealer
from broker.identity.token_keys import TokenKeys
from broker.journal import Journal, JournalStore
from broker.ledger.interface import LedgerReader
from broker.model import Clock
from broker.operators import Operators
from broker.payloads import Payloads
from broker.signals import Signals


class State(Protocol):
    """What of the state the API reads."""

    @property
    def agents(self) -> AgentStore:
        """The agents."""
        ...

    @property
    def grants(self) -> GrantKeeper:
        """Delegations."""
        ...

    @property
    def operators(self) -> OperatorStore:
        """The operators."""
        ...

    @property
    def journal(self) -> JournalStore:
        """The calls that are open."""
        ...

    @property
    def signals(self) -> Signals:
        """The way to every process."""
        ...

    @property
    def log(self) -> LogReader:
        """The logs."""
        ...

    @property
    def ledger(self) -> LedgerReader:
        """What is spent and held."""
        ...


def admin_route(
    store: State,
    catalog: Catalog,
    visible: Visible,
    *,
    keys: TokenKeys,
    journal: Journal,
    credentials: Credentials,
    grants: Grants,
    consents: Consents,
    operators: Operators,
    payloads: Payloads,
    sealer: Sealer,
    clock: Clock = time.time,
) -> BaseRoute:
    """The operator API.

    Args:
        store: what it reads.
        catalog: what the connectors offer.
        visible: what of that an agent is shown.
        keys: those that sign access tokens.
        journal: changes agents.
        credentials: changes secrets and keys.
        grants: revokes delegations.
        consents: writes down what humans say about calls that wait for them.
        operators: records refused attempts.
        payloads: reads what was said, and records that.
        sealer: seals cursors.
        clock: Unix time in seconds.
    """
    resources = (
        Agents(store, journal, sealer, clock),
        Attestations(store.agents, journal, catalog, visible, clock),
        AgentCredentials(store.agents, credentials, clock),
        GrantTrees(store.grants, grants, sealer, clock),
        Approvals(consents, sealer, clock),
        Calls(store.log, store.journal, journal, store.signals, sealer, payloads=payloads),
        Connectors(catalog),
        BrokerKeys(keys, credentials, clock),
        Staff(store.operators),
    )
    operations = [operation for resource in resources for operation in resource.operations()]
    api = AdminApi(operations, OperatorTokens(store.operators, clock), operators)
    return _Below(api)


class _Below(BaseRoute):
    """Everything below the prefix, whatever is in the path: patterns of the router stop at a line's end."""

    def __init__(self, api: AdminApi) -> None:
        self._api = api

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether a request is for the operator API."""
        inside = scope["type"] == "http" and f"{scope['path']}/".startswith(f"{PREFIX}/")
        return (Match.FULL if inside else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self._api(scope, receive, send)
