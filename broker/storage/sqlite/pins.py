"""Which definitions were approved? `PinStore` on one file."""

from collections.abc import Sequence

import apsw

from broker.catalog.pins import Pin
from broker.definitions import Review
from broker.storage.sqlite.connection import Connection
from broker.storage.sqlite.pin_books import read_pins
from broker.storage.sqlite.reading import unavailable
from broker.storage.sqlite.writer import Writer


class SqlitePins:
    """`PinStore`: reads on the event loop, one operation to write."""

    def __init__(self, writer: Writer, reader: Connection) -> None:
        self._writer = writer
        self._reader = reader

    async def pins(self, connector: str | None = None) -> Sequence[Pin]:
        """See `PinStore`."""
        try:
            return read_pins(self._reader, connector)
        except apsw.Error as error:
            raise unavailable(error) from error

    async def review(self, review: Review) -> None:
        """See `PinStore`."""
        await self._writer.run(lambda books: books.pins.review(review))

    async def version(self) -> int:
        """See `PinStore`."""
        try:
            return int(self._reader.execute("select version from pin_version").get)
        except apsw.Error as error:
            raise unavailable(error) from error
