"""How does the log reach another system while it grows? At least once, in order, from where it got to.

How far a feed was delivered is kept beside the log, after the delivery: whatever ends the broker in between
makes it tell the same again, never leave anything out. What is told again is named the same as before.
"""

from collections.abc import AsyncIterator
from typing import Protocol

from broker.audit.feeds.formats import FORMATS
from broker.audit.feeds.told import told
from broker.audit.interface import CallFilter, Filter, LogHead, LogReader

BATCH = 200
"""How many records are delivered together at most."""


class FeedStore(Protocol):
    """Where it is kept how far feeds were delivered.

    Raises (all methods):
        StorageUnavailable: nothing can be read or written now.
    """

    async def delivered(self, feed: str) -> dict[str, int]:
        """By log the number of the first record that was not delivered yet."""
        ...

    async def deliver(self, feed: str, log: str, next_seq: int) -> None:
        """Note that all records of a log before this one were delivered."""
        ...


class Sink(Protocol):
    """Where a feed is delivered to."""

    async def send(self, lines: bytes, name: str) -> None:
        """Deliver lines, durably; `name` is the same whenever the same records are sent.

        Raises:
            UpstreamError: they were not taken; they are sent again later.
        """
        ...


class Feed:
    """One continuous export of all logs.

    Args:
        name: as the operator calls it.
        kind: one of `FORMATS`. As `jsonl` every record goes out, byte for byte; the others tell of ended
            calls and of tokens.
        log: where records are read.
        store: where it is kept how far it got.
        sink: where they go.
    """

    def __init__(self, name: str, kind: str, *, log: LogReader, store: FeedStore, sink: Sink) -> None:
        self._name = name
        self._lines = None if kind == "jsonl" else FORMATS[kind]
        self._log = log
        self._store = store
        self._sink = sink
        self.behind = 0
        """How many records were not delivered at the last look."""
        self.failing = False
        """Whether the last delivery failed."""

    async def catch_up(self) -> int:
        """Deliver what there is and was not delivered; how many records that were.

        Raises:
            UpstreamError: the sink did not take it.
            StorageUnavailable: the log cannot be read, or how far it got not be kept.
        """
        heads, places = await self._log.logs(), await self._store.delivered(self._name)
        self.behind = behind(heads, places)
        self.failing = True
        count = 0
        for head in heads:
            async for done in self._deliver(head, places.get(head.name, 0)):
                self.behind -= done
                count += done
        self.failing = False
        return count

    async def _deliver(self, head: LogHead, start: int) -> AsyncIterator[int]:
        for first in range(start, head.size, BATCH):
            end = min(first + BATCH, head.size)
            if lines := await self._read(head, first, end):
                await self._sink.send(lines, f"{head.origin}/{first}-{end}")
            await self._store.deliver(self._name, head.name, end)
            yield end - first

    async def _read(self, head: LogHead, first: int, end: int) -> bytes:
        if self._lines is None:
            found = self._log.records(head.name, Filter(from_seq=first, before_seq=end))
            return b"".join([record.body + b"\n" async for record in found if record.body])
        here = CallFilter(from_seq=first, before_seq=end)
        events = [one async for one in told(self._log, head, here)]
        return b"".join(self._lines(events)) if events else b""


def behind(heads: list[LogHead], places: dict[str, int]) -> int:
    """How many records of these logs were not delivered."""
    return sum(max(head.size - places.get(head.name, 0), 0) for head in heads)
