"""Where do the logs stand? Their ends in memory, and what the open transaction adds to them.

The ends stay in memory from commit to commit. They are forgotten, and read again, whenever they
might not be what the file says: after a failed commit and after a commit of another process.
"""

from broker.audit.interface import Entry, Event, Receipt
from broker.audit.record import GrowingLog, Written, opened, origin_of
from broker.storage.sqlite.call_index import CallIndex
from broker.storage.sqlite.connection import Connection
from broker.storage.sqlite.tiles import SEQ_BITS, Tiles

SEQ_MASK = (1 << SEQ_BITS) - 1
HASH_BYTES = 32
MICRO = 1_000_000

_Row = tuple[int, int, str, str | None, str | None, bytes, bytes]


class Logs:
    """Appends records; `flush` writes them."""

    def __init__(self, connection: Connection, *, deployment: str, node: str) -> None:
        self._connection = connection
        self._deployment = deployment
        self._node = node
        self._logs: dict[str, tuple[int, GrowingLog]] = {}
        self._grown: dict[int, GrowingLog] = {}
        self._rows: list[_Row] = []
        self._index = CallIndex(connection)
        self._tiles = Tiles(connection)
        self.now = 0
        """Unix microseconds of this transaction."""

    def forget(self) -> None:
        """Believe the file again."""
        self._logs.clear()
        self._grown.clear()
        self._rows.clear()
        self._index.forget()
        self._tiles.forget()

    def append(self, entry: Entry) -> Receipt:
        """Add a record; the first of a log opens it.

        Raises:
            InvalidRequest: the facts do not fit; nothing was changed.
        """
        found = self._logs.get(entry.log) or self._load(entry.log)
        if found is None:
            return self._open(entry)
        number, log = found
        written = log.append(entry, node=self._node, now=self.now)
        self._stage(number, log, written)
        return written.receipt

    def end_of(self, call: str) -> Receipt | None:
        """The receipt of the record that ended a call."""
        self.flush()
        row = self._connection.execute(
            "select r.id, r.leaf, l.name from audit_rec r join audit_log l on l.id = r.id >> ?"
            " where r.call = ? and r.type in (?, ?) order by r.id limit 1",
            (SEQ_BITS, call, Event.CALL_OUTCOME.value, Event.CALL_UNKNOWN.value),
        ).fetchone()
        if row is None:
            return None
        key, leaf, name = row
        return Receipt(str(name), int(key) & SEQ_MASK, bytes(leaf).hex(), (int(key) & SEQ_MASK) + 1)

    def flush(self) -> None:
        """Write what was appended."""
        if not self._rows:
            return
        self._connection.executemany("insert into audit_rec values (?, ?, ?, ?, ?, ?, ?)", self._rows)
        self._connection.executemany(
            "insert into audit_head values (?, ?, ?, ?, ?) on conflict (log) do update set"
            " size = excluded.size, ts = excluded.ts, frontier = excluded.frontier, root = excluded.root",
            [(n, g.size, g.ts, b"".join(g.frontier), g.head.root) for n, g in self._grown.items()],
        )
        self._index.flush()
        for number, log in self._grown.items():
            self._tiles.extend(number, log.size)
        self._rows.clear()
        self._grown.clear()

    def key_of(self, receipt: Receipt) -> int:
        """The `audit_rec.id` of a record that was appended in this transaction."""
        return (self._logs[receipt.log][0] << SEQ_BITS) | receipt.index

    def number_of(self, name: str) -> int | None:
        """The number of a log in the file."""
        found = self._logs.get(name) or self._load(name)
        return found[0] if found else None

    def _open(self, entry: Entry) -> Receipt:
        log, first = opened(entry.log, origin_of(self._deployment, entry.log), node=self._node, now=self.now)
        written = log.append(entry, node=self._node, now=self.now)
        self._connection.execute("insert into audit_log (name, origin) values (?, ?)", (log.name, log.origin))
        number = self._connection.last_insert_rowid()
        self._logs[entry.log] = number, log
        self._stage(number, log, first)
        self._stage(number, log, written)
        return written.receipt

    def _stage(self, number: int, log: GrowingLog, written: Written) -> None:
        entry = written.entry
        key = (number << SEQ_BITS) | written.seq
        row = (key, written.ts, entry.event.value, entry.call, entry.agent, written.leaf, written.body)
        self._rows.append(row)
        self._grown[number] = log
        self._index.note(key, entry)

    def _load(self, name: str) -> tuple[int, GrowingLog] | None:
        row = self._connection.execute(
            "select l.id, l.origin, h.size, h.ts, h.frontier from audit_log l"
            " join audit_head h on h.log = l.id where l.name = ?",
            (name,),
        ).fetchone()
        if row is None:
            return None
        number, origin, size, ts, frontier = row
        hashes = [frontier[i : i + HASH_BYTES] for i in range(0, len(frontier), HASH_BYTES)]
        found = self._logs[name] = number, GrowingLog(name, origin, size, ts, hashes)
        return found
