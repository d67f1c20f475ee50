"""Which call was the first under an idempotency key? `FirstCalls` on one file."""

import apsw

from broker.idempotency import First
from broker.model import Clock
from broker.storage.sqlite.connection import Connection
from broker.storage.sqlite.first_call_books import find
from broker.storage.sqlite.reading import unavailable


class SqliteFirstCalls:
    """`FirstCalls`: reads on the event loop."""

    def __init__(self, reader: Connection, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock

    async def first(self, claim: bytes) -> First | None:
        """See `FirstCalls`."""
        try:
            return find(self._reader, claim, int(self._clock()))
        except apsw.Error as error:
            raise unavailable(error) from error
