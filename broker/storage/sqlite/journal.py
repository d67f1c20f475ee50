"""How is a fact written down? `JournalStore`: each method is one operation, handed to the writer."""

from collections.abc import Callable, Sequence
from typing import Any

import apsw
import orjson

from broker.audit.interface import Entry, Event, Receipt
from broker.journal import Closing, OpenCall, Opened, Opening, PastCall
from broker.ledger.interface import Override
from broker.model import Agent, AgentId, MicroUSD
from broker.storage.sqlite.connection import Connection
from broker.storage.sqlite.logs import SEQ_BITS
from broker.storage.sqlite.reading import unavailable
from broker.storage.sqlite.writer import Writer

_BEGINNING = (
    "select l.name, r.body from audit_rec r join audit_log l on l.id = r.id >> ?"
    " where r.call = ? and r.type = ? order by r.id limit 1"
)


class SqliteJournal:
    """`JournalStore` on one file.

    Args:
        writer: runs the operations.
        reader: a connection of the event loop's own.
        node: the id of this process.
        serves: whether this process alone serves the state, so that other nodes' open calls are abandoned.
    """

    def __init__(self, writer: Writer, reader: Connection, *, node: str, serves: bool) -> None:
        self._writer = writer
        self._reader = reader
        self._node = node
        self._serves = serves

    async def open(self, opening: Opening) -> Opened:
        """See `JournalStore`."""
        return await self._writer.run(lambda books: books.open_call(opening))

    async def close(self, closing: Closing) -> Receipt:
        """See `JournalStore`."""
        return await self._writer.run(lambda books: books.close_call(closing))

    async def append(self, entry: Entry) -> Receipt:
        """See `JournalStore`."""
        return await self._writer.run(lambda books: books.append(entry))

    async def override_budget(self, override: Override, entry: Entry) -> None:
        """See `JournalStore`."""
        await self._writer.run(lambda books: books.override_budget(override, entry))

    async def forget_windows(self, after: str) -> str | None:
        """See `JournalStore`."""
        return await self._writer.run(lambda books: books.forget_windows(after))

    async def declassify(
        self, transaction: str, labels: frozenset[str], entry: Callable[[frozenset[str]], Entry]
    ) -> frozenset[str]:
        """See `JournalStore`."""
        return await self._writer.run(lambda books: books.declassify(transaction, labels, entry))

    async def past(self, call: str) -> PastCall | None:
        """See `JournalStore`."""
        try:
            row = self._reader.execute(_BEGINNING, (SEQ_BITS, call, Event.CALL_INTENT.value)).fetchone()
        except apsw.Error as error:
            raise unavailable(error) from error
        return None if row is None else _past(call, *row)

    async def open_calls(self, *, agent: str | None, after: str, limit: int) -> Sequence[OpenCall]:
        """See `JournalStore`."""
        try:
            rows = self._reader.execute(
                "select log, call, agent, held from open_call where call > ?1"
                " and (?2 is null or agent = ?2) order by call limit ?3",
                (after, agent, limit),
            )
            return [OpenCall(log, call, who, MicroUSD(held)) for log, call, who, held in rows]
        except apsw.Error as error:
            raise unavailable(error) from error

    async def abandoned(self) -> Sequence[OpenCall]:
        """See `JournalStore`. None for a process that does not serve: it cannot tell who still runs."""
        if not self._serves:
            return ()
        try:
            rows = self._reader.execute(
                "select log, call, agent, held from open_call where node <> ? order by call", (self._node,)
            )
            return [OpenCall(log, call, agent, MicroUSD(held)) for log, call, agent, held in rows]
        except apsw.Error as error:
            raise unavailable(error) from error

    async def enrol(self, agent: Agent, secret_digest: bytes | None, entry: Entry) -> None:
        """See `JournalStore`."""
        await self._writer.run(lambda books: books.enrol(agent, secret_digest, entry))

    async def change_agent(
        self, agent_id: AgentId, change: Callable[[Agent], Agent], entry: Callable[[Agent, Agent], Entry]
    ) -> bool:
        """See `JournalStore`."""
        return await self._writer.run(lambda books: books.change_agent(agent_id, change, entry))


def _past(call: str, log: str, body: bytes) -> PastCall | None:
    facts: dict[str, Any] = orjson.loads(body)
    actor, cause = facts.get("actor"), facts.get("cause")
    if not actor or not cause:
        return None
    grants = actor.get("grants")
    return PastCall(call, log, actor["agent"], cause["task"], cause["root"], grants[0] if grants else None)
