"""What does the log say about calls? Their records, read and put together to one line each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import orjson

from broker.audit.interface import CallFilter, Event, Filter, LogReader, StoredRecord
from broker.model import Json

CALLS = frozenset({Event.CALL_INTENT, Event.CALL_DENIED, Event.CALL_OUTCOME, Event.CALL_UNKNOWN})
ENDS = CALLS - {Event.CALL_INTENT}


@dataclass(frozen=True, slots=True)
class LoggedRecord:
    """One record of a log, read."""

    log: str
    seq: int
    leaf: str
    body: Json


async def call_records(reader: LogReader, call: str) -> list[LoggedRecord]:
    """All records of a call, in whichever log they are."""
    heads = await reader.logs()
    return [
        read(head.name, record)
        for head in heads
        async for record in reader.records(head.name, Filter(call=call))
    ]


def read(log: str, record: StoredRecord) -> LoggedRecord:
    """A record of a log, read."""
    return LoggedRecord(log, record.seq, record.leaf.hex(), cast("Json", orjson.loads(record.body)))


def summary(first: LoggedRecord, last: LoggedRecord) -> Json:
    """One call on one line, as data."""
    return {
        "call": last.body.get("call"),
        "ts": last.body["ts"],
        "log": last.log,
        "agent": last.body.get("agent"),
        "name": part(first, "what").get("name"),
        "outcome": last.body.get("outcome"),
        "cost_micro_usd": last.body.get("cost", 0),
        "duration_us": last.body.get("duration_us"),
        "findings": len(findings([first, last])),
    }


def findings(records: Sequence[LoggedRecord]) -> list[dict[str, Any]]:
    """What the guards found, each once."""
    unique = {record.seq: record for record in records}
    return [finding for record in unique.values() for finding in record.body.get("findings", [])]


def part(record: LoggedRecord, name: str) -> dict[str, Any]:
    """One object in a record; empty where there is none."""
    return cast("dict[str, Any]", record.body.get(name) or {})


async def ended_calls(reader: LogReader, log: str, where: CallFilter, *, last: int) -> list[tuple[int, Json]]:
    """The newest ended calls that fit, oldest first: the number of each one's last record, and its line."""
    found = await reader.calls(log, where, last=last)
    return [(one.ended.seq, summary(read(log, one.begun), read(log, one.ended))) for one in found]
