"""May this chain still act? Asked in the transaction that opens a call, so a revocation leaves no window.

What was read is believed until the number changes that grows with every revocation, whoever commits it.
"""

from broker.errors import Denied
from broker.model import AgentId, AgentStatus, Grant, GrantId, Principal, credentials_of
from broker.storage.sqlite.connection import Connection
from broker.storage.sqlite.credential_rows import credential_ends, signing_key_ends

_HINT = "ask an operator of the broker"
_AGAIN = "get a new one"


class Standing:
    """Refuses calls whose chain has fallen since it was authenticated."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._version = -1
        self._looked = -1
        self._status: dict[AgentId, str] = {}
        self._held: set[GrantId] = set()
        self._revoked: frozenset[str] = frozenset()
        self._ends: dict[AgentId, dict[str, int]] = {}
        self._key_ends: dict[str, int] = {}

    def forget(self) -> None:
        """Believe the file again."""
        self._version = -1
        self._looked = -1

    def check(self, principal: Principal, now: int) -> None:
        """Pass a chain all of whose actors, hops, credentials and token stand.

        Args:
            principal: the chain.
            now: Unix seconds.

        Raises:
            Denied: one of them has fallen.
        """
        self._refresh()
        for actor in principal.actors:
            status = self._status.get(actor.id) or self._read_status(actor.id)
            if status != AgentStatus.ACTIVE:
                raise Denied(f"`{actor.id}` was {status} before the call began", hint=_HINT)
        for grant in principal.grants:
            if grant.id not in self._held:
                self._hold(grant)
        for agent, credential in credentials_of(principal):
            if self._credential_end(agent, credential) <= now:
                raise Denied(f"a credential of `{agent}` ended before the call began", hint=_HINT)
        if principal.key is not None and self._key_ends.get(principal.key, 0) <= now:
            raise Denied("the key that signed the token was dropped before the call began", hint=_AGAIN)
        if principal.token_id in self._revoked:
            raise Denied("the token was revoked before the call began", hint=_AGAIN)

    def _refresh(self) -> None:
        # Foreign commits are noticed at `begin` (`forget`); own changes the driver counts without a query.
        changes = self._connection.total_changes()
        if changes == self._looked:
            return
        self._looked = changes
        version: int = self._connection.execute("select version from agent_version").get
        if version == self._version:
            return
        self._version = version
        self._status.clear()
        self._held.clear()
        self._ends.clear()
        self._key_ends = signing_key_ends(self._connection)
        self._revoked = frozenset(jti for (jti,) in self._connection.execute("select jti from revoked_token"))

    def _read_status(self, agent_id: AgentId) -> str:
        row = self._connection.execute("select status from agent where id = ?", (agent_id,)).fetchone()
        status = self._status[agent_id] = str(row[0]) if row else "removed"
        return status

    def _credential_end(self, agent_id: AgentId, credential: str) -> int:
        ends = self._ends.get(agent_id)
        if ends is None:
            ends = self._ends[agent_id] = credential_ends(self._connection, agent_id)
        return ends.get(credential, 0)

    def _hold(self, grant: Grant) -> None:
        row = self._connection.execute(
            "select 1 from delegation where id = ? and revoked_at is null", (grant.id,)
        ).fetchone()
        if row is None:
            raise Denied(
                f"what `{grant.by}` let `{grant.to}` do was revoked before the call began", hint=_HINT
            )
        self._held.add(grant.id)
