"""How is a credential changed? `CredentialStore` and `ReplayStore`: each method is one operation."""

from hashlib import sha256

from broker.audit.interface import Entry
from broker.identity.interface import AgentKey, KeyAddress, Secret, StoredKey
from broker.model import AgentId
from broker.storage.sqlite.writer import Writer


class SqliteCredentials:
    """`CredentialStore` and `ReplayStore` on one file."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def rotate_secret(
        self, agent_id: AgentId, digest: bytes, *, now: int, until: int, entry: Entry
    ) -> None:
        """See `CredentialStore`."""
        await self._writer.run(
            lambda books: books.credentials.rotate_secret(agent_id, digest, now, until, entry)
        )

    async def begin_launch(self, agent_id: AgentId, secret: Secret, entry: Entry) -> None:
        """See `CredentialStore`."""
        await self._writer.run(lambda books: books.credentials.begin_launch(agent_id, secret, entry))

    async def end_launch(self, agent_id: AgentId, launch: str, entry: Entry) -> None:
        """See `CredentialStore`."""
        await self._writer.run(lambda books: books.credentials.end_launch(agent_id, launch, entry))

    async def add_key(self, agent_id: AgentId, key: AgentKey, entry: Entry) -> None:
        """See `CredentialStore`."""
        await self._writer.run(lambda books: books.credentials.add_key(agent_id, key, entry))

    async def remove_key(self, agent_id: AgentId, kid: str, entry: Entry) -> None:
        """See `CredentialStore`."""
        await self._writer.run(lambda books: books.credentials.remove_key(agent_id, kid, entry))

    async def publish_keys(self, agent_id: AgentId, address: KeyAddress, entry: Entry) -> None:
        """See `CredentialStore`."""
        await self._writer.run(lambda books: books.credentials.publish_keys(agent_id, address, entry))

    async def unpublish_keys(self, agent_id: AgentId, url: str, entry: Entry) -> None:
        """See `CredentialStore`."""
        await self._writer.run(lambda books: books.credentials.unpublish_keys(agent_id, url, entry))

    async def revoke_token(self, token_id: str, expires_at: int, entry: Entry) -> None:
        """See `CredentialStore`."""
        await self._writer.run(lambda books: books.credentials.revoke_token(token_id, expires_at, entry))

    async def rotate_log_key(self, key: StoredKey, retired: StoredKey, *, now: int, entry: Entry) -> None:
        """See `CredentialStore`."""
        await self._writer.run(lambda books: books.credentials.rotate_log_key(key, retired, now, entry))

    async def rotate_key(
        self, key: StoredKey, *, now: int, until: int, entry: Entry, active: str | None = None
    ) -> None:
        """See `CredentialStore`."""
        await self._writer.run(lambda books: books.credentials.rotate_key(key, now, until, entry, active))

    async def first_use(self, owner: str, jti: str, expires_at: int) -> bool:
        """See `ReplayStore`."""
        name = sha256(f"{len(owner)}:{owner}{jti}".encode()).digest()
        return await self._writer.run(lambda books: books.credentials.first_use(name, expires_at))
