"""What might be asked of the policies? A call that nobody makes, and what an agent would meet with."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise

from broker.model import (
    Agent,
    AgentId,
    Attestation,
    Grant,
    GrantId,
    Json,
    Kind,
    OrganisationId,
    Principal,
    Situation,
    Target,
)
from broker.policy.engine import PolicyEngine
from broker.policy.interface import Decision

TRANSACTION = "hypothetical"


class Verdict(StrEnum):
    """What an agent meets with."""

    ALLOW = "allow"
    DENY = "deny"
    NEEDS_APPROVAL = "needs_approval"
    HIDDEN = "hidden"
    """Denied so that it does not exist for the agent."""


@dataclass(frozen=True, slots=True)
class Question:
    """One call that might be made: by whom, of what, with which arguments, in which situation."""

    principal: Principal
    target: Target
    params: Json
    situation: Situation = field(default_factory=Situation)
    hour: int = 12
    """Of the day, UTC."""


class HeldClock:
    """A clock that stands at the hour of the question. Give its `now` to the engine."""

    def __init__(self) -> None:
        self.hour = 12

    def now(self) -> float:
        """Unix time in seconds, of some day."""
        return self.hour * 3600.0


def verdict_on(engine: PolicyEngine, question: Question) -> tuple[Verdict, Decision]:
    """What an agent meets with who asks this, in the order in which the pipeline asks."""
    decision = engine.decide(question.principal, question.target, question.params, question.situation)
    if not engine.sees(question.principal, question.target):
        return Verdict.HIDDEN, decision
    if decision.permitted:
        return Verdict.ALLOW, decision
    return (Verdict.NEEDS_APPROVAL if decision.consents else Verdict.DENY), decision


def hypothetical(
    name: str,
    roles: frozenset[str] = frozenset(),
    *,
    team: str | None = None,
    organisation: str = "test",
    attestation: Attestation = Attestation.REGISTERED,
) -> Agent:
    """An agent that nobody enrolled."""
    return Agent(AgentId(name), OrganisationId(organisation), roles, team, attestation=attestation)


def chain_of(actors: Sequence[Agent], task: str | None = None) -> Principal:
    """A principal for a chain of agents, newest first; `task` is what the first delegation is for."""
    newest, root = actors[0], actors[-1]
    hops = () if task is None else tuple(_hops(actors, task))
    return Principal(newest, root.id, tuple(actors), frozenset(), TRANSACTION, TRANSACTION, 0, hops)


def _hops(actors: Sequence[Agent], task: str) -> Iterator[Grant]:
    """Delegations that add no limits, newest first."""
    depth = len(actors) - 1
    for number, (to, by) in enumerate(pairwise(actors)):
        yield Grant(
            id=GrantId(f"{TRANSACTION}-{depth - number}"),
            parent=None if number == depth - 1 else GrantId(f"{TRANSACTION}-{depth - number - 1}"),
            organisation=to.organisation,
            subject=actors[-1].id,
            by=by.id,
            to=to.id,
            depth=depth - number,
            max_depth=depth,
            transaction=TRANSACTION,
            expires_at=0,
            created_at=0,
            task=task,
        )


def params_of(target: Target, arguments: Json) -> Json:
    """The parameters of a request that calls a target."""
    match target.kind:
        case Kind.RESOURCE | Kind.TEMPLATE:
            return {"uri": target.name}
        case Kind.MODEL:
            return {"model": target.name, **arguments}
        case _:
            return {"name": target.name, "arguments": arguments}
