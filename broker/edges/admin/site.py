"""Which resources does the operator API have? All of them, on one way in."""

import time
from collections.abc import Sequence
from typing import Protocol

from starlette.routing import Route

from broker.audit.interface import LogReader
from broker.edges.admin.agents import Agents
from broker.edges.admin.api import AdminApi
from broker.edges.admin.grants import GrantTrees
from broker.edges.admin.operation import PREFIX
from broker.edges.admin.staff import Staff
from broker.grants import GrantKeeper, Grants
from broker.identity.interface import AgentStore
from broker.identity.operators import OperatorStore, OperatorTokens
from broker.identity.seals import Sealer
from broker.journal import Journal
from broker.ledger.interface import LedgerReader
from broker.model import Clock
from broker.operators import Operators


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
    def log(self) -> LogReader:
        """The logs."""
        ...

    @property
    def ledger(self) -> LedgerReader:
        """What is spent and held."""
        ...


def admin_routes(
    store: State,
    *,
    journal: Journal,
    grants: Grants,
    operators: Operators,
    sealer: Sealer,
    clock: Clock = time.time,
) -> Sequence[Route]:
    """The operator API.

    Args:
        store: what it reads.
        journal: changes agents.
        grants: revokes delegations.
        operators: records refused attempts.
        sealer: seals cursors.
        clock: Unix time in seconds.
    """
    resources = (
        Agents(store, journal, sealer, clock),
        GrantTrees(store.grants, grants, sealer, clock),
        Staff(store.operators),
    )
    operations = [operation for resource in resources for operation in resource.operations()]
    api = AdminApi(operations, OperatorTokens(store.operators, clock), operators)
    return [Route(PREFIX, api), Route(f"{PREFIX}/{{rest:path}}", api)]
