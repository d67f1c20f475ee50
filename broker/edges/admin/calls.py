"""What can operators see of calls, and how do they stop one? The log is read; what is open is asked for."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import Field

from broker.audit.interface import CallFilter, Event, Filter, LogReader, Outcome
from broker.audit.payloads import Part
from broker.edges.admin.cursors import Cursors
from broker.edges.admin.operation import AnyOperation, Asked, Operation
from broker.edges.admin.shapes import Because, Name, NoQuery, Nothing, Page, PagedQuery, Shape
from broker.edges.call_filter import parse_filter
from broker.edges.call_tree import tree_of
from broker.edges.payloads import payload_facts
from broker.edges.records import call_records, ended_calls, read
from broker.errors import InvalidRequest, UnknownTarget
from broker.identity.operators import Right
from broker.identity.seals import Sealer
from broker.inflight import STOP
from broker.journal import Journal, JournalStore, OpenCall
from broker.model import Json
from broker.payloads import Payloads
from broker.signals import Signals

if TYPE_CHECKING:
    from broker.model import Json

_BEGIN = frozenset({Event.CALL_INTENT})


class EndedCall(Shape):
    """A call that has ended."""

    call: str
    ts: str = Field(description="when it ended")
    agent: str | None
    name: str | None
    outcome: str
    cost_micro_usd: int
    duration_us: int | None
    findings: int = Field(description="how many things the guards found")


class CallInFlight(Shape):
    """A call that is open."""

    call: str
    organisation: str
    agent: str | None
    name: str | None
    began: str | None
    held_micro_usd: int


class CallRecordFacts(Shape):
    """One record of a call, as it lies in the log."""

    log: str
    seq: int
    leaf: str = Field(description="RFC 9162 leaf hash, in hex")
    record: dict[str, Any]


class WholeCall(Shape):
    """Everything that the log holds about a call."""

    call: str
    records: list[CallRecordFacts]


class TreeNode(Shape):
    """A call and those that were made for it, oldest first."""

    call: str
    agent: str
    chain: list[str]
    name: str
    ts: str
    parent: str | None
    claimed_parent: str | None
    grants: list[str]
    task: str | None
    purpose: str | None
    outcome: str
    refused_by: list[str]
    cost_micro_usd: int
    duration_us: int | None
    children: list["TreeNode"]


class PayloadFacts(Shape):
    """What was said in one direction of a call."""

    log: str
    call: str
    seq: int = Field(description="the record that commits to it")
    part: Part
    holds: bool = Field(description="whether it is what the record commits to; if not, it is not shown")
    lost: bool = Field(description="whether a key of it is gone, so that nobody can read it any more")
    salt: str | None = None
    kept: bool | None = Field(default=None, description="whether more than the salt is kept")
    content: Any = None


class WhatWasSaid(Shape):
    """Arguments and result of a call."""

    call: str
    payloads: list[PayloadFacts]


class WhyLook(Shape):
    """Why somebody looks at what was said."""

    reason: str = Field(min_length=1, max_length=500, description="goes into the log")


class StoppedCall(Shape):
    """A call that is being stopped. Its own record says how it ended."""

    call: str


class CallsQuery(PagedQuery):
    """Which calls."""

    organisation: Name = Field(default="default", description="whose log")
    agent: Name | None = Field(default=None, description="only calls of this agent")
    outcome: Outcome | None = Field(default=None, description="only calls that ended like this")
    where: str | None = Field(
        default=None,
        max_length=1000,
        description="further conditions, as `broker calls tail` takes them: `tool=… since=2h cost>0.01`",
    )


class OpenCallsQuery(PagedQuery):
    """Which open calls."""

    agent: Name | None = Field(default=None, description="only calls of this agent")


class Calls:
    """Calls, to operators.

    Args:
        log: what has happened.
        open_calls: what is happening.
        journal: records that a call is to be stopped.
        signals: reaches the process that a call runs in.
        sealer: seals cursors.
        payloads: what was said in them.
    """

    def __init__(
        self,
        log: LogReader,
        open_calls: JournalStore,
        journal: Journal,
        signals: Signals,
        sealer: Sealer,
        *,
        payloads: Payloads,
    ) -> None:
        self._payloads = payloads
        self._log = log
        self._open = open_calls
        self._journal = journal
        self._signals = signals
        self._ended_pages = Cursors(sealer, "calls")
        self._open_pages = Cursors(sealer, "open calls")

    def operations(self) -> Sequence[AnyOperation]:
        """All that can be asked."""
        one = "/calls/{call}"
        return [
            Operation("GET", "/calls", Right.READ, self.list, Page[EndedCall], query=CallsQuery),
            Operation("GET", "/calls/open", Right.READ, self.open, Page[CallInFlight], query=OpenCallsQuery),
            Operation("GET", one, Right.READ, self.show, WholeCall),
            Operation("GET", f"{one}/tree", Right.READ, self.tree, TreeNode),
            Operation("POST", f"{one}/payload", Right.PAYLOADS, self.payload, WhatWasSaid, body=WhyLook),
            Operation("POST", f"{one}/stop", Right.AGENTS, self.stop, StoppedCall, body=Because),
        ]

    async def list(self, asked: Asked[CallsQuery, Nothing]) -> Page[EndedCall]:
        """The calls of an organisation that have ended, newest first."""
        query, at = asked.query, self._ended_pages.read(asked)
        now = int(time.time()) if at is None else int(at["now"])
        where = replace(_wanted(query, now), before_seq=None if at is None else int(at["seq"]))
        found = await ended_calls(self._log, query.organisation, where, last=query.limit)
        items = [EndedCall(**{name: call[name] for name in EndedCall.model_fields}) for _, call in found]
        further = {"seq": found[0][0], "now": now} if len(found) == query.limit else None
        return Page(items=items[::-1], next=self._ended_pages.make(asked, further) if further else None)

    async def open(self, asked: Asked[OpenCallsQuery, Nothing]) -> Page[CallInFlight]:
        """The calls in flight, in every process, oldest first."""
        query, at = asked.query, self._open_pages.read(asked)
        after = "" if at is None else at["after"]
        found = await self._open.open_calls(agent=query.agent, after=after, limit=query.limit + 1)
        shown = found[: query.limit]
        further = len(found) > query.limit
        return Page(
            items=[await self._in_flight(call) for call in shown],
            next=self._open_pages.make(asked, {"after": shown[-1].call}) if further else None,
        )

    async def show(self, asked: Asked[NoQuery, Nothing]) -> WholeCall:
        """Everything that the log holds about one call."""
        call = asked.path["call"]
        records = await call_records(self._log, call)
        if not records:
            raise _unknown(call)
        return WholeCall(
            call=call,
            records=[CallRecordFacts(log=r.log, seq=r.seq, leaf=r.leaf, record=r.body) for r in records],
        )

    async def tree(self, asked: Asked[NoQuery, Nothing]) -> TreeNode:
        """The whole tree that a call is in, across agents."""
        root = await tree_of(self._log, asked.path["call"])
        if root is None:
            raise _unknown(asked.path["call"])
        return TreeNode.model_validate(root.as_json())

    async def payload(self, asked: Asked[NoQuery, WhyLook]) -> WhatWasSaid:
        """What was said in one call. That the operator looked is recorded first, with the reason."""
        call = asked.path["call"]
        found = await self._payloads.read(call, by=asked.operator.by, reason=asked.body.reason)
        return WhatWasSaid(call=call, payloads=[PayloadFacts(**payload_facts(one)) for one in found])

    async def stop(self, asked: Asked[NoQuery, Because]) -> StoppedCall:
        """Cancel one call in flight, whichever process it runs in, and tell its upstream."""
        call = asked.path["call"]
        found = await self._open.open_calls(agent=None, after=_just_before(call), limit=1)
        if not found or found[0].call != call:
            raise UnknownTarget(f"no call `{call}` is open", hint="GET /admin/api/calls/open lists all")
        await self._journal.stop_requested(found[0], by=asked.operator.by, reason=asked.body.reason)
        await self._signals.publish(STOP, {"call": call})
        return StoppedCall(call=call)

    async def _in_flight(self, call: OpenCall) -> CallInFlight:
        intent: Json = {}
        async for record in self._log.records(call.log, Filter(call=call.call, events=_BEGIN)):
            intent = read(call.log, record).body
        return CallInFlight(
            call=call.call,
            organisation=call.log,
            agent=call.agent,
            name=intent.get("what", {}).get("name"),
            began=intent.get("ts"),
            held_micro_usd=call.held,
        )


def _wanted(query: CallsQuery, now: int) -> CallFilter:
    """What the parameters of a list ask for together; durations count from `now`, that of the first page."""
    wanted = parse_filter([] if query.where is None else [query.where], now=now)
    if wanted.log is not None:
        raise InvalidRequest("`where` names a log", hint="the parameter `organisation` does that")
    calls = wanted.calls
    if query.agent is not None:
        calls = replace(calls, agent=query.agent)
    if query.outcome is not None:
        calls = replace(calls, outcomes=frozenset({query.outcome}))
    return calls


def _just_before(call: str) -> str:
    """A text that sorts right before a call's id: all of them have the same length."""
    return call[:-1]


def _unknown(call: str) -> UnknownTarget:
    return UnknownTarget(f"the log holds no call `{call}`", hint="GET /admin/api/calls lists the newest")
