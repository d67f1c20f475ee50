"""Which calls fit a filter? Answered from indexes that hold all that can be asked for."""

from collections.abc import Mapping

from broker.audit.interface import CallFilter, EndedCall, Outcome, StoredRecord
from broker.storage.sqlite.connection import Connection
from broker.storage.sqlite.logs import SEQ_BITS, SEQ_MASK

_RECORDS = (
    "select c.begun, b.leaf, b.body, c.id, e.leaf, e.body from audit_call c"
    " join audit_rec b on b.id = c.begun join audit_rec e on e.id = c.id where c.id = ?"
)


class CallList:
    """The ended calls of one log.

    Args:
        connection: what is read through.
        log: the number of the log.
    """

    def __init__(self, connection: Connection, log: int) -> None:
        self._connection = connection
        self._log = log

    def newest(self, where: CallFilter, last: int) -> list[EndedCall]:
        """The newest that fit, at most `last`, oldest first."""
        first = self._key(max(where.from_seq, self._first_at(where.since)))
        before = self._key(min(where.before_seq or SEQ_MASK, self._first_at(where.until, SEQ_MASK)))
        if where.before_seq == 0:
            return []
        newest = sorted(self._ids(where, first, before - 1, last))[-last:]
        return [self._call(key) for key in newest]

    def _ids(self, where: CallFilter, first: int, end: int, last: int) -> list[int]:
        """Enough ids that the newest `last` are among them."""
        asked = _Asked(where)
        row = self._connection.execute("select id from audit_listed where log = ?", (self._log,)).fetchone()
        listed = self._key(0) if row is None else row[0]
        new = (max(first, listed + 1), end, *asked.values, *asked.outcomes, last)
        found = self._run(asked.sql("audit_call", asked.any_outcome), new)
        if len(found) == last:
            return found
        old = (first, min(end, listed), *asked.values)
        if asked.table == "audit_call":
            return found + self._run(asked.sql("audit_call"), (*old, last))
        for outcome in asked.outcomes or sorted(Outcome):  # each a run in the order of ids
            found += self._run(asked.sql(asked.table, "outcome = ?"), (*old, outcome, last))
        return found

    def _run(self, sql: str, bindings: tuple[str | int, ...]) -> list[int]:
        return [row[0] for row in self._connection.execute(sql, bindings)]

    def _call(self, key: int) -> EndedCall:
        ((begun, leaf, body, ended, end_leaf, end_body),) = self._connection.execute(_RECORDS, (key,))
        return EndedCall(
            StoredRecord(begun & SEQ_MASK, leaf, body), StoredRecord(ended & SEQ_MASK, end_leaf, end_body)
        )

    def _first_at(self, micros: int | None, otherwise: int = 0) -> int:
        """The number of the first record at or after a time: time in a log never runs backwards."""
        if micros is None:
            return otherwise
        last = "select id from audit_rec where id between ? and ? order by id desc limit 1"
        row = self._connection.execute(last, (self._key(0), self._key(SEQ_MASK))).fetchone()
        low, high = 0, 0 if row is None else (row[0] & SEQ_MASK) + 1
        while low < high:
            middle = (low + high) // 2
            at = "select ts from audit_rec where id >= ? order by id limit 1"
            if self._connection.execute(at, (self._key(middle),)).get < micros:
                low = middle + 1
            else:
                high = middle
        return low

    def _key(self, seq: int) -> int:
        return (self._log << SEQ_BITS) | seq


class _Asked:
    """A filter as conditions made of constant texts, and the table in whose order it is answered best."""

    def __init__(self, where: CallFilter) -> None:
        self.values: list[str | int] = []
        self.outcomes = sorted(where.outcomes)
        self.any_outcome = f"outcome in ({', '.join('?' * len(self.outcomes))})" if self.outcomes else "true"
        self._parts = ["id between ? and ?"]
        self._wants(
            {
                "agent = ?": where.agent,
                "name = ?": where.tool,
                "cost >= ?": where.least_cost,
                "cost <= ?": where.most_cost,
            }
        )
        self.table = "audit_call"
        if where.agent is not None:
            self.table = "audit_call_agent"
        elif where.tool is not None:
            self.table = "audit_call_name"
        elif where.outcomes or where.least_cost is not None or where.most_cost is not None:
            self.table = "audit_call_outcome"

    def _wants(self, conditions: Mapping[str, str | int | None]) -> None:
        for condition, value in conditions.items():
            if value is not None:
                self._parts.append(condition)
                self.values.append(value)

    def sql(self, table: str, *further: str) -> str:
        """The newest ids in a table that fit, so many at most as bound last."""
        fits = " and ".join([*self._parts, *further])
        return f"select id from {table} where {fits} order by id desc limit ?"  # noqa: S608 - made of constants
