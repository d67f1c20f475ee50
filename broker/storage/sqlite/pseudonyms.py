"""Who asks for pseudonyms? `PseudonymStore`: each method is one operation, handed to the writer."""

from collections.abc import Collection, Mapping, Sequence

from broker.guardrails.pseudonyms import Hidden, Holder, Known
from broker.model import AgentId
from broker.storage.sqlite.writer import Writer


class SqlitePseudonyms:
    """`PseudonymStore` on one file, with the keys in another."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def issue(
        self, holder: Holder, values: Sequence[Hidden], taken: Collection[str]
    ) -> Mapping[str, str]:
        """See `PseudonymStore`. The answer comes after the commit: no process gives a number twice."""
        return await self._writer.run(lambda books: books.pseudonyms.issue(holder, values, taken))

    async def known(self, holder: Holder, names: Collection[str]) -> Sequence[Known]:
        """See `PseudonymStore`."""
        return await self._writer.run(lambda books: books.pseudonyms.known(holder, names))

    async def share(self, holder: Holder, names: Collection[str], agent: AgentId) -> None:
        """See `PseudonymStore`."""
        await self._writer.run(lambda books: books.pseudonyms.share(holder, names, agent))
