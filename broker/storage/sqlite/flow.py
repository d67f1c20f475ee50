"""What has this transaction read and done? `FlowStore` on one file; reads take microseconds."""

import apsw
import orjson

from broker.flow.interface import Kept
from broker.flow.tally import Tally
from broker.storage.sqlite.connection import Connection
from broker.storage.sqlite.flow_books import COUNTED, MARKS, owner
from broker.storage.sqlite.reading import unavailable

_ORIGINS = {mark: origin for origin, mark in MARKS.items()}


class SqliteFlow:
    """See `FlowStore`. Reads on the event loop, through a connection of its own."""

    def __init__(self, reader: Connection) -> None:
        self._reader = reader

    async def owner(self, name: str) -> str | None:
        """See `FlowStore`."""
        try:
            return owner(self._reader, name)
        except apsw.Error as error:
            raise unavailable(error) from error

    async def load(self, transaction: str) -> Kept:
        """See `FlowStore`."""
        try:
            # One statement, one snapshot: what is marked and what it adds up to belong together.
            rows = self._reader.execute(
                "select version, tally, digest, mark from flow left join flow_mark on flow = id where id = ?",
                (transaction,),
            ).fetchall()
        except apsw.Error as error:
            raise unavailable(error) from error
        if not rows:
            return Kept()
        version, tally = rows[0][:2]
        return Kept(
            version,
            Tally.of(orjson.loads(tally)),
            {digest: _ORIGINS[mark] for _, _, digest, mark in rows if mark in _ORIGINS},
            frozenset([digest for _, _, digest, mark in rows if mark == COUNTED]),
        )

    async def unmoved(self, transaction: str, reading: str, known: int) -> bool:
        """See `FlowStore`."""
        try:
            row = self._reader.execute(
                "select version, reading from flow where id = ?", (transaction,)
            ).fetchone()
        except apsw.Error as error:
            raise unavailable(error) from error
        return not known if row is None else (row[0] == known or row[1] == reading)
