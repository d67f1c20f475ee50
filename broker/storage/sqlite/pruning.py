"""What has had its time? `PruningStore`: each method is one operation, handed to the writer."""

from collections.abc import Callable

from broker.audit.interface import Entry
from broker.storage.sqlite.writer import Writer


class SqlitePruning:
    """`PruningStore` on one file."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def names(self) -> list[str]:
        """See `PruningStore`."""
        return await self._writer.run(lambda books: books.pruning.names())

    async def prune_payloads(self, log: str, day: int, entry: Callable[[int], Entry]) -> int:
        """See `PruningStore`."""
        return await self._writer.run(lambda books: books.pruning.prune_payloads(log, day, entry))

    async def prune_records(self, log: str, before: int, entry: Callable[[int, int], Entry]) -> int:
        """See `PruningStore`."""
        return await self._writer.run(lambda books: books.pruning.prune_records(log, before, entry))
