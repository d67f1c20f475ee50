"""Who is enrolled, and with which keys does the broker work? `AgentStore` and `KeyStore` on one file.

Agents are asked for on every call, so they stay in memory. One number in the file grows with every
change of an agent; it is looked at each time, so that a suspension by another process holds at once.
"""

from collections.abc import Callable, Collection, Sequence

import apsw
import orjson

from broker.identity.interface import (
    AgentFilter,
    AgentKey,
    Fallen,
    KeyAddress,
    KeyState,
    KeyUse,
    Secret,
    StoredKey,
)
from broker.model import Agent, AgentId, AgentStatus, CallId, Clock, GrantId, Principal, credentials_of
from broker.storage.sqlite.agent_rows import COLUMNS, agent_of
from broker.storage.sqlite.changes import Changes
from broker.storage.sqlite.connection import Connection
from broker.storage.sqlite.credential_rows import credential_ends, signing_key_ends
from broker.storage.sqlite.reading import unavailable
from broker.storage.sqlite.writer import Writer

_AGENT = f"select {COLUMNS} from agent where id = ?"  # noqa: S608 - made of constants
_AGENTS = (
    f"select {COLUMNS} from agent where id > ?1 and organisation = coalesce(?2, organisation)"  # noqa: S608 - made of constants
    " and status = coalesce(?3, status) order by id limit coalesce(?4, -1)"
)


class SqliteAgents:
    """`AgentStore` and `Standing` on one file; reads on the event loop, microseconds each."""

    def __init__(self, reader: Connection, changes: Changes, clock: Clock) -> None:
        self._reader = reader
        self._changes = changes
        self._clock = clock
        self._version = -1
        self._agents: dict[AgentId, Agent | None] = {}
        self._revoked: frozenset[str] = frozenset()
        self._ends: dict[AgentId, dict[str, int]] = {}

    async def agent(self, agent_id: AgentId) -> Agent | None:
        """See `AgentStore`."""
        try:
            self._refresh()
            if agent_id not in self._agents:
                row = self._reader.execute(_AGENT, (agent_id,)).fetchone()
                if row is None:
                    return None
                self._agents[agent_id] = agent_of(row)
            return self._agents[agent_id]
        except apsw.Error as error:
            raise unavailable(error) from error

    async def agents(self, where: AgentFilter = AgentFilter()) -> Sequence[Agent]:  # noqa: B008 - frozen
        """See `AgentStore`."""
        wanted = (where.after, where.organisation, where.status and where.status.value, where.limit)
        try:
            return [agent_of(row) for row in self._reader.execute(_AGENTS, wanted)]
        except apsw.Error as error:
            raise unavailable(error) from error

    async def lapsed(self, now: int) -> Sequence[AgentId]:
        """See `AgentStore`."""
        try:
            rows = self._reader.execute(
                "select id from agent where attested_until <= ? and status <> ?",
                (now, AgentStatus.REVOKED.value),
            )
            return [AgentId(agent) for (agent,) in rows]
        except apsw.Error as error:
            raise unavailable(error) from error

    async def last_seen(self, agent_id: AgentId) -> int | None:
        """See `AgentStore`."""
        try:
            row = self._reader.execute("select at from agent_seen where agent = ?", (agent_id,)).fetchone()
        except apsw.Error as error:
            raise unavailable(error) from error
        return row[0] if row else None

    async def secrets(self, agent_id: AgentId) -> Sequence[Secret]:
        """See `AgentStore`."""
        try:
            rows = self._reader.execute(
                "select digest, created_at, not_after, launch from agent_secret where agent = ?"
                " order by created_at desc, digest",
                (agent_id,),
            )
            return [Secret(*row) for row in rows]
        except apsw.Error as error:
            raise unavailable(error) from error

    async def keys(self, agent_id: AgentId) -> Sequence[AgentKey]:
        """See `AgentStore`."""
        try:
            rows = self._reader.execute(
                "select kid, jwk, created_at from agent_key where agent = ? order by created_at desc, kid",
                (agent_id,),
            )
            return [AgentKey(kid, jwk, created_at) for kid, jwk, created_at in rows]
        except apsw.Error as error:
            raise unavailable(error) from error

    async def key_address(self, agent_id: AgentId) -> KeyAddress | None:
        """See `AgentStore`."""
        try:
            row = self._reader.execute(
                "select url, created_at from agent_jwks where agent = ?", (agent_id,)
            ).fetchone()
        except apsw.Error as error:
            raise unavailable(error) from error
        return KeyAddress(*row) if row else None

    async def credential_end(self, agent_id: AgentId, credential: str) -> int | None:
        """See `AgentStore`."""
        try:
            self._refresh()
            ends = self._ends.get(agent_id)
            if ends is None:
                ends = self._ends[agent_id] = credential_ends(self._reader, agent_id)
        except apsw.Error as error:
            raise unavailable(error) from error
        return ends.get(credential)

    async def revoked(self, token_id: str) -> bool:
        """See `AgentStore`."""
        try:
            self._refresh()
        except apsw.Error as error:
            raise unavailable(error) from error
        return token_id in self._revoked

    async def version(self) -> int:
        """See `Standing`."""
        try:
            return self._changes.number()
        except apsw.Error as error:
            raise unavailable(error) from error

    async def fallen(self, principals: Collection[Principal]) -> Fallen:
        """See `Standing`."""
        actors = {actor.id for principal in principals for actor in principal.actors}
        found = {actor: await self.agent(actor) for actor in actors}
        status = {actor: agent.status if agent else "removed" for actor, agent in found.items()}
        return Fallen(
            agents={actor: now for actor, now in status.items() if now != AgentStatus.ACTIVE},
            grants=self._fallen_grants({grant.id for principal in principals for grant in principal.grants}),
            tokens=self._revoked & {principal.token_id for principal in principals},
            credentials=frozenset(
                [
                    (agent, credential)
                    for agent, credential in {shown for one in principals for shown in credentials_of(one)}
                    if (await self.credential_end(agent, credential) or 0) <= self._clock()
                ]
            ),
            keys=self._fallen_keys({principal.key for principal in principals if principal.key}),
        )

    async def ended(self, calls: Collection[CallId]) -> frozenset[CallId]:
        """See `Standing`."""
        try:
            rows = self._reader.execute(
                "select call from open_call where call in (select value from json_each(?))",
                (orjson.dumps(list(calls)).decode(),),
            )
            return frozenset(calls) - {CallId(call) for (call,) in rows}
        except apsw.Error as error:
            raise unavailable(error) from error

    def _fallen_keys(self, keys: set[str]) -> frozenset[str]:
        try:
            ends = signing_key_ends(self._reader)
        except apsw.Error as error:
            raise unavailable(error) from error
        now = self._clock()
        return frozenset(key for key in keys if ends.get(key, 0) <= now)

    def _fallen_grants(self, grants: set[GrantId]) -> frozenset[GrantId]:
        if not grants:
            return frozenset()
        try:
            rows = self._reader.execute(
                "select id from delegation where revoked_at is null"
                " and id in (select value from json_each(?))",
                (orjson.dumps(list(grants)).decode(),),
            )
            return frozenset(grants.difference(GrantId(grant) for (grant,) in rows))
        except apsw.Error as error:
            raise unavailable(error) from error

    def _refresh(self) -> None:
        version = self._changes.number()
        if version != self._version:
            self._agents.clear()
            self._ends.clear()
            self._revoked = frozenset(jti for (jti,) in self._reader.execute("select jti from revoked_token"))
            self._version = version


class SqliteKeys:
    """`KeyStore` on one file."""

    def __init__(self, writer: Writer, reader: Connection) -> None:
        self._writer = writer
        self._reader = reader

    async def keys(
        self, use: KeyUse, make: Callable[[], StoredKey], state: KeyState = KeyState.ACTIVE
    ) -> Sequence[StoredKey]:
        """See `KeyStore`."""
        found = self._read(use)
        if not any(key.state is state for key in found):
            await self._writer.run(lambda books: books.first_key(use, state, make))
            found = self._read(use)
        return found

    def _read(self, use: KeyUse) -> list[StoredKey]:
        try:
            rows = self._reader.execute(
                "select kid, material, created_at, state, not_after from broker_key where use = ?"
                " order by created_at desc, kid",
                (use.value,),
            )
            return [StoredKey(use, kid, material, at, KeyState(s), end) for kid, material, at, s, end in rows]
        except apsw.Error as error:
            raise unavailable(error) from error
