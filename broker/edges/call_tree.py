"""Which call led to which, on whose authority? Calls put together to trees, from the log alone.

A call stands below another only where the broker has verified that it was made for it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, cast

import orjson

from broker.audit.interface import Event, Filter, LogReader
from broker.edges.records import CALLS, ENDS, call_records
from broker.model import Json

_DELEGATIONS = frozenset({Event.DELEGATION_CREATED})


@dataclass(slots=True)
class Node:
    """One call and those that were made for it, oldest first."""

    call: str
    agent: str
    chain: list[str]
    name: str
    ts: str
    parent: str | None
    grants: list[str]
    claimed_parent: str | None = None
    task: str | None = None
    purpose: str | None = None
    outcome: str = "open"
    cost: int = 0
    duration_us: int | None = None
    refused_by: list[str] = field(default_factory=list[str])
    children: list["Node"] = field(default_factory=list["Node"])

    def as_json(self) -> Json:
        """The tree from here down, as data."""
        return {
            "call": self.call,
            "agent": self.agent,
            "chain": self.chain,
            "name": self.name,
            "ts": self.ts,
            "parent": self.parent,
            "claimed_parent": self.claimed_parent,
            "grants": self.grants,
            "task": self.task,
            "purpose": self.purpose,
            "outcome": self.outcome,
            "refused_by": self.refused_by,
            "cost_micro_usd": self.cost,
            "duration_us": self.duration_us,
            "children": [child.as_json() for child in self.children],
        }


async def tree_of(reader: LogReader, call: str) -> Node | None:
    """The whole tree that a call is in; None if the log does not hold it."""
    found = await call_records(reader, call)
    if not found or "cause" not in found[0].body:
        return None
    log, cause = found[0].log, found[0].body["cause"]
    forest = _Forest()
    await forest.read(reader, log, Filter(task=str(cause["task"]), root=str(cause["root"])))
    await forest.read(reader, log, Filter(task=str(cause["task"]), events=_DELEGATIONS))
    return next((root for root in forest.roots() if root.call == cause["root"]), None)


async def trees_of(reader: LogReader, task: str) -> list[Node]:
    """The trees of a task: of a transaction, or of all delegations that name the task, oldest first."""
    trees: list[Node] = []
    for head in await reader.logs():
        named = await _delegations(reader, head.name, task)
        for transaction in sorted(set(named.values()) or {task}):
            roots = await _trees_in(reader, head.name, transaction)
            trees += [root for root in roots if not named or _serves(root, named.keys())]
    return sorted(trees, key=lambda root: root.ts)


async def _trees_in(reader: LogReader, log: str, transaction: str) -> list[Node]:
    """All trees of one transaction."""
    forest = _Forest()
    begun = [r async for r in reader.records(log, Filter(task=transaction, events=CALLS))]
    causes = [_part(cast("Json", orjson.loads(record.body)), "cause") for record in begun]
    for root in dict.fromkeys(str(cause.get("root")) for cause in causes):
        await forest.read(reader, log, Filter(task=transaction, root=root))
    await forest.read(reader, log, Filter(task=transaction, events=_DELEGATIONS))
    return forest.roots()


class _Forest:
    """Calls and the delegations they were made under."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}
        self._tasks: dict[str, Json] = {}

    async def read(self, reader: LogReader, log: str, where: Filter) -> None:
        async for record in reader.records(log, where):
            self._take(cast("Json", orjson.loads(record.body)))

    def roots(self) -> list[Node]:
        """The calls without a verified parent, each with all below it."""
        roots: list[Node] = []
        for node in self._nodes.values():
            for grant in node.grants[:1]:
                named = self._tasks.get(grant, {})
                node.task, node.purpose = named.get("task"), named.get("purpose")
            above = self._nodes.get(node.parent) if node.parent else None
            (roots if above is None else above.children).append(node)
        return roots

    def _take(self, body: Json) -> None:
        known = self._nodes.get(str(body.get("call")))
        if known is not None:
            if body["type"] in ENDS:
                _end(known, body)
        elif body["type"] == Event.DELEGATION_CREATED:
            self._tasks[body["grant"]] = body
        elif body["type"] in CALLS and "actor" in body:
            node = self._nodes[body["call"]] = _begun(body)
            if body["type"] == Event.CALL_DENIED:
                _end(node, body)


def _begun(body: Json) -> Node:
    actor, cause = _part(body, "actor"), _part(body, "cause")
    return Node(
        call=body["call"],
        agent=actor["agent"],
        chain=actor["chain"],
        name=str(_part(body, "what").get("name")),
        ts=body["ts"],
        parent=cause.get("parent"),
        grants=actor.get("grants", []),
        claimed_parent=cause.get("claimed_parent"),
    )


def _end(node: Node, body: Json) -> None:
    node.outcome = str(body.get("outcome"))
    node.cost = int(body.get("cost", 0))
    node.duration_us = body.get("duration_us")
    node.refused_by = list(_part(body, "error").get("because", ()))


async def _delegations(reader: LogReader, log: str, task: str) -> dict[str, str]:
    """The delegations that name a task, with their transactions."""
    named: dict[str, str] = {}
    async for record in reader.records(log, Filter(task=task, events=_DELEGATIONS)):
        body = cast("Json", orjson.loads(record.body))
        if body.get("task") == task:
            named[body["grant"]] = str(_part(body, "cause").get("task"))
    return named


def _serves(node: Node, grants: Iterable[str]) -> bool:
    """Whether any call of a tree was made under one of some delegations."""
    return not set(node.grants).isdisjoint(grants) or any(_serves(child, grants) for child in node.children)


def _part(body: Json, name: str) -> dict[str, Any]:
    return cast("dict[str, Any]", body.get(name) or {})
