"""Where in a call is something read, and whose is it?"""

from dataclasses import dataclass, field
from enum import StrEnum

from broker.guardrails.pseudonyms import Disguise
from broker.model import AgentId, Kind, Principal, Target


class Stage(StrEnum):
    """Where in a call a text is read."""

    ARGUMENTS = "arguments"
    RESULT = "result"
    DEFINITION = "tool-definition"
    PROMPT = "prompt"
    COMPLETION = "completion"

    @property
    def outward(self) -> bool:
        """Whether it leaves the agent: what a tool or a model is given, not what they answer."""
        return self in (Stage.ARGUMENTS, Stage.PROMPT)


@dataclass(frozen=True, slots=True)
class Scene:
    """Whose content is screened: the target it goes to or comes from, and who calls it."""

    target: Target
    agent: AgentId | None = None
    roles: frozenset[str] = frozenset()
    disguise: Disguise | None = field(default=None, compare=False, repr=False)
    """The pseudonyms of the call; None: what would get one is redacted."""

    @staticmethod
    def of(principal: Principal, target: Target, disguise: Disguise | None = None) -> "Scene":
        """The scene of a call."""
        agent = principal.agent
        return Scene(target, agent.id, agent.roles, disguise)


def outward(target: Target) -> Stage:
    """Where that is read which goes out to a target."""
    return Stage.PROMPT if target.kind is Kind.MODEL else Stage.ARGUMENTS


def inward(target: Target) -> Stage:
    """Where that is read which a target answers."""
    return Stage.COMPLETION if target.kind is Kind.MODEL else Stage.RESULT
