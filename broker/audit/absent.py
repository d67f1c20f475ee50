"""Is what a record commits to gone, and may it be? What is not kept was erased, or had its time.

A commitment is in the tree, what it is about lies beside it. Whoever deletes that leaves the tree as it is;
but the tree also says whom each payload was about, who was erased, and which days were let go.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import orjson

from broker.audit.interface import Event, Filter, LogReader
from broker.audit.payloads import Part, PayloadStore

STEP = 4096
"""How many records are held against what is kept at once."""

_WHY = frozenset({Event.LOG_PRUNED, Event.SUBJECT_ERASED})


@dataclass(frozen=True, slots=True)
class _Committed:
    """A record that commits to a payload."""

    seq: int
    day: int
    subjects: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Reasons:
    """Why payloads may be gone: their day is before this one, or somebody they are about was erased."""

    before: int
    erased: frozenset[str]

    def excuse(self, one: _Committed) -> bool:
        return one.day < self.before or not self.erased.isdisjoint(one.subjects)


class Absences:
    """Payloads of one log that are gone without a reason.

    Args:
        log: where reasons are read.
        name: the log.
        payloads: says what is kept.
    """

    def __init__(self, log: LogReader, name: str, payloads: PayloadStore) -> None:
        self._log = log
        self._name = name
        self._payloads = payloads
        self._waiting: list[_Committed] = []
        self._missing: list[_Committed] = []
        self._reasons: _Reasons | None = None

    def note(self, seq: int, body: Mapping[str, Any]) -> None:
        """Take in the next record."""
        if any(isinstance(body.get(part), dict) and "commitment" in body[part] for part in Part):
            subjects = frozenset(str(one) for one in body.get("subjects") or ())
            self._waiting.append(_Committed(seq, _day(body), subjects))

    async def look(self, *, last: bool = False) -> None:
        """Hold what was noted against what is kept, where enough of it is waiting or it is the `last`."""
        waiting = self._waiting
        if not waiting or not (last or waiting[-1].seq - waiting[0].seq >= STEP):
            return
        self._waiting = []
        kept = await self._payloads.kept(self._name, waiting[0].seq, waiting[-1].seq + 1)
        gone = [one for one in waiting if one.seq not in kept]
        if gone:
            self._reasons = self._reasons or await self._read()
            self._missing += [one for one in gone if not self._reasons.excuse(one)]

    async def unexcused(self) -> list[int]:
        """The records whose payload is gone without a reason, not even one that came up meanwhile."""
        await self.look(last=True)
        if not self._missing:
            return []
        reasons = await self._read()
        return [one.seq for one in self._missing if not reasons.excuse(one)]

    async def _read(self) -> _Reasons:
        before, erased = 0, set[str]()
        async for record in self._log.records(self._name, Filter(events=_WHY)):
            body: Any = _json(record.body)
            if body.get("type") == Event.SUBJECT_ERASED:
                erased.add(str(body.get("subject")))
            elif body.get("type") == Event.LOG_PRUNED and body.get("what") == "payloads":
                days = body.get("days")
                before = max(before, _day(body) - days if isinstance(days, int) else 0)
        return _Reasons(before, frozenset(erased))


def _json(body: bytes) -> Any:
    try:
        fields: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return fields if isinstance(fields, dict) else {}  # pyright: ignore[reportUnknownVariableType] - JSON


def _day(body: Mapping[str, Any]) -> int:
    """Days from 1970 to when it was written; a record without a time belongs to the first."""
    try:
        return (date.fromisoformat(str(body.get("ts"))[:10]) - date(1970, 1, 1)).days
    except ValueError:
        return 0
