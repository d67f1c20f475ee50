"""Who has delegated what to whom? `GrantKeeper` on one file.

Chains are asked for on every delegated call, so they stay in memory. A hop never changes but by
being revoked, which makes the number grow that every change of an agent makes grow.
"""

from collections.abc import Callable, Sequence

import apsw

from broker.audit.interface import Entry
from broker.grants import GrantFilter
from broker.model import CallId, Grant, GrantId
from broker.storage.sqlite.changes import Changes
from broker.storage.sqlite.connection import Connection
from broker.storage.sqlite.grant_books import COLUMNS, grant_of
from broker.storage.sqlite.reading import unavailable
from broker.storage.sqlite.writer import Writer

KEPT = 10_000
"""How many chains stay in memory."""

_UP = (
    "with recursive up(hop, above) as (select id, parent from delegation where id = ?"
    " union all select d.id, d.parent from up join delegation d on d.id = up.above)"
)
_CHAIN = f"{_UP} select {COLUMNS} from delegation where id in (select hop from up) order by depth desc"  # noqa: S608 - made of constants

_FIND = (
    f"select {COLUMNS} from delegation where organisation = coalesce(?1, organisation)"  # noqa: S608 - made of constants
    " and (?2 is null or by_agent = ?2 or to_agent = ?2)"
    " and (?3 is null or (revoked_at is null and expires_at > ?3))"
    " and (?4 is null or (created_at, id) < (?4, ?5))"
    " order by created_at desc, id desc limit coalesce(?6, -1)"
)
_DOWN = (
    "with recursive down(hop) as (select ? union all"  # noqa: S608 - made of constants
    " select d.id from down join delegation d on d.parent = down.hop)"
    f" select {COLUMNS} from delegation where id in (select hop from down) order by depth, created_at, id"
)


class SqliteGrants:
    """`GrantKeeper` on one file; reads on the event loop, microseconds each."""

    def __init__(self, writer: Writer, reader: Connection, changes: Changes) -> None:
        self._writer = writer
        self._changes = changes
        self._reader = reader
        self._version = -1
        self._chains: dict[GrantId, tuple[Grant, ...]] = {}

    async def grant(self, grant_id: GrantId) -> Grant | None:
        """See `GrantStore`."""
        chain = await self.chain(grant_id)
        return chain[0] if chain else None

    async def chain(self, grant_id: GrantId) -> Sequence[Grant]:
        """See `GrantStore`."""
        try:
            if (version := self._changes.number()) != self._version:
                self._chains.clear()
                self._version = version
            known = self._chains.get(grant_id)
            if known is None:
                known = tuple([grant_of(row) for row in self._reader.execute(_CHAIN, (grant_id,))])
                if known:
                    self._keep(grant_id, known)
        except apsw.Error as error:
            raise unavailable(error) from error
        return known

    async def children(self, grant_id: GrantId) -> Sequence[Grant]:
        """See `GrantStore`."""
        return self._where("parent = ?", grant_id)

    async def roots(self, transaction: str) -> Sequence[Grant]:
        """See `GrantStore`."""
        return self._where("parent is null and txn = ?", transaction)

    async def is_open(self, call: CallId) -> bool:
        """See `GrantStore`."""
        try:
            row = self._reader.execute("select 1 from open_call where call = ?", (call,)).fetchone()
        except apsw.Error as error:
            raise unavailable(error) from error
        return row is not None

    async def version(self) -> int:
        """See `GrantStore`."""
        try:
            return self._changes.number()
        except apsw.Error as error:
            raise unavailable(error) from error

    async def find(self, where: GrantFilter) -> Sequence[Grant]:
        """See `GrantKeeper`."""
        before = where.before or (None, None)
        wanted = (where.organisation, where.agent, where.standing_at, *before, where.limit)
        try:
            return [grant_of(row) for row in self._reader.execute(_FIND, wanted)]
        except apsw.Error as error:
            raise unavailable(error) from error

    async def subtree(self, grant_id: GrantId) -> Sequence[Grant]:
        """See `GrantKeeper`."""
        try:
            return [grant_of(row) for row in self._reader.execute(_DOWN, (grant_id,))]
        except apsw.Error as error:
            raise unavailable(error) from error

    async def delegate(self, grant: Grant, entry: Entry) -> None:
        """See `GrantKeeper`."""
        await self._writer.run(lambda books: books.grants.delegate(grant, entry))

    async def revoke(self, grant_id: GrantId, entry: Callable[[Grant, Sequence[GrantId]], Entry]) -> int:
        """See `GrantKeeper`."""
        return await self._writer.run(lambda books: books.grants.revoke(grant_id, entry))

    def _where(self, condition: str, value: str) -> list[Grant]:
        sql = f"select {COLUMNS} from delegation where {condition} order by created_at, id"  # noqa: S608 - made of constants
        try:
            return [grant_of(row) for row in self._reader.execute(sql, (value,))]
        except apsw.Error as error:
            raise unavailable(error) from error

    def _keep(self, grant_id: GrantId, chain: tuple[Grant, ...]) -> None:
        if len(self._chains) >= KEPT:
            self._chains.clear()
        self._chains[grant_id] = chain
