"""What speaks for and against an agent: the vocabulary of trust."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

MOST = 1000
"""The highest score."""

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US


class Band(StrEnum):
    """What a score means. Each takes away what the ones above it leave."""

    QUARANTINED = "quarantined"
    """Nothing may be called until a human releases it."""
    RESTRICTED = "restricted"
    """Only what reads, and nothing may be handed on."""
    WATCH = "watch"
    """What destroys needs a human's agreement."""
    STANDARD = "standard"
    """Nothing is taken away."""
    TRUSTED = "trusted"
    """Nothing is taken away, and rules may ask for it."""


@dataclass(frozen=True, slots=True)
class Sign:
    """One thing in the log that speaks against an agent.

    Args:
        rule: its name in `policies/trust/weights.yaml`, which says how much it weighs.
        agent: whom it speaks against.
        at: Unix microseconds.
        seq: the record that it was seen in; `call`: the call that this record is about.
        key: signs of one rule and key count once; None: each one counts.
        withdrawn: whether it says that the sign of this rule and key does not count any more.
    """

    rule: str
    agent: str
    at: int
    seq: int
    call: str | None = None
    key: str | None = None
    withdrawn: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """One record of the log as watchers see it.

    Args:
        seq: its place in its log.
        at: Unix microseconds.
        type: of the closed list `broker.audit.interface.Event`.
        agent: who acted, where somebody did.
        body: all of it, parsed.
    """

    seq: int
    at: int
    type: str
    agent: str | None
    body: Mapping[str, Any]


class Watcher(Protocol):
    """Sees the records of one log in their order, and says what speaks against whom.

    What it says may depend only on the records before, and of the records within one second not on
    their order: a replay has to come out the same.
    """

    def see(self, record: Record, /) -> Iterable[Sign]:
        """The signs in this record."""
        ...
