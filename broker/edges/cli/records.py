"""What does the log say about a call, in words? Its records, put together to one story."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

from broker.audit.interface import Event, LogHead, LogReader
from broker.edges.call_filter import Wanted
from broker.edges.cli.ink import visible
from broker.edges.cli.output import dollars
from broker.edges.records import LoggedRecord, ended_calls, findings, part
from broker.model import Json


class Tail:
    """The ended calls that fit a filter: the newest, then whatever is added.

    Args:
        reader: the logs.
        wanted: which calls, of which log.
    """

    def __init__(self, reader: LogReader, wanted: Wanted) -> None:
        self._reader = reader
        self._wanted = wanted
        self._seen: dict[str, int] = {}

    async def newest(self, count: int) -> list[Json]:
        """The newest calls, oldest first; `since` goes on after them."""
        calls: list[Json] = []
        for head in await self._heads():
            where = replace(self._wanted.calls, before_seq=head.size)
            calls += [c for _, c in await ended_calls(self._reader, head.name, where, last=count)]
            self._seen[head.name] = head.size
        return sorted(calls, key=_when)[-count:] if count else []

    async def since(self) -> list[Json]:
        """The calls that have ended since the last look."""
        calls: list[Json] = []
        for head in await self._heads():
            seen = self._seen.get(head.name, 0)
            if head.size > seen:
                where = replace(self._wanted.calls, from_seq=seen, before_seq=head.size)
                new = await ended_calls(self._reader, head.name, where, last=head.size - seen)
                calls += [call for _, call in new]
                self._seen[head.name] = head.size
        return sorted(calls, key=_when)

    async def _heads(self) -> list[LogHead]:
        return [head for head in await self._reader.logs() if self._wanted.log in {None, head.name}]


def _when(call: Json) -> str:
    return str(call["ts"])


def story(records: Sequence[LoggedRecord]) -> Iterator[tuple[str, str]]:
    """A call, told in the order of the pipeline, as (what, text)."""
    first, last = records[0], records[-1]
    what, actor = part(first, "what"), part(first, "actor")
    yield "call", f"{first.body.get('call')}{_within(part(first, 'cause'))}"
    yield "when", f"{first.body['ts']}{_took(last)}"
    yield "who", f"{actor.get('agent')}  (chain {' ← '.join(cast('list[str]', actor.get('chain') or []))})"
    yield "what", f"{what.get('method')} {what.get('name')}{_of(what)}"
    for claim, text in part(first, "claims").items():
        yield "claims", f"to be {claim} {text}  (not verified)"
    yield from _why(actor, part(first, "cause"))
    if "arguments" in first.body:
        yield "arguments", _committed(part(first, "arguments"))
    if "decision" in first.body:
        yield "decision", _decision(part(first, "decision"))
    if (approval := last.body.get("approval") or first.body.get("approval")) is not None:
        yield "approval", f"{approval}  (`broker approvals show {approval}`)"
    for finding in findings(records):
        yield "finding", _finding(finding)
    if "spend" in first.body:
        yield "money", _money(part(first, "spend"), last)
    if "result" in last.body:
        yield "result", _committed(part(last, "result"))
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


def _took(last: LoggedRecord) -> str:
    duration = last.body.get("duration_us")
    return f"  (took {duration / 1000:.1f} ms)" if isinstance(duration, int) else ""


def _of(what: dict[str, Any]) -> str:
    if "connector" not in what:
        return "  (no such target for this agent)"
    return f"  (connector {what['connector']}, {what.get('side_effect')})"


def _committed(content: dict[str, Any]) -> str:
    if "commitment" not in content:
        return f"{content.get('bytes')} bytes"
    return f"{content['bytes']} bytes, committed to as {content['commitment'][:16]}…"


def _within(cause: dict[str, Any]) -> str:
    return f"  (transaction {cause['task']})" if "task" in cause else ""


def _situation(situation: dict[str, Any]) -> list[str]:
    """What was known of the transaction: labels, where values came from, counters above one."""
    parts = [f"has read {', '.join(situation['taint'])}"] if situation.get("taint") else []
    parts += [f"{name} from {origin}" for name, origin in situation.get("provenance", {}).items()]
    parts += [f"{name} {number}" for name, number in situation.get("counters", {}).items() if number > 1]
    return parts


def _decision(decision: dict[str, Any]) -> str:
    verdict = "permitted" if decision.get("permitted") else "refused"
    rules = ", ".join(decision.get("rules") or ["no rule"])
    judged_on = "; ".join(["", *_situation(decision.get("situation", {}))])
    return f"{verdict} by {rules}  (policy {str(decision.get('policy'))[:19]}{judged_on})"


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
    error = part(last, "error")
    because = visible(", ".join(error.get("because") or []))
    why = ": ".join(filter(None, [error.get("code"), because]))
    return str(last.body.get("outcome")) + (f"  ({why})" if why else "")
