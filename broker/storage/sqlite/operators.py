"""Who runs the broker? `OperatorKeeper` on one file."""

from collections.abc import Sequence

import apsw

from broker.audit.interface import Entry
from broker.identity.operators import EnrolledOperator, Operator, OperatorId
from broker.storage.sqlite.connection import Connection
from broker.storage.sqlite.operator_books import COLUMNS, operator_of
from broker.storage.sqlite.reading import unavailable
from broker.storage.sqlite.writer import Writer

_ONE = f"select {COLUMNS}, digest from operator where id = ?"  # noqa: S608 - made of constants
_ALL = f"select {COLUMNS} from operator order by id"  # noqa: S608 - made of constants


class SqliteOperators:
    """`OperatorKeeper` on one file; reads on the event loop, microseconds each."""

    def __init__(self, writer: Writer, reader: Connection) -> None:
        self._writer = writer
        self._reader = reader

    async def operator(self, operator_id: OperatorId) -> EnrolledOperator | None:
        """See `OperatorStore`."""
        try:
            row = self._reader.execute(_ONE, (operator_id,)).fetchone()
        except apsw.Error as error:
            raise unavailable(error) from error
        return EnrolledOperator(operator_of(row), row[5]) if row else None

    async def operators(self) -> Sequence[Operator]:
        """See `OperatorStore`."""
        try:
            return [operator_of(row) for row in self._reader.execute(_ALL)]
        except apsw.Error as error:
            raise unavailable(error) from error

    async def add(self, operator: Operator, digest: bytes, entry: Entry) -> None:
        """See `OperatorKeeper`."""
        await self._writer.run(lambda books: books.operators.add(operator, digest, entry))

    async def renew(self, operator_id: OperatorId, digest: bytes, expires_at: int, entry: Entry) -> None:
        """See `OperatorKeeper`."""
        await self._writer.run(lambda books: books.operators.renew(operator_id, digest, expires_at, entry))

    async def revoke(self, operator_id: OperatorId, now: int, entry: Entry) -> bool:
        """See `OperatorKeeper`."""
        return await self._writer.run(lambda books: books.operators.revoke(operator_id, now, entry))

    async def note(self, entry: Entry) -> None:
        """See `OperatorKeeper`."""
        await self._writer.run(lambda books: books.append(entry))
