"""What must be durable together when an operator says that a finding was none: the exception and its record.

An exception is one guard and the keyed hash of one text, as the record of a call names it. The text itself
is known to nobody here; every other text is found as before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from broker.audit.interface import SYSTEM_LOG, Entry, Event, Facts


@dataclass(frozen=True, slots=True)
class Allowance:
    """`guard` finds nothing in the text with this `digest` any more. `at` is Unix seconds."""

    guard: str
    digest: str
    reason: str
    by: str
    at: int


class AllowanceStore(Protocol):
    """What this needs from a backend. Each method is one transaction.

    Raises (all methods):
        StorageUnavailable: nothing can be read or written now.
    """

    async def allowances(self) -> Sequence[Allowance]:
        """All exceptions, by guard and digest."""
        ...

    async def allow(self, allowance: Allowance, entry: Entry) -> None:
        """Add an exception, or give it another reason, *and* record it."""
        ...

    async def withdraw(self, guard: str, digest: str, entry: Entry) -> None:
        """Remove an exception *and* record it.

        Raises:
            UnknownTarget: there is no such exception.
        """
        ...


class Allowances:
    """Keeps exceptions, and writes down who made them and why."""

    def __init__(self, store: AllowanceStore) -> None:
        self._store = store

    async def all(self) -> Sequence[Allowance]:
        """All exceptions."""
        return await self._store.allowances()

    async def allow(self, allowance: Allowance) -> None:
        """Let a guard pass over one text from now on, in every process."""
        facts: Facts = {"guard": allowance.guard, "digest": allowance.digest}
        facts |= {"reason": allowance.reason, "by": allowance.by}
        await self._store.allow(
            allowance, Entry(SYSTEM_LOG, Event.GUARD_EXCEPTED, {"change": "allowed", **facts})
        )

    async def withdraw(self, guard: str, digest: str, *, by: str, reason: str) -> None:
        """Have a guard find a text again.

        Raises:
            UnknownTarget: there is no such exception.
        """
        facts: Facts = {"change": "withdrawn", "guard": guard, "digest": digest, "reason": reason, "by": by}
        await self._store.withdraw(guard, digest, Entry(SYSTEM_LOG, Event.GUARD_EXCEPTED, facts))
