"""What do transactions add up to? What the open commit does to them, read again when the file has moved.

A step is taken only from the reading that changed the transaction last, or on the very version that it
was judged on: whoever judged without knowing of somebody else's step has to judge again.
"""

from dataclasses import dataclass

import orjson

from broker.errors import UnknownTarget
from broker.flow.interface import MOST_MARKS, MovedError
from broker.flow.step import Seen, Sightings, Step
from broker.flow.tally import Tally
from broker.model import Origin
from broker.storage.sqlite.connection import Connection

MARKS = {Origin.TASK: 0, Origin.TRUSTED: 1, Origin.UNTRUSTED: 2, Origin.OWN: 3}
COUNTED = 9

KEPT_S = 7 * 86400
"""How long a transaction is kept after its last call, in seconds."""

_MOST_CACHED = 10_000
_SWEEP_EVERY = 1000
_PUT = (
    "insert into flow values (?, ?, ?, ?, ?) on conflict (id) do update set version = excluded.version,"
    " reading = excluded.reading, at = excluded.at, tally = excluded.tally"
)
_MARK = "insert into flow_mark values (?, ?, ?) on conflict do nothing"
_OWNER = "select flow from flow_name where name = ?1 union all select id from flow where id = ?1 limit 1"
_OLD = "select id from flow where at < ? order by at limit 200"


@dataclass(slots=True)
class _Row:
    version: int
    reading: str
    at: int
    tally: Tally
    marks: int


class FlowBooks:
    """Takes steps; `flush` writes what they add up to."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._rows: dict[str, _Row] = {}
        self._changed: set[str] = set()
        self._begun = 0

    def forget(self) -> None:
        """Believe the file again."""
        self._rows.clear()
        self._changed.clear()

    def check(self, step: Step) -> None:
        """Refuse a step that was judged on something else than what is kept.

        Raises:
            MovedError: another reading has gone on with the transaction, or took one of the names.
        """
        row = self._row(step.transaction)
        current = row is None if not step.known else row is not None and row.version == step.known
        if not current and (row is None or row.reading != step.reading):
            raise MovedError("another process has gone on with the transaction")
        for name in step.names:
            if owner(self._connection, name) not in (None, step.transaction):
                raise MovedError("another process has bound the name")

    def take(self, step: Step) -> None:
        """Take a step that was checked."""
        row = self._row(step.transaction)
        if row is None:
            row = self._rows[step.transaction] = _Row(0, "", 0, Tally(), 0)
            self._begun += 1
        row.version += 1
        row.reading, row.at = step.reading, step.at
        row.tally.take(step)
        for name in step.names:
            if name != step.transaction:
                self._connection.execute(
                    "insert into flow_name values (?, ?) on conflict do nothing", (name, step.transaction)
                )
        for counter, digest in step.values:
            if self._mark(step.transaction, row, digest, COUNTED):
                row.tally.count(counter)
        if step.sightings is not None:
            self._see(step.transaction, row, step.sightings)
        self._changed.add(step.transaction)

    def see(self, seen: Seen) -> None:
        """Remember what a result has shown. Other readings than the one that saw it are out of date then."""
        row = self._row(seen.transaction)
        if row is None:  # swept away while the call was open
            return
        if seen.own is not None:
            self._see(seen.transaction, row, seen.own)
        self._see(seen.transaction, row, seen.sightings)
        row.version += 1
        if row.reading != seen.reading:
            row.reading = ""
        self._changed.add(seen.transaction)

    def declassify(self, transaction: str, labels: frozenset[str]) -> frozenset[str]:
        """Take labels away; returns those that it had. Every reading is out of date then."""
        transaction = owner(self._connection, transaction) or transaction
        row = self._row(transaction)
        if row is None:
            raise UnknownTarget(
                f"there is no transaction `{transaction}`", hint="the record of a call names its transaction"
            )
        had = row.tally.labels & labels
        if had:
            row.tally.labels -= had
            row.version += 1
            row.reading = ""
            self._changed.add(transaction)
        return had

    def flush(self) -> None:
        """Write what has changed."""
        if self._changed:
            self._connection.executemany(
                _PUT,
                [
                    (flow, row.version, row.reading, row.at, orjson.dumps(row.tally.facts()).decode())
                    for flow, row in ((flow, self._rows[flow]) for flow in self._changed)
                ],
            )
            if self._begun >= _SWEEP_EVERY:
                self._sweep(max(self._rows[flow].at for flow in self._changed))
            self._changed.clear()
        if len(self._rows) > _MOST_CACHED:
            self._rows.clear()

    def _see(self, transaction: str, row: _Row, sightings: Sightings) -> None:
        for digest in sightings.digests:
            if row.marks >= MOST_MARKS:
                row.tally.full = True
                break
            self._mark(transaction, row, digest, MARKS[sightings.origin])
        row.tally.full = row.tally.full or sightings.full

    def _mark(self, transaction: str, row: _Row, digest: bytes, mark: int) -> bool:
        """Remember a value; returns whether it is new."""
        before = self._connection.total_changes()
        self._connection.execute(_MARK, (transaction, digest, mark))
        if self._connection.total_changes() == before:
            return False
        row.marks += 1
        return True

    def _sweep(self, now: int) -> None:
        """Delete some of those that have long rested."""
        self._begun = 0
        for (flow,) in self._connection.execute(_OLD, (now - KEPT_S,)).fetchall():
            self._rows.pop(flow, None)
            for statement in (
                "delete from flow where id = ?",
                "delete from flow_name where flow = ?",
                "delete from flow_mark where flow = ?",
            ):
                self._connection.execute(statement, (flow,))

    def _row(self, transaction: str) -> _Row | None:
        row = self._rows.get(transaction)
        if row is None:
            found = self._connection.execute(
                "select version, reading, at, tally,"
                " (select count(*) from flow_mark where flow = id) from flow where id = ?",
                (transaction,),
            ).fetchone()
            if found is not None:
                version, reading, at, tally, marks = found
                row = _Row(version, reading, at, Tally.of(orjson.loads(tally)), marks)
                self._rows[transaction] = row
        return row


def owner(connection: Connection, name: str) -> str | None:
    """The transaction that a name is bound to, as the file has it."""
    found = connection.execute(_OWNER, (name,)).fetchone()
    return None if found is None else found[0]
