"""What does the log say about a call? Its records, put together to one story."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import orjson

from broker.audit.interface import Event, Filter, LogReader, StoredRecord
from broker.edges.cli.ink import visible
from broker.edges.cli.output import dollars
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
        _read(head.name, record)
        for head in heads
        async for record in reader.records(head.name, Filter(call=call))
    ]


class Tail:
    """The ended calls of all logs, newest first asked for, then whatever has been added.

    Args:
        reader: the logs.
        agent: only calls of this agent.
    """

    def __init__(self, reader: LogReader, agent: str | None) -> None:
        self._reader = reader
        self._agent = agent
        self._seen: dict[str, int] = {}

    async def newest(self, count: int) -> list[Json]:
        """The newest calls, oldest first; `since` goes on after them."""
        calls = await self._read_up(Filter(agent=self._agent, events=ENDS, last=count)) if count else []
        self._seen = {head.name: head.size for head in await self._reader.logs()} | self._seen
        return calls[-count:] if count else []

    async def since(self) -> list[Json]:
        """The calls that have ended since the last look."""
        return await self._read_up(Filter(agent=self._agent, events=ENDS))

    async def _read_up(self, where: Filter) -> list[Json]:
        calls: list[Json] = []
        for head in await self._reader.logs():
            start = self._seen.get(head.name, 0)
            if head.size > start:
                here = replace(where, from_seq=start)
                records = [_read(head.name, r) async for r in self._reader.records(head.name, here)]
                calls += [await self._summary(last) for last in records if last.seq < head.size]
                self._seen[head.name] = head.size
        return sorted(calls, key=lambda call: str(call["ts"]))

    async def _summary(self, last: LoggedRecord) -> Json:
        """One call on one line, as data."""
        first = last
        if last.body["type"] != Event.CALL_DENIED:
            wanted = Filter(call=str(last.body["call"]), events=frozenset({Event.CALL_INTENT}))
            async for intent in self._reader.records(last.log, wanted):
                first = _read(last.log, intent)
        return summary(first, last)


def _read(log: str, record: StoredRecord) -> LoggedRecord:
    return LoggedRecord(log, record.seq, record.leaf.hex(), cast("Json", orjson.loads(record.body)))


def summary(first: LoggedRecord, last: LoggedRecord) -> Json:
    """One call on one line, as data."""
    return {
        "call": last.body.get("call"),
        "ts": last.body["ts"],
        "log": last.log,
        "agent": last.body.get("agent"),
        "name": _part(first, "what").get("name"),
        "outcome": last.body.get("outcome"),
        "cost_micro_usd": last.body.get("cost", 0),
        "duration_us": last.body.get("duration_us"),
        "findings": len(_findings([first, last])),
    }


def story(records: Sequence[LoggedRecord]) -> Iterator[tuple[str, str]]:
    """A call, told in the order of the pipeline, as (what, text)."""
    first, last = records[0], records[-1]
    what, actor = _part(first, "what"), _part(first, "actor")
    yield "call", str(first.body.get("call"))
    yield "when", f"{first.body['ts']}{_took(last)}"
    yield "who", f"{actor.get('agent')}  (chain {' ← '.join(cast('list[str]', actor.get('chain') or []))})"
    yield "what", f"{what.get('method')} {what.get('name')}{_of(what)}"
    yield from _why(actor, _part(first, "cause"))
    if "arguments" in first.body:
        yield "arguments", _committed(_part(first, "arguments"))
    if "decision" in first.body:
        yield "decision", _decision(_part(first, "decision"))
    for finding in _findings(records):
        yield "finding", _finding(finding)
    if "spend" in first.body:
        yield "money", _money(_part(first, "spend"), last)
    if "result" in last.body:
        yield "result", _committed(_part(last, "result"))
    yield "outcome", _outcome(last)
    for record in records:
        yield "receipt", f"{record.body['type']}: log {record.log} #{record.seq} leaf {record.leaf[:16]}…"


def _why(actor: dict[str, Any], cause: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """For which call, and under which delegation, where there is one."""
    if "parent" in cause:
        yield "for", f"call {cause['parent']}  (tree {cause.get('root')})"
    if "claimed_parent" in cause:
        yield "claims", f"to be for call {cause['claimed_parent']}  (not verified)"
    if actor.get("grants"):
        yield "under", f"delegation {' ← '.join(cast('list[str]', actor['grants']))}"


def _part(record: LoggedRecord, name: str) -> dict[str, Any]:
    return cast("dict[str, Any]", record.body.get(name) or {})


def _findings(records: Sequence[LoggedRecord]) -> list[dict[str, Any]]:
    unique = {record.seq: record for record in records}
    return [finding for record in unique.values() for finding in record.body.get("findings", [])]


def _took(last: LoggedRecord) -> str:
    duration = last.body.get("duration_us")
    return f"  (took {duration / 1000:.1f} ms)" if isinstance(duration, int) else ""


def _of(what: dict[str, Any]) -> str:
    if "connector" not in what:
        return "  (no such target for this agent)"
    return f"  (connector {what['connector']}, {what.get('side_effect')})"


def _committed(content: dict[str, Any]) -> str:
    return f"{content.get('bytes')} bytes, hmac {str(content.get('hmac'))[:16]}…  (content is not kept)"


def _decision(decision: dict[str, Any]) -> str:
    verdict = "permitted" if decision.get("permitted") else "refused"
    rules = ", ".join(decision.get("rules") or ["no rule"])
    return f"{verdict} by {rules}  (policy {str(decision.get('policy'))[:19]})"


def _finding(finding: dict[str, Any]) -> str:
    """Which guard did what, where; in shadow mode also what it would have done."""
    where = f"{finding.get('stage')}{finding.get('place')}"
    size = f"{finding.get('length')} characters, {finding.get('guard')}"
    if "via" in finding:
        size += f", read as {finding['via']}"
    action = str(finding.get("action"))
    if "would" in finding:
        action += f" (would {finding['would']})"
    return f"{action} {finding.get('type')} in {where}  ({size})"


def _money(spend: dict[str, Any], last: LoggedRecord) -> str:
    cost = int(last.body.get("cost", 0))
    estimated = ", estimated" if last.body.get("estimated") else ""
    held = dollars(int(spend.get("held", 0)))
    return f"held {held}, cost {dollars(cost)}{estimated}  (price {spend.get('price')})"


def _outcome(last: LoggedRecord) -> str:
    if last.body["type"] == Event.CALL_INTENT:
        return "still open"
    error = _part(last, "error")
    because = visible(", ".join(error.get("because") or []))
    why = ": ".join(filter(None, [error.get("code"), because]))
    return str(last.body.get("outcome")) + (f"  ({why})" if why else "")
