"""What is there to tell? Ended calls and tokens, in order, as every format takes them."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast

import orjson

from broker.audit.interface import CallFilter, Event, Filter, LogHead, LogReader, StoredRecord
from broker.model import Json

WINDOW = 10_000
"""How many records of a log are looked through at once."""
_TOKENS = frozenset({Event.TOKEN_ISSUED, Event.TOKEN_REFUSED, Event.TOKEN_REVOKED})


@dataclass(frozen=True, slots=True)
class Told:
    """One thing that happened: what its first record says, what its last says, and where that one is."""

    origin: str
    seq: int
    leaf: bytes
    first: Json
    last: Json

    @property
    def is_call(self) -> bool:
        """Whether it is a call, and not something about a token."""
        return str(self.last["type"]).startswith("call.")

    @property
    def id(self) -> str:
        """What names it, the same however often it is told."""
        return f"{self.origin}#{self.seq}"

    @property
    def agent(self) -> str:
        """Who acted."""
        return str(self.last.get("agent") or "")

    @property
    def outcome(self) -> str:
        """How the call ended."""
        return str(self.last.get("outcome", "unknown"))

    @property
    def began_us(self) -> int:
        """Unix microseconds of the first record."""
        return micros(self.first)

    @property
    def ended_us(self) -> int:
        """Unix microseconds of the last record."""
        return micros(self.last)

    @property
    def findings(self) -> list[Json]:
        """What the guards found, each once."""
        found = list(self.first.get("findings", ()))
        return found if self.first is self.last else found + list(self.last.get("findings", ()))

    def part(self, name: str, *, last: bool = False) -> Json:
        """An object in the first record, or in the last; empty where there is none."""
        return cast("Json", (self.last if last else self.first).get(name) or {})


def micros(body: Json) -> int:
    """Unix microseconds of a record."""
    time = datetime.fromisoformat(body["ts"])
    return int(time.timestamp()) * 1_000_000 + time.microsecond


async def told(log: LogReader, head: LogHead, where: CallFilter) -> AsyncIterator[Told]:
    """What happened in a log up to its head, oldest first; tokens too, unless a filter is about calls alone.

    Args:
        log: where it is read.
        head: the log, as long as it is to be read.
        where: which calls.
    """
    about_calls = (
        where.tool is not None or where.outcomes or (where.least_cost, where.most_cost) != (None, None)
    )
    for start in range(where.from_seq, min(head.size, where.before_seq or head.size), WINDOW):
        end = min(start + WINDOW, head.size, where.before_seq or head.size)
        here = replace(where, from_seq=start, before_seq=end)
        found = [_call(head, one.begun, one.ended) for one in await log.calls(head.name, here, last=WINDOW)]
        if not about_calls:
            tokens = Filter(agent=where.agent, events=_TOKENS, from_seq=start, before_seq=end)
            records = log.records(head.name, tokens)
            found += [one async for r in records if _in_time(one := _call(head, r, r), where)]
        for one in sorted(found, key=lambda each: each.seq):
            yield one


def _in_time(one: Told, where: CallFilter) -> bool:
    at = one.ended_us
    return (where.since is None or at >= where.since) and (where.until is None or at < where.until)


def _call(head: LogHead, begun: StoredRecord, ended: StoredRecord) -> Told:
    last: Any = orjson.loads(ended.body)
    first: Any = last if begun.seq == ended.seq else orjson.loads(begun.body)
    return Told(head.origin, ended.seq, ended.leaf, first, last)
