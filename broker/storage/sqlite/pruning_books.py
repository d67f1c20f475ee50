"""How is removed what has had its time? In steps, so that calls go on meanwhile."""

from collections.abc import Callable

from broker.audit.interface import Entry
from broker.storage.sqlite.connection import Connection
from broker.storage.sqlite.keyring import KeyRing
from broker.storage.sqlite.logs import SEQ_BITS, SEQ_MASK, Logs
from broker.storage.sqlite.payload_books import PayloadBooks
from broker.storage.sqlite.pseudonym_books import PseudonymBooks

STEP = 5000
"""How many payloads or records one step removes at most."""


class PruningBooks:
    """The writer's side of it: everything here is in one transaction."""

    def __init__(
        self,
        connection: Connection,
        logs: Logs,
        keys: KeyRing,
        payloads: PayloadBooks,
        pseudonyms: PseudonymBooks,
    ) -> None:
        self._connection = connection
        self._logs = logs
        self._keys = keys
        self._payloads = payloads
        self._pseudonyms = pseudonyms

    def names(self) -> list[str]:
        """See `PruningStore.names`."""
        return [name for (name,) in self._connection.execute("select name from audit_log order by name")]

    def prune_payloads(self, log: str, day: int, entry: Callable[[int], Entry]) -> int:
        """See `PruningStore.prune_payloads`."""
        self._payloads.flush()
        self._pseudonyms.expire()
        self._keys.destroy(self._keys.days_before(log, day))
        first, end = self._bounds(log)
        run = self._connection.execute
        rows = run(
            "select id from payload where id between ? and ? and day < ? order by id limit ?",
            (first, end, day, STEP),
        ).fetchall()
        if not rows:
            self._payloads.forget_strangers()
            return 0
        self._connection.executemany("delete from payload where id = ?", rows)
        self._connection.executemany("delete from payload_subject where payload = ?", rows)
        self._payloads.forget_strangers()
        self._logs.append(entry(len(rows)))
        return len(rows)

    def prune_records(self, log: str, before: int, entry: Callable[[int, int], Entry]) -> int:
        """See `PruningStore.prune_records`."""
        self._logs.flush()
        base, last = self._bounds(log)
        size = self._first(base, last, "1") - base
        first = self._first(base, base + size - 1, "length(body) = 0") - base
        old = self._first(base, base + size - 1, "ts < ?", before) - base
        end = min(old, self._oldest_open(base, size), first + STEP)
        if end <= first:
            return 0
        self._connection.execute(
            "update audit_rec set body = x'', type = '', call = null, agent = null where id between ? and ?",
            (base + first, base + end - 1),
        )
        self._logs.append(entry(first, end))
        return end - first

    def _bounds(self, log: str) -> tuple[int, int]:
        """The first and the last key that a record of a log can have."""
        number = self._logs.number_of(log) or 0
        return number << SEQ_BITS, (number << SEQ_BITS) | SEQ_MASK

    def _oldest_open(self, base: int, size: int) -> int:
        """The number of the oldest record that an open call still needs; the size where there is none."""
        rows = self._connection.execute(
            "select min(r.id) from open_call o join audit_rec r on r.call = o.call"
            " where r.id between ? and ?",
            (base, base + size - 1),
        ).get
        return size if rows is None else int(rows) - base

    def _first(self, low: int, high: int, holds: str, *bindings: int) -> int:
        """The first key from `low` on for which something does not hold that holds for all before it."""
        high += 1
        while low < high:
            middle = (low + high) // 2
            row = self._connection.execute(
                f"select {holds} from audit_rec where id = ?",  # noqa: S608 - made of constants
                (*bindings, middle),
            ).fetchone()
            if row is not None and row[0]:
                low = middle + 1
            else:
                high = middle
        return low
