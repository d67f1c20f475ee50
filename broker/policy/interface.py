"""May they? What the pipeline asks of a policy engine."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from broker.errors import Because
from broker.model import Json, MicroUSD, Principal, Situation, Target


@dataclass(frozen=True, slots=True)
class Obligations:
    """What a permitted call has to keep to. Of several rules the strictest counts.

    `max_cost` caps the quote; `redact` are dotted paths that are taken out of the result; `watermark`
    marks the result as made by an agent.
    """

    max_cost: MicroUSD | None = None
    redact: frozenset[str] = frozenset()
    watermark: bool = False


@dataclass(frozen=True, slots=True)
class Consent:
    """A human has to agree before the call is made: `rule` asks for it, holders of `approver` may give it."""

    rule: str
    approver: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Shadow:
    """What the decision would have been with the shadow rules, where that differs."""

    permitted: bool
    because: tuple[Because, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict on one call: permitted only if every actor in the chain is permitted.

    `because` names the rules that decided; `hint` is what the caller could do instead;
    `policy` is the version (hash) of the set in force. A call that is not permitted and lists
    `consents` would be permitted if a human agreed to each of them.
    """

    permitted: bool
    because: tuple[Because, ...]
    policy: str
    hint: str | None = None
    obligations: Obligations = field(default_factory=Obligations)
    consents: tuple[Consent, ...] = ()
    shadow: Shadow | None = None


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

    def decide(self, principal: Principal, target: Target, params: Json, situation: Situation) -> Decision:
        """Whether this chain may make this call with these (already screened) parameters, now."""
        ...
