"""How do secrets, keys and tokens change? All that one transaction does to credentials."""

from broker.audit.interface import Entry
from broker.errors import Conflict, InvalidRequest, UnknownTarget
from broker.identity.interface import AgentKey, KeyAddress, KeyState, Secret, StoredKey
from broker.model import AgentId
from broker.storage.sqlite.connection import Connection
from broker.storage.sqlite.logs import MICRO, Logs

MOST_KEYS = 8
"""Public keys an agent may have: an assertion without `kid` is tried with each."""

KEPT_S = 3600
"""How long what has expired is kept, in seconds: no clock of a deployment may differ by more."""


class CredentialBooks:
    """The writer's side of credentials. Every operation runs within a transaction of the books."""

    def __init__(self, connection: Connection, logs: Logs) -> None:
        self._connection = connection
        self._logs = logs

    def rotate_secret(self, agent_id: AgentId, digest: bytes, now: int, until: int, entry: Entry) -> None:
        """See `CredentialStore.rotate_secret`."""
        self._known(agent_id)
        self._logs.append(entry)
        run = self._connection.execute
        run(
            "update agent_secret set not_after = ? where agent = ? and coalesce(not_after > ?, true)",
            (until, agent_id, until),
        )
        run("delete from agent_secret where agent = ? and not_after <= ?", (agent_id, now))
        run("insert into agent_secret values (?, ?, ?, null, null)", (agent_id, digest, now))

    def begin_launch(self, agent_id: AgentId, secret: Secret, entry: Entry) -> None:
        """See `CredentialStore.begin_launch`."""
        self._known(agent_id)
        self._logs.append(entry)
        run = self._connection.execute
        run(
            "delete from agent_secret where agent = ? and launch is not null and not_after <= ?",
            (agent_id, secret.created_at),
        )
        run(
            "insert into agent_secret values (?, ?, ?, ?, ?)",
            (agent_id, secret.digest, secret.created_at, secret.not_after, secret.launch),
        )

    def end_launch(self, agent_id: AgentId, launch: str, entry: Entry) -> None:
        """See `CredentialStore.end_launch`."""
        self._logs.append(entry)
        self._connection.execute(
            "delete from agent_secret where agent = ? and launch = ?", (agent_id, launch)
        )

    def add_key(self, agent_id: AgentId, key: AgentKey, entry: Entry) -> None:
        """See `CredentialStore.add_key`."""
        self._known(agent_id)
        kids = [
            kid
            for (kid,) in self._connection.execute("select kid from agent_key where agent = ?", (agent_id,))
        ]
        if key.kid in kids:
            raise Conflict(f"`{agent_id}` has the key `{key.kid}` already")
        if len(kids) >= MOST_KEYS:
            raise Conflict(
                f"`{agent_id}` has {MOST_KEYS} keys already", hint="remove one: `broker agent key remove`"
            )
        self._logs.append(entry)
        self._connection.execute(
            "insert into agent_key values (?, ?, ?, ?)", (agent_id, key.kid, key.jwk, key.created_at)
        )

    def remove_key(self, agent_id: AgentId, kid: str, entry: Entry) -> None:
        """See `CredentialStore.remove_key`."""
        named = (agent_id, kid)
        if not self._connection.execute(
            "select 1 from agent_key where agent = ? and kid = ?", named
        ).fetchone():
            raise UnknownTarget(f"`{agent_id}` has no key `{kid}`", hint="`broker agent key list` shows all")
        self._logs.append(entry)
        self._connection.execute("delete from agent_key where agent = ? and kid = ?", named)

    def publish_keys(self, agent_id: AgentId, address: KeyAddress, entry: Entry) -> None:
        """See `CredentialStore.publish_keys`."""
        self._known(agent_id)
        row = self._connection.execute("select url from agent_jwks where agent = ?", (agent_id,)).fetchone()
        if row is not None:
            raise InvalidRequest(
                f"`{agent_id}` publishes its keys at `{row[0]}`",
                hint=f"first `broker agent key remove {agent_id} {row[0]}`",
            )
        self._logs.append(entry)
        self._connection.execute(
            "insert into agent_jwks values (?, ?, ?)", (agent_id, address.url, address.created_at)
        )

    def unpublish_keys(self, agent_id: AgentId, url: str, entry: Entry) -> None:
        """See `CredentialStore.unpublish_keys`."""
        named = (agent_id, url)
        run = self._connection.execute
        if not run("select 1 from agent_jwks where agent = ? and url = ?", named).fetchone():
            raise UnknownTarget(
                f"`{agent_id}` publishes no keys at `{url[:200]}`", hint="`broker agent key list` shows all"
            )
        self._logs.append(entry)
        run("delete from agent_jwks where agent = ? and url = ?", named)

    def revoke_token(self, token_id: str, expires_at: int, entry: Entry) -> None:
        """See `CredentialStore.revoke_token`."""
        if self._connection.execute("select 1 from revoked_token where jti = ?", (token_id,)).fetchone():
            return
        self._logs.append(entry)
        self._prune("revoked_token")
        self._connection.execute("insert into revoked_token values (?, ?)", (token_id, expires_at))

    def rotate_key(
        self, key: StoredKey, now: int, until: int, entry: Entry, active: str | None = None
    ) -> None:
        """See `CredentialStore.rotate_key`."""
        run, use = self._connection.execute, key.use.value
        if active is not None:
            present = run(
                "select kid from broker_key where use = ? and state = ?", (use, KeyState.ACTIVE.value)
            ).fetchone()
            if present is None or present[0] != active:
                raise Conflict(f"`{active}` is not the active key", hint="see which is, then rotate that one")
        self._logs.append(entry)
        run("delete from broker_key where use = ? and not_after <= ?", (use, now))
        if until <= now:  # it has leaked: what its tokens were exchanged for may be forged as well
            ended = "update delegation set revoked_at = ? where revoked_at is null and expires_at > ?"
            run(ended, (now, now))
        run(
            "update broker_key set state = ?, not_after = ? where use = ? and state = ?",
            (KeyState.RETIRING.value, until, use, KeyState.ACTIVE.value),
        )
        run(
            "update broker_key set state = ? where use = ? and state = ?",
            (KeyState.ACTIVE.value, use, KeyState.NEXT.value),
        )
        run(
            "insert into broker_key values (?, ?, ?, ?, ?, null)",
            (key.kid, use, key.material, key.created_at, key.state.value),
        )

    def rotate_log_key(self, key: StoredKey, retired: StoredKey, now: int, entry: Entry) -> None:
        """See `CredentialStore.rotate_log_key`."""
        run, use = self._connection.execute, key.use.value
        changed = run(
            "update broker_key set state = ?, not_after = ?, material = ?"
            " where kid = ? and use = ? and state = ? returning kid",
            (KeyState.RETIRING.value, now, retired.material, retired.kid, use, KeyState.ACTIVE.value),
        ).fetchone()
        if changed is None:
            raise Conflict(f"`{retired.kid}` is not the active key", hint="somebody else has rotated it")
        self._logs.append(entry)
        run(
            "insert into broker_key values (?, ?, ?, ?, ?, null)",
            (key.kid, use, key.material, key.created_at, KeyState.ACTIVE.value),
        )

    def first_use(self, name: bytes, expires_at: int) -> bool:
        """See `ReplayStore.first_use`."""
        if self._connection.execute("select 1 from used_once where id = ?", (name,)).fetchone():
            return False
        self._prune("used_once")
        self._connection.execute("insert into used_once values (?, ?)", (name, expires_at))
        return True

    def _prune(self, table: str) -> None:
        now = self._logs.now // MICRO
        self._connection.execute(f"delete from {table} where expires_at < ?", (now - KEPT_S,))  # noqa: S608 - one of two names above

    def _known(self, agent_id: AgentId) -> None:
        if not self._connection.execute("select 1 from agent where id = ?", (agent_id,)).fetchone():
            raise UnknownTarget(
                f"there is no agent `{agent_id}`", hint="`broker agent list` shows all agents"
            )
