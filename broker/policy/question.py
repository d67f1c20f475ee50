"""What might be asked of the policies? A call that nobody makes, and what an agent would meet with."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from broker.model import (
    Agent,
    AgentId,
    Attestation,
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


def chain_of(actors: Sequence[Agent]) -> Principal:
    """A principal for a chain of agents, newest first."""
    newest, root = actors[0], actors[-1]
    return Principal(newest, root.id, tuple(actors), frozenset(), TRANSACTION, TRANSACTION, 0)


def params_of(target: Target, arguments: Json) -> Json:
    """The parameters of a request that calls a target."""
    match target.kind:
        case Kind.RESOURCE | Kind.TEMPLATE:
            return {"uri": target.name}
        case _:
            return {"name": target.name, "arguments": arguments}
