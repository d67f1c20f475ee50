"""What has had its time? Payloads go with the keys of their days, then the bodies of records; hashes stay."""

from collections.abc import Callable
from typing import Protocol

from broker.audit.interface import Entry, Event, Facts
from broker.model import Clock
from broker.settings import AuditSettings

DAY_S = 86_400


class PruningStore(Protocol):
    """What this needs from a backend. Each method is one transaction, and one of bounded length.

    Raises (all methods):
        StorageUnavailable: nothing can be written now.
    """

    async def prune_payloads(self, log: str, day: int, entry: Callable[[int], Entry]) -> int:
        """Destroy the keys of all days before this one (days since 1970) *and then* what they open, *and*
        record how many payloads that were; also those people about whom nothing is left.

        Returns:
            How many payloads; 0: none is left.
        """
        ...

    async def prune_records(self, log: str, before: int, entry: Callable[[int, int], Entry]) -> int:
        """Remove the bodies of records that are older (Unix microseconds) *and* record which, from the first
        to the one after the last. None of a call that is still open, and none after it, is removed.

        Returns:
            How many; 0: none is left.
        """
        ...

    async def names(self) -> list[str]:
        """All logs."""
        ...


class Retention:
    """Removes what is older than the settings say, and writes that down.

    Args:
        store: where it is removed.
        settings: how long what is kept.
        clock: Unix seconds.
    """

    def __init__(self, store: PruningStore, settings: AuditSettings, clock: Clock) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock

    async def prune(self) -> int:
        """Remove everything whose time is over; how many payloads and records that were."""
        return sum([await self._prune(log) for log in await self._store.names()])

    async def _prune(self, log: str) -> int:
        kept, today = self._settings, int(self._clock()) // DAY_S
        before = (today - kept.record_days) * DAY_S

        def payloads(count: int) -> Entry:
            facts: Facts = {"what": "payloads", "count": count, "days": kept.payload_days}
            return Entry(log, Event.LOG_PRUNED, facts)

        def records(first: int, end: int) -> Entry:
            facts: Facts = {"what": "records", "first": first, "end": end, "days": kept.record_days}
            return Entry(log, Event.LOG_PRUNED, facts)

        total = 0
        while count := await self._store.prune_payloads(log, today - kept.payload_days, payloads):
            total += count
        while count := await self._store.prune_records(log, before * 1_000_000, records):
            total += count
        return total
