"""What must be durable together when a credential changes: the change and its record.

Secrets, keys and tokens come and go through here. No record holds any of them: a key is named by its
thumbprint, a token by its id.
"""

from typing import Protocol

from broker.audit.interface import SYSTEM_LOG, Entry, Event, Facts
from broker.identity.interface import AgentKey, KeyAddress, KeyUse, Secret, StoredKey
from broker.identity.keys import public_half
from broker.model import AgentId, OrganisationId


class CredentialStore(Protocol):
    """What this needs from a backend. Each method is one transaction and one promise:
    when it returns, everything in it is durable; when it raises, nothing of it happened.

    Raises (all methods):
        StorageUnavailable: nothing can be written now.
    """

    async def rotate_secret(
        self, agent_id: AgentId, digest: bytes, *, now: int, until: int, entry: Entry
    ) -> None:
        """Add a secret, let every older one end by `until` (Unix seconds), and record it.

        Raises:
            UnknownTarget: there is no such agent.
        """
        ...

    async def begin_launch(self, agent_id: AgentId, secret: Secret, entry: Entry) -> None:
        """Add the secret of one launch, beside all others, *and* record it.

        Raises:
            UnknownTarget: there is no such agent.
        """
        ...

    async def end_launch(self, agent_id: AgentId, launch: str, entry: Entry) -> None:
        """Take back the secret of a launch, if that has not been done, *and* record how it ended."""
        ...

    async def add_key(self, agent_id: AgentId, key: AgentKey, entry: Entry) -> None:
        """Add a public key of an agent *and* record it.

        Raises:
            UnknownTarget: there is no such agent.
            Conflict: it has this key already, or as many as it may have.
        """
        ...

    async def remove_key(self, agent_id: AgentId, kid: str, entry: Entry) -> None:
        """Remove a public key of an agent *and* record it.

        Raises:
            UnknownTarget: it has no such key.
        """
        ...

    async def publish_keys(self, agent_id: AgentId, address: KeyAddress, entry: Entry) -> None:
        """Note where an agent publishes its keys *and* record it.

        Raises:
            UnknownTarget: there is no such agent.
            InvalidRequest: it publishes them somewhere already.
        """
        ...

    async def unpublish_keys(self, agent_id: AgentId, url: str, entry: Entry) -> None:
        """Forget where an agent publishes its keys *and* record it.

        Raises:
            UnknownTarget: it does not publish them there.
        """
        ...

    async def revoke_token(self, token_id: str, expires_at: int, entry: Entry) -> None:
        """Refuse a token from now on, in every process, *and* record it; the second time changes nothing."""
        ...

    async def rotate_key(
        self, key: StoredKey, *, now: int, until: int, entry: Entry, active: str | None = None
    ) -> None:
        """The next key of a use becomes the active one, the active one retires until `until`, `key` is
        next; record it. Keys that have retired are forgotten.

        Raises:
            Conflict: `active` is given and is not the id of the active key.
        """
        ...

    async def rotate_log_key(self, key: StoredKey, retired: StoredKey, *, now: int, entry: Entry) -> None:
        """Sign checkpoints with `key`, and keep of the one that did its public half, `retired`; record it.

        Raises:
            Conflict: `retired` does not sign by now.
        """
        ...


class Credentials:
    """Changes credentials, and writes down that and who did it."""

    def __init__(self, store: CredentialStore) -> None:
        self._store = store

    async def rotate_secret(self, agent_id: AgentId, digest: bytes, *, now: int, until: int, by: str) -> None:
        """Give an agent a new secret; the ones it has end at `until` at the latest.

        Args:
            agent_id: whose client.
            digest: SHA-256 of the new secret.
            now: Unix seconds.
            until: Unix seconds from which on the older secrets are refused.
            by: the operator who did it.

        Raises:
            UnknownTarget: there is no such agent.
        """
        entry = _changed(agent_id, {"change": "secret_rotated", "until": until, "by": by})
        await self._store.rotate_secret(agent_id, digest, now=now, until=until, entry=entry)

    async def begin_launch(self, agent_id: AgentId, secret: Secret, *, code_sha256: str, by: str) -> None:
        """Let an agent authenticate with the secret of one launch until that ends.

        Args:
            agent_id: who is launched.
            secret: made for this launch: with its instance and its end.
            code_sha256: what is started, as the broker has measured it.
            by: the operator who launches it.

        Raises:
            UnknownTarget: there is no such agent.
        """
        facts: Facts = {
            "change": "launched",
            "instance": secret.launch,
            "code_sha256": code_sha256,
            "until": secret.not_after,
            "by": by,
        }
        await self._store.begin_launch(agent_id, secret, _changed(agent_id, facts))

    async def end_launch(self, agent_id: AgentId, instance: str, *, why: str, by: str) -> None:
        """Refuse the secret of a launch from now on, and every token that it was shown for."""
        facts: Facts = {"change": "launch_ended", "instance": instance, "why": why, "by": by}
        await self._store.end_launch(agent_id, instance, _changed(agent_id, facts))

    async def add_key(self, agent_id: AgentId, key: AgentKey, *, by: str) -> None:
        """Let an agent authenticate with a key from now on.

        Raises:
            UnknownTarget: there is no such agent.
            Conflict: it has this key already, or as many as it may have.
        """
        entry = _changed(agent_id, {"change": "key_added", "kid": key.kid, "by": by})
        await self._store.add_key(agent_id, key, entry)

    async def remove_key(self, agent_id: AgentId, kid: str, *, by: str) -> None:
        """Refuse a key of an agent from now on.

        Raises:
            UnknownTarget: it has no such key.
        """
        entry = _changed(agent_id, {"change": "key_removed", "kid": kid, "by": by})
        await self._store.remove_key(agent_id, kid, entry)

    async def publish_keys(self, agent_id: AgentId, address: KeyAddress, *, by: str) -> None:
        """Let an agent authenticate with whatever keys it publishes at an address, besides those it has here.

        Raises:
            UnknownTarget: there is no such agent.
            InvalidRequest: it publishes them somewhere already.
        """
        entry = _changed(agent_id, {"change": "keys_published", "url": address.url, "by": by})
        await self._store.publish_keys(agent_id, address, entry)

    async def unpublish_keys(self, agent_id: AgentId, url: str, *, by: str) -> None:
        """Refuse the keys that an agent publishes from now on.

        Raises:
            UnknownTarget: it does not publish them there.
        """
        entry = _changed(agent_id, {"change": "keys_unpublished", "url": url, "by": by})
        await self._store.unpublish_keys(agent_id, url, entry)

    async def revoke_token(
        self, token_id: str, expires_at: int, *, organisation: OrganisationId, of: AgentId, by: AgentId
    ) -> None:
        """Refuse a token from now on (RFC 7009).

        Args:
            token_id: its `jti`.
            expires_at: its `exp`; it need not be remembered any longer than that.
            organisation: whose log this goes into.
            of: the agent the token was issued to.
            by: the agent that revokes it.
        """
        facts: Facts = {"token": token_id, "by": by}
        entry = Entry(organisation, Event.TOKEN_REVOKED, facts, agent=of)
        await self._store.revoke_token(token_id, expires_at, entry)

    async def rotate_key(
        self, key: StoredKey, *, now: int, until: int, by: str, active: str | None = None
    ) -> None:
        """Change over to the next key of a use of the broker's own keys; `key` is the one after that.

        Args:
            key: a new key, in the state `next`.
            now: Unix seconds.
            until: Unix seconds until which what the present key signed is accepted.
            by: the operator who did it.
            active: the key that is to retire; None: whichever is active.

        Raises:
            Conflict: another key is active by now.
        """
        facts: Facts = {"use": KeyUse(key.use), "next": key.kid, "until": until, "by": by}
        entry = Entry(SYSTEM_LOG, Event.KEYS_ROTATED, facts)
        await self._store.rotate_key(key, now=now, until=until, entry=entry, active=active)

    async def rotate_log_key(self, key: StoredKey, present: StoredKey, *, now: int, by: str) -> None:
        """Sign checkpoints with another key from now on, and destroy the private half of the present one.

        Args:
            key: the new one.
            present: the one that signs now.
            now: Unix seconds.
            by: the operator who did it.

        Raises:
            Conflict: another key signs by now.
        """
        facts: Facts = {"use": KeyUse(key.use), "active": key.kid, "retired": present.kid, "by": by}
        retired = public_half(present)
        entry = Entry(SYSTEM_LOG, Event.KEYS_ROTATED, facts)
        await self._store.rotate_log_key(key, retired, now=now, entry=entry)


def _changed(agent_id: AgentId, facts: Facts) -> Entry:
    return Entry(SYSTEM_LOG, Event.AGENT_CHANGED, facts, agent=agent_id)
