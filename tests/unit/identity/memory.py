"""The ports of identity, kept in dictionaries."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from broker.audit.interface import Entry
from broker.errors import UpstreamUnreachable
from broker.identity.assertions import Assertions
from broker.identity.clients import Clients, digest, new_secret
from broker.identity.federation import Federation
from broker.identity.interface import (
    FOREVER,
    AgentKey,
    Evidence,
    Issue,
    KeyAddress,
    KeySource,
    KeyState,
    KeyUse,
    Secret,
    StoredKey,
)
from broker.identity.jwks import read_key
from broker.identity.published_keys import PublishedKeys
from broker.model import Agent, AgentId, AgentStatus, Json, OrganisationId

NOW = 1_790_000_000


class ManualClock:
    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class MemoryKeys:
    def __init__(self) -> None:
        self.stored: dict[KeyUse, list[StoredKey]] = {}

    async def keys(
        self, use: KeyUse, make: Callable[[], StoredKey], state: KeyState = KeyState.ACTIVE
    ) -> Sequence[StoredKey]:
        found = self.stored.setdefault(use, [])
        if not any(key.state is state for key in found):
            found.insert(0, make())
        return list(found)

    def rotate(self, key: StoredKey, *, until: int) -> None:
        """As a store would."""
        after = {KeyState.NEXT: KeyState.ACTIVE, KeyState.ACTIVE: KeyState.RETIRING}
        moved = [replace(k, state=after.get(k.state, k.state)) for k in self.stored[key.use]]
        ending = [
            replace(k, not_after=k.not_after or until) if k.state is KeyState.RETIRING else k for k in moved
        ]
        self.stored[key.use] = [key, *ending]


class MemoryAgents:
    def __init__(self) -> None:
        self.records: dict[str, Agent] = {}
        self.stored_secrets: dict[str, list[Secret]] = {}
        self.stored_keys: dict[str, list[AgentKey]] = {}
        self.addresses: dict[str, str] = {}
        self._asked = 0
        self.revoked_tokens: set[str] = set()

    def enrol(self, agent_id: str, *, not_after: int | None = None) -> str:
        secret = new_secret()
        self.records[agent_id] = Agent(AgentId(agent_id), OrganisationId("acme"), frozenset({"reader"}))
        self.stored_secrets.setdefault(agent_id, []).insert(0, Secret(digest(secret), NOW, not_after))
        return secret

    def register(self, agent_id: str, jwk: Json) -> str:
        """Register a public key; its thumbprint."""
        key = read_key(jwk)
        self.stored_keys.setdefault(agent_id, []).insert(0, key.stored(NOW))
        return key.kid

    def set_status(self, agent_id: str, status: AgentStatus) -> None:
        self.records[agent_id] = replace(self.records[agent_id], status=status)

    async def agent(self, agent_id: AgentId) -> Agent | None:
        return self.records.get(agent_id)

    async def agents(self) -> Sequence[Agent]:
        return [self.records[name] for name in sorted(self.records)]

    async def secrets(self, agent_id: AgentId) -> Sequence[Secret]:
        return self.stored_secrets.get(agent_id, [])

    async def keys(self, agent_id: AgentId) -> Sequence[AgentKey]:
        return self.stored_keys.get(agent_id, [])

    async def key_address(self, agent_id: AgentId) -> KeyAddress | None:
        url = self.addresses.get(agent_id)
        return None if url is None else KeyAddress(url, NOW)

    async def version(self) -> int:
        """Another one each time: what a test does to the dictionaries goes unnoticed."""
        self._asked += 1
        return self._asked

    async def credential_end(self, agent_id: AgentId, credential: str) -> int | None:
        ends = {secret.id: secret.not_after or FOREVER for secret in await self.secrets(agent_id)}
        ends |= {key.id: FOREVER for key in await self.keys(agent_id)}
        address = await self.key_address(agent_id)
        return (ends | ({address.id: FOREVER} if address else {})).get(credential)

    async def revoked(self, token_id: str) -> bool:
        return token_id in self.revoked_tokens


class MemorySource:
    """Published documents, and how often each was asked for."""

    def __init__(self) -> None:
        self.documents: dict[str, bytes] = {}
        self.asked: list[str] = []

    async def fetch(self, url: str, *, largest: int, allow_private: bool) -> bytes:
        self.asked.append(url)
        if url not in self.documents:
            raise UpstreamUnreachable(f"nothing at `{url}`")
        return self.documents[url]


def clients(agents: MemoryAgents, clock: ManualClock, source: KeySource | None = None) -> Clients:
    """Clients of one deployment, at `https://broker.example`."""
    url = "https://broker.example/oauth"
    published = PublishedKeys(source or MemorySource(), clock)
    assertions = Assertions(
        url,
        f"{url}/token",
        strict=False,
        agents=agents,
        published=published,
        private_addresses=False,
        replays=MemoryReplays(),
        clock=clock,
    )
    return Clients(agents, assertions, Federation({}, Path(), url, clock, published=published), clock)


class MemoryCredentials:
    """The revocations of `CredentialStore`."""

    def __init__(self, agents: MemoryAgents) -> None:
        self._agents = agents
        self.records: list[Entry] = []

    async def revoke_token(self, token_id: str, expires_at: int, entry: Entry) -> None:
        if token_id not in self._agents.revoked_tokens:
            self._agents.revoked_tokens.add(token_id)
            self.records.append(entry)


class MemoryReplays:
    def __init__(self) -> None:
        self.used: dict[tuple[str, str], int] = {}

    async def first_use(self, owner: str, jti: str, expires_at: int) -> bool:
        if (owner, jti) in self.used:
            return False
        self.used[owner, jti] = expires_at
        return True


@dataclass
class MemoryTokenLog:
    issued: list[tuple[str, str]] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)
    introspected: list[tuple[str, str, bool]] = field(default_factory=list)

    async def token_issued(self, agent: Agent, token: Issue, evidence: Evidence, *, address: str) -> None:
        self.issued.append((agent.id, token.id))
        self.evidence.append(evidence)

    async def token_introspected(self, agent: Agent, *, token_id: str, active: bool) -> None:
        self.introspected.append((agent.id, token_id, active))

    async def token_refused(self, agent: Agent, *, error: str, address: str, reason: str = "") -> None:
        self.refused.append((agent.id, error))

    async def drifted(self, agent_id: AgentId, why: str) -> None:
        raise AssertionError(f"nobody has a manifest here: {agent_id}, {why}")
