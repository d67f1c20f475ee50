"""Which findings are none? `AllowanceStore` on one file."""

from collections.abc import Sequence

import apsw

from broker.allowances import Allowance
from broker.audit.interface import Entry
from broker.storage.sqlite.connection import Connection
from broker.storage.sqlite.reading import unavailable
from broker.storage.sqlite.writer import Writer

_ALL = "select guard, digest, reason, by, at from guard_exception order by guard, digest"


class SqliteAllowances:
    """`AllowanceStore`: reads on the event loop, one operation to write."""

    def __init__(self, writer: Writer, reader: Connection) -> None:
        self._writer = writer
        self._reader = reader

    async def allowances(self) -> Sequence[Allowance]:
        """See `AllowanceStore`."""
        try:
            return [Allowance(*row) for row in self._reader.execute(_ALL)]
        except apsw.Error as error:
            raise unavailable(error) from error

    async def allow(self, allowance: Allowance, entry: Entry) -> None:
        """See `AllowanceStore`."""
        await self._writer.run(lambda books: books.allow(allowance, entry))

    async def withdraw(self, guard: str, digest: str, entry: Entry) -> None:
        """See `AllowanceStore`."""
        await self._writer.run(lambda books: books.withdraw(guard, digest, entry))
