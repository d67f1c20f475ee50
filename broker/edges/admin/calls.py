"""What can operators see of calls, and how do they stop one? The log is read; what is open is asked for."""

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Literal

from pydantic import Field

from broker.audit.interface import Event, Filter, LogReader
from broker.edges.admin.cursors import Cursors
from broker.edges.admin.operation import AnyOperation, Asked, Operation
from broker.edges.admin.shapes import Because, Name, NoQuery, Nothing, Page, PagedQuery, Shape
from broker.edges.call_tree import tree_of
from broker.edges.records import ENDS, call_records, ended, read
from broker.errors import UnknownTarget
from broker.identity.operators import Right
from broker.identity.seals import Sealer
from broker.inflight import STOP
from broker.journal import Journal, JournalStore, OpenCall
from broker.model import Json
from broker.signals import Signals

_BEGIN = frozenset({Event.CALL_INTENT})

LOOKED_AT = 1000
"""How many records one page looks at, at most: a rare outcome must not read the whole log at once."""


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


class StoppedCall(Shape):
    """A call that is being stopped. Its own record says how it ended."""

    call: str


class CallsQuery(PagedQuery):
    """Which calls."""

    organisation: Name = Field(default="default", description="whose log")
    agent: Name | None = Field(default=None, description="only calls of this agent")
    outcome: (
        Literal[
            "ok",
            "tool_error",
            "denied",
            "blocked",
            "over_budget",
            "cancelled",
            "upstream_error",
            "unknown",
        ]
        | None
    ) = Field(default=None, description="only calls that ended like this")


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
    """

    def __init__(
        self, log: LogReader, open_calls: JournalStore, journal: Journal, signals: Signals, sealer: Sealer
    ) -> None:
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
            Operation("POST", f"{one}/stop", Right.AGENTS, self.stop, StoppedCall, body=Because),
        ]

    async def list(self, asked: Asked[CallsQuery, Nothing]) -> Page[EndedCall]:
        """The calls of an organisation that have ended, newest first."""
        query, at = asked.query, self._ended_pages.read(asked)
        before = None if at is None else int(at["seq"])
        items: list[EndedCall] = []
        looked = 0
        async for seq, call in self._newest_first(query, before):
            looked += 1
            if query.outcome in {None, call["outcome"]}:
                items.append(EndedCall(**{name: call[name] for name in EndedCall.model_fields}))
            if len(items) == query.limit or looked == LOOKED_AT:
                return Page(items=items, next=self._ended_pages.make(asked, {"seq": seq}))
        return Page(items=items, next=None)

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

    async def stop(self, asked: Asked[NoQuery, Because]) -> StoppedCall:
        """Cancel one call in flight, whichever process it runs in, and tell its upstream."""
        call = asked.path["call"]
        found = await self._open.open_calls(agent=None, after=_just_before(call), limit=1)
        if not found or found[0].call != call:
            raise UnknownTarget(f"no call `{call}` is open", hint="GET /admin/api/calls/open lists all")
        await self._journal.stop_requested(found[0], by=asked.operator.by, reason=asked.body.reason)
        await self._signals.publish(STOP, {"call": call})
        return StoppedCall(call=call)

    async def _newest_first(self, query: CallsQuery, before: int | None) -> AsyncGenerator[tuple[int, Json]]:
        """The calls that ended before a record, with the records that ended them."""
        while True:
            where = Filter(agent=query.agent, events=ENDS, last=query.limit, before_seq=before)
            records = [record async for record in self._log.records(query.organisation, where)]
            for record in reversed(records):
                yield record.seq, await ended(self._log, read(query.organisation, record))
            if len(records) < query.limit:
                return
            before = records[0].seq

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


def _just_before(call: str) -> str:
    """A text that sorts right before a call's id: all of them have the same length."""
    return call[:-1]


def _unknown(call: str) -> UnknownTarget:
    return UnknownTarget(f"the log holds no call `{call}`", hint="GET /admin/api/calls lists the newest")
