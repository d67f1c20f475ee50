"""What has been written down? `LogReader`, `CheckpointStore` and `LedgerReader` on one file.

Small answers are read on the event loop in microseconds; records come in chunks from a worker
thread, each chunk a short read of its own, so that a long verification never holds the file back.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import apsw

from broker.audit.interface import CallFilter, EndedCall, Entry, Filter, LogHead, StoredRecord
from broker.errors import StorageUnavailable
from broker.ledger.interface import Balance, Override, Unit
from broker.model import Clock
from broker.storage.sqlite.accounts import read_balance, read_balances
from broker.storage.sqlite.call_list import CallList
from broker.storage.sqlite.connection import Connection
from broker.storage.sqlite.logs import SEQ_BITS, SEQ_MASK
from broker.storage.sqlite.tiles import kept, leaves
from broker.storage.sqlite.writer import Writer

CHUNK = 500
T = TypeVar("T")
_OF_TASK = (
    "id in (select id from audit_task where task = ?1 union all"
    " select id from audit_begun where ?1 in (task, named))"
)
_OF_TREE = (
    "call in (select ?2 union all select r.call from audit_rec r where r.id in ("
    "select id from audit_task where task = ?1 and made = 0 and root = ?2 union all"
    " select id from audit_begun where task = ?1 and made = 0 and root = ?2))"
)
_HEADS = (
    "select l.id, l.name, l.origin, h.size, h.root from audit_log l"
    " join audit_head h on h.log = l.id order by l.name"
)


def unavailable(error: apsw.Error) -> StorageUnavailable:
    """A failed read, as the broker's own refusal: what cannot be read is not guessed."""
    return StorageUnavailable(f"the state cannot be read: {error}", hint="see to the disk under `state_dir`")


class SqliteLog:
    """`LogReader` and `CheckpointStore` on one file.

    Args:
        writer: keeps checkpoints.
        reader: a connection of the event loop's own.
        bulk: a connection that one worker thread at a time reads records through.
    """

    def __init__(self, writer: Writer, reader: Connection, bulk: Connection) -> None:
        self._writer = writer
        self._reader = reader
        self._bulk = bulk
        self._bulk_free = anyio.Lock()

    async def logs(self) -> list[LogHead]:
        """See `LogReader`."""
        try:
            rows = self._reader.execute(_HEADS)
            return [LogHead(name, origin, size, root) for _, name, origin, size, root in rows]
        except apsw.Error as error:
            raise unavailable(error) from error

    async def records(self, log: str, where: Filter = Filter()) -> AsyncIterator[StoredRecord]:  # noqa: B008 - frozen
        """See `LogReader`."""
        number = self._number(log)
        if number is None:
            return
        query = _Query(number, where)
        start = query.first
        if where.last is not None:
            start = await self._newest(query, where.last)
        while chunk := await self._chunk(query, start):
            for record in chunk:
                yield record
            if query.few:
                return
            start = query.key(chunk[-1].seq + 1)

    async def calls(self, log: str, where: CallFilter, *, last: int) -> list[EndedCall]:
        """See `LogReader`."""
        number = self._number(log)
        if number is None or last <= 0:
            return []
        found = CallList(self._bulk, number)
        return await self._off_the_loop(lambda: found.newest(where, last))

    async def tile(self, log: str, level: int, n: int) -> bytes:
        """See `LogReader`."""
        number = self._number(log)
        if number is None:
            return b""
        return await self._off_the_loop(lambda: _tile(self._bulk, number, level, n))

    async def checkpoints(self, log: str) -> list[str]:
        """See `LogReader`."""
        try:
            rows = self._reader.execute(
                "select c.note from audit_ckpt c join audit_log l on l.id = c.log"
                " where l.name = ? order by c.size",
                (log,),
            )
            return [note for (note,) in rows]
        except apsw.Error as error:
            raise unavailable(error) from error

    async def save_checkpoint(self, log: str, size: int, note: str, leaf: Entry | None = None) -> None:
        """See `CheckpointStore`."""
        await self._writer.run(lambda books: books.save_checkpoint(log, size, note, leaf))

    async def cosign(self, log: str, size: int, note: str) -> None:
        """See `CheckpointStore`."""
        await self._writer.run(lambda books: books.cosign(log, size, note))

    def _number(self, log: str) -> int | None:
        try:
            row = self._reader.execute("select id from audit_log where name = ?", (log,)).fetchone()
        except apsw.Error as error:
            raise unavailable(error) from error
        return row[0] if row else None

    async def _newest(self, query: "_Query", count: int) -> int:
        """The key at which the newest `count` records begin."""
        if count <= 0:
            return query.end
        sql = f"select id from audit_rec where {query.condition} order by id desc limit 1 offset ?"  # noqa: S608 - made of constants
        rows = await self._read(sql, (*query.bindings(query.first), count - 1))
        return rows[0][0] if rows else query.first

    async def _chunk(self, query: "_Query", start: int) -> list[StoredRecord]:
        sql = f"select id, leaf, body from audit_rec where {query.condition} order by id limit ?"  # noqa: S608 - made of constants
        rows = await self._read(sql, (*query.bindings(start), -1 if query.few else CHUNK))
        return [StoredRecord(key & SEQ_MASK, leaf, body) for key, leaf, body in rows]

    async def _read(self, sql: str, bindings: tuple[Any, ...]) -> list[Any]:
        return await self._off_the_loop(lambda: self._bulk.execute(sql, bindings).fetchall())

    async def _off_the_loop(self, read: Callable[[], T]) -> T:
        async with self._bulk_free:
            try:
                return await anyio.to_thread.run_sync(read)
            except apsw.Error as error:
                raise unavailable(error) from error


def _tile(connection: Connection, log: int, level: int, n: int) -> bytes:
    """The hashes that are kept; those of level 0 that fill no tile yet are with their records."""
    hashes = kept(connection, log, level, n)
    if hashes is not None:
        return hashes
    return leaves(connection, log, n) if level == 0 else b""


class _Query:
    """A filter as a condition on `audit_rec`, made of constant texts and bindings only."""

    def __init__(self, log: int, where: Filter) -> None:
        self.log = log
        self.first = self.key(where.from_seq)
        self.end = self.key(SEQ_MASK if where.before_seq is None else where.before_seq - 1)
        self.few = where.call is not None or where.task is not None
        """Whether so few records fit that they are read at once, through their own index."""
        parts: list[str] = []
        self._more: list[str] = []
        if where.task is not None:
            self._more.append(where.task)
            parts.append(_OF_TASK if where.root is None else _OF_TREE)
        if where.task is not None and where.root is not None:
            self._more.append(where.root)
        parts.append("+id between ? and ?" if self.few else "id between ? and ?")
        self._bounds_at = len(self._more)
        if where.call is not None:
            parts.append("call = ?")
            self._more.append(where.call)
        if where.agent is not None:
            parts.append("agent = ?")
            self._more.append(where.agent)
        if where.events:
            parts.append(f"type in ({', '.join('?' * len(where.events))})")
            self._more += [event.value for event in where.events]
        self.condition = " and ".join(parts)

    def key(self, seq: int) -> int:
        return (self.log << SEQ_BITS) | seq

    def bindings(self, start: int) -> tuple[int | str, ...]:
        more, at = self._more, self._bounds_at
        return (*more[:at], start, self.end, *more[at:])


class SqliteLedger:
    """`LedgerReader` on one file.

    Args:
        reader: a connection of the event loop's own.
        clock: Unix seconds; says which overrides are over.
    """

    def __init__(self, reader: Connection, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock

    async def balances(self) -> list[Balance]:
        """See `LedgerReader`."""
        try:
            return read_balances(self._reader)
        except apsw.Error as error:
            raise unavailable(error) from error

    async def overrides(self) -> list[Override]:
        """See `LedgerReader`."""
        query = "select scope, window, unit, cap, until, reason, by from budget_override where until > ?"
        try:
            rows = self._reader.execute(query, (int(self._clock()),))
            return [Override(scope, window, Unit(unit), *rest) for scope, window, unit, *rest in rows]
        except apsw.Error as error:
            raise unavailable(error) from error

    async def balance(self, account: str) -> Balance:
        """See `LedgerReader`."""
        try:
            return read_balance(self._reader, account)
        except apsw.Error as error:
            raise unavailable(error) from error
