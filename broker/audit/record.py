"""What are the exact bytes of a record? Those that are hashed, stored and never written anew.

One JSON object in a profile of JCS (RFC 8785) in which sorting keys is all that has to be done:
ASCII keys, integers within ±(2^53-1), no floats. The backend's own fields come first in meaning,
and facts cannot override them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any

import orjson

from broker.audit.interface import Entry, Event, LogHead, Receipt
from broker.audit.tree import leaf_hash, push, root_of
from broker.errors import InvalidRequest

MAX_RECORD_BYTES = 60 * 1024
FORMAT = 1
ENVELOPE = frozenset({"v", "log", "seq", "ts", "node", "type", "call", "agent"})
_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER
_SCALARS = frozenset({str, int, bool, type(None)})
_OBJECTS = frozenset({dict})
_CONTAINERS = frozenset({dict, list, tuple})


@dataclass(frozen=True, slots=True)
class Written:
    """One record as it goes into a log: `ts` in Unix microseconds, `body` the hashed bytes."""

    seq: int
    ts: int
    entry: Entry
    leaf: bytes
    body: bytes

    @property
    def receipt(self) -> Receipt:
        """What the caller gets to keep."""
        return Receipt(self.entry.log, self.seq, self.leaf.hex(), self.seq + 1)


@dataclass(slots=True)
class GrowingLog:
    """The end of a log, to which records are added. Held by whoever holds the write transaction.

    `ts` is the time of the last record in Unix microseconds; time in a log never runs backwards.
    """

    name: str
    origin: str
    size: int
    ts: int
    frontier: list[bytes]

    @property
    def head(self) -> LogHead:
        """Where the log stands now."""
        return LogHead(self.name, self.origin, self.size, root_of(self.frontier))

    def append(self, entry: Entry, *, node: str, now: int) -> Written:
        """Fix the bytes of the next record and take it into the tree; `now` in Unix microseconds.

        Raises:
            InvalidRequest: the facts do not fit the profile, or are too large; the log is as before.
        """
        ts = max(self.ts, now)
        body = _encode(entry, {"log": self.origin, "seq": self.size, "ts": timestamp(ts), "node": node})
        leaf = leaf_hash(body)
        written = Written(self.size, ts, entry, leaf, body)
        push(self.frontier, self.size, leaf)
        self.size += 1
        self.ts = ts
        return written


def opened(name: str, origin: str, *, node: str, now: int) -> tuple[GrowingLog, Written]:
    """A new log with its first record, `log.opened`."""
    log = GrowingLog(name, origin, 0, 0, [])
    return log, log.append(Entry(name, Event.LOG_OPENED, {}), node=node, now=now)


def origin_of(deployment: str, name: str) -> str:
    """The origin line of a log (C2SP tlog-checkpoint)."""
    return f"{deployment}/audit/{name}"


@lru_cache(maxsize=8)  # all records of a commit have the same time
def timestamp(micros: int) -> str:
    """RFC 3339 in UTC with microseconds."""
    seconds, rest = divmod(micros, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC).isoformat()[:19]}.{rest:06d}Z"


def _encode(entry: Entry, fields: Mapping[str, Any]) -> bytes:
    _check_profile(entry.facts)
    if not ENVELOPE.isdisjoint(entry.facts):
        names = ", ".join(f"`{name}`" for name in sorted(ENVELOPE & entry.facts.keys()))
        raise InvalidRequest(f"the facts of a record may not set {names}: the log does")
    record = {**entry.facts, **fields, "v": FORMAT, "type": entry.event}
    if entry.call is not None:
        record["call"] = entry.call
    if entry.agent is not None:
        record["agent"] = entry.agent
    try:
        body = orjson.dumps(record, option=_OPTIONS)
    except orjson.JSONEncodeError as error:
        raise InvalidRequest(f"a record cannot hold these facts: {error}") from error
    if len(body) > MAX_RECORD_BYTES:
        raise InvalidRequest(f"a record of {len(body):,} bytes exceeds the {MAX_RECORD_BYTES:,} of a log")
    return body


def _check_profile(facts: Mapping[str, Any]) -> None:
    """Refuse what orjson would write but JCS would write otherwise, or what would not be JSON at all."""
    todo: list[Any] = [facts]
    while todo:
        value = todo.pop()
        if type(value) in _OBJECTS:
            _check_keys(value)
            value = value.values()
        for item in value:
            kind = item.__class__
            if kind in _SCALARS:
                continue
            if kind in _CONTAINERS:
                todo.append(item)
            elif not isinstance(item, StrEnum):
                raise InvalidRequest(f"a record cannot hold a {kind.__name__}: use integers and text")


def _check_keys(value: Mapping[Any, Any]) -> None:
    for key in value:
        if type(key) is not str or not key.isascii():
            raise InvalidRequest(f"a record cannot hold the key {key!r}: keys are ASCII text")
