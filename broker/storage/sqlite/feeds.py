"""How far were feeds delivered? `FeedStore` on one file."""

import apsw

from broker.storage.sqlite.connection import Connection
from broker.storage.sqlite.reading import unavailable
from broker.storage.sqlite.writer import Writer


class SqliteFeeds:
    """`FeedStore`: reads on the event loop, one operation to write."""

    def __init__(self, writer: Writer, reader: Connection) -> None:
        self._writer = writer
        self._reader = reader

    async def delivered(self, feed: str) -> dict[str, int]:
        """See `FeedStore`."""
        try:
            rows = self._reader.execute("select log, next from audit_feed where feed = ?", (feed,))
            return {log: seq for log, seq in rows}  # noqa: C416 - rows of a known shape
        except apsw.Error as error:
            raise unavailable(error) from error

    async def deliver(self, feed: str, log: str, next_seq: int) -> None:
        """See `FeedStore`."""
        await self._writer.run(lambda books: books.deliver(feed, log, next_seq))
