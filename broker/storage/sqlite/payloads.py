"""Who reads and erases what was said? `PayloadStore`: each method is one operation, handed to the writer."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import anyio.to_thread
import apsw

from broker.audit.interface import Entry
from broker.audit.payloads import About, Erased, Opened, Part, Subject, SubjectId, handle_of
from broker.storage.sqlite.books import Books
from broker.storage.sqlite.connection import connect_writer
from broker.storage.sqlite.reading import unavailable
from broker.storage.sqlite.writer import Writer

CHECKED = 100
"""How many payloads are checked at a time."""


class SqlitePayloads:
    """`PayloadStore` on one file, with the keys in another.

    Args:
        writer: runs the operations; the keys are with it.
        path: the file.
        handles: the key of the keyed hashes that people are found by.
    """

    def __init__(self, writer: Writer, path: Path, handles: bytes) -> None:
        self._writer = writer
        self._path = path
        self._handles = handles

    def handle(self, text: str) -> bytes:
        """See `PayloadStore`."""
        return handle_of(self._handles, text)

    async def read(self, call: str, entry: Callable[[str, Sequence[Part]], Entry]) -> Sequence[Opened]:
        """See `PayloadStore`. The answer comes after the commit, so the record is durable before it."""
        return await self._writer.run(lambda books: books.payloads.read(call, entry))

    async def kept(self, log: str, first: int, end: int) -> frozenset[int]:
        """See `PayloadStore`."""
        return await self._writer.run(lambda books: books.payloads.kept(log, first, end))

    async def broken(self) -> AsyncIterator[tuple[str, int]]:
        """See `PayloadStore`. In small steps: calls go on meanwhile."""
        after: int | None = 0
        while after is not None:
            found, after = await self._writer.run(partial(_broken, after=after))
            for one in found:
                yield one

    async def subjects(self) -> Sequence[Subject]:
        """See `PayloadStore`."""
        return await self._writer.run(lambda books: books.payloads.subjects())

    async def about(
        self, who: str, log: str | None, entry: Callable[[Subject, Sequence[Part]], Entry]
    ) -> Sequence[About]:
        """See `PayloadStore`."""
        return await self._writer.run(lambda books: books.payloads.about(who, log, entry))

    async def erase(
        self, who: str, log: str | None, entry: Callable[[SubjectId, str, int], Entry]
    ) -> Sequence[Erased]:
        """See `PayloadStore`. What was deleted is overwritten in the file, and not left in its journal."""
        erased = await self._writer.run(lambda books: books.payloads.erase(who, log, entry))
        await anyio.to_thread.run_sync(self._empty_journal)
        return erased

    def _empty_journal(self) -> None:
        try:
            with closing(connect_writer(self._path)) as connection:
                connection.execute("pragma wal_checkpoint(truncate)").fetchall()
        except apsw.Error as error:
            raise unavailable(error) from error


def _broken(books: Books, *, after: int) -> tuple[list[tuple[str, int]], int | None]:
    return books.payloads.broken(after, CHECKED)
