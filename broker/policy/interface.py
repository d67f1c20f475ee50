"""May they? What the pipeline asks of a policy engine."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from broker.errors import Because
from broker.model import Json, Principal, Target


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict on one call: permitted only if every actor in the chain is permitted.

    `because` names the rules that decided; `hint` is what the caller could do instead;
    `policy` is the version (hash) of the set in force.
    """

    permitted: bool
    because: tuple[Because, ...]
    policy: str
    hint: str | None = None


class Policy(Protocol):
    """A pure decision point: no I/O, no waiting. Fails closed on every error."""

    @property
    def version(self) -> str:
        """`sha256:` of the compiled set in force."""
        ...

    def visible(self, principal: Principal, targets: Iterable[Target]) -> list[Target]:
        """The targets that every actor of the chain may use under *some* arguments, in the given order."""
        ...

    def sees(self, principal: Principal, target: Target) -> bool:
        """Whether one target is visible; agrees with `visible`."""
        ...

    def decide(self, principal: Principal, target: Target, params: Json) -> Decision:
        """Whether this chain may make this call with these (already screened) parameters."""
        ...
