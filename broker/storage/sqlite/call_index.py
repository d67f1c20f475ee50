"""Which calls were there? Written beside the records, in their commit, so that lists need not read them."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, cast

import orjson

from broker.audit.interface import Entry, Event, Outcome
from broker.storage.sqlite.connection import Connection
from broker.storage.sqlite.tiles import SEQ_BITS

_ENDS = frozenset({Event.CALL_OUTCOME, Event.CALL_UNKNOWN})
_NOTHING: Mapping[str, Any] = {}

_Call = tuple[int, int, str | None, str | None, str, int]
_Beginning = tuple[int, str | None, int, str | None, str | None]

SHELF = 8192
"""How many rows of a log wait until they are put where lists look: sooner would write more pages for each."""
_NEW = "where id > ? and id <= ?"
_PUT = (
    "insert into audit_call_agent select agent, outcome, id, name, cost from audit_call"  # noqa: S608 - made of constants
    f" {_NEW} and agent is not null order by 1, 2, 3;"
    "insert into audit_call_name select name, outcome, id, agent, cost from audit_call"
    f" {_NEW} and name is not null order by 1, 2, 3;"
    f"insert into audit_call_outcome select outcome, id, cost from audit_call {_NEW} order by 1, 2;"
    "insert or ignore into audit_task select task, made, id, root from audit_begun"
    f" {_NEW} and task is not null order by 1, 2, 3;"
    "insert or ignore into audit_task select named, made, id, null from audit_begun"
    f" {_NEW} and named is not null;"
    f"delete from audit_begun {_NEW}"
)
_STATEMENTS = _PUT.split(";")


class CallIndex:
    """The writer's side of `audit_call`, `audit_task` and what they are made into; `flush` writes them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._begun: dict[str, tuple[int, str | None]] = {}
        self._calls: list[_Call] = []
        self._beginnings: list[_Beginning] = []
        self._listed: dict[int, tuple[int, int]] = {}

    def forget(self) -> None:
        """Believe the file again."""
        self._begun.clear()
        self._calls.clear()
        self._beginnings.clear()
        self._listed.clear()

    def note(self, key: int, entry: Entry) -> None:
        """Take in a record that gets this key."""
        event, call = entry.event, entry.call
        if event is Event.DELEGATION_CREATED:
            self._delegated(key, entry.facts)
        if call is None:
            return
        if event is Event.CALL_INTENT:
            self._begun[call] = key, _name(entry.facts)
            self._caused(key, call, entry.facts)
        elif event is Event.CALL_DENIED:
            facts = entry.facts
            self._calls.append((key, key, entry.agent, _name(facts), _outcome(facts), 0))
            self._caused(key, call, facts)
        elif event in _ENDS:
            begun, name = self._begun.pop(call, None) or self._read(call, key)
            cost = entry.facts.get("cost", 0)
            self._calls.append((key, begun, entry.agent, name, _outcome(entry.facts), cost))

    def flush(self) -> None:
        """Write what was noted."""
        if not self._calls and not self._beginnings:
            return
        run = self._connection.executemany
        run("insert into audit_call values (?, ?, ?, ?, ?, ?)", self._calls)
        run("insert into audit_begun values (?, ?, ?, ?, ?)", self._beginnings)
        self._shelve(Counter(row[0] >> SEQ_BITS for row in (*self._calls, *self._beginnings)))
        self._calls.clear()
        self._beginnings.clear()

    def _shelve(self, new: Mapping[int, int]) -> None:
        """Count the new rows of each log; a log that has enough of them gets them put where lists look."""
        for log, count in new.items():
            known = self._listed.get(log)
            listed, waiting = self._waiting(log) if known is None else (known[0], known[1] + count)
            if waiting >= SHELF:
                listed, waiting = self._put(log, listed), 0
            self._listed[log] = listed, waiting

    def _waiting(self, log: int) -> tuple[int, int]:
        """The last record of a log of which lists find everything in its place, and how much came since."""
        run = self._connection.execute
        row = run("select id from audit_listed where log = ?", (log,)).fetchone()
        listed, end = log << SEQ_BITS if row is None else row[0], (log + 1) << SEQ_BITS
        since = (
            "select (select count(*) from audit_call where id > ?1 and id < ?2)"
            " + (select count(*) from audit_begun where id > ?1 and id < ?2)"
        )
        return listed, run(since, (listed, end)).get

    def _put(self, log: int, listed: int) -> int:
        run = self._connection.execute
        last = run("select max(id) from audit_rec where id < ?", ((log + 1) << SEQ_BITS,)).get
        for statement in _STATEMENTS:
            run(statement, (listed, last))
        run("insert or replace into audit_listed values (?, ?)", (log, last))
        return last

    def _caused(self, key: int, call: str, facts: Mapping[str, Any]) -> None:
        cause = _part(facts, "cause")
        if task := cause.get("task"):
            root = cause.get("root")
            self._beginnings.append((key, task, 0, None if root == call else root, None))

    def _delegated(self, key: int, facts: Mapping[str, Any]) -> None:
        made_in, named = _part(facts, "cause").get("task"), facts.get("task")
        if made_in or named:
            self._beginnings.append((key, made_in, 1, None, named))

    def _read(self, call: str, end: int) -> tuple[int, str | None]:
        """Where a call began that another process has seen begin; an end without a beginning is its own."""
        row = self._connection.execute(
            "select id, body from audit_rec where call = ? and type = ? order by id limit 1",
            (call, Event.CALL_INTENT.value),
        ).fetchone()
        return (end, None) if row is None else (row[0], _name(orjson.loads(row[1])))


def _name(facts: Mapping[str, Any]) -> str | None:
    return _part(facts, "what").get("name")


def _outcome(facts: Mapping[str, Any]) -> str:
    return str(facts.get("outcome", Outcome.UNKNOWN))


def _part(facts: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = facts.get(name)
    return cast("Mapping[str, Any]", part) if isinstance(part, dict) else _NOTHING
