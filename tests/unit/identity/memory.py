"""The ports of identity, kept in dictionaries."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from broker.audit.interface import Entry
from broker.identity.assertions import Assertions
from broker.identity.clients import Clients, digest, new_secret
from broker.identity.federation import Federation
from broker.identity.interface import AgentKey, KeyState, KeyUse, Secret, StoredKey
from broker.identity.jwks import read_key
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

    async def revoked(self, token_id: str) -> bool:
        return token_id in self.revoked_tokens


def clients(agents: MemoryAgents, clock: ManualClock) -> Clients:
    """Clients of one deployment, at `https://broker.example`."""
    url = "https://broker.example/oauth"
    assertions = Assertions(
        url, f"{url}/token", strict=False, agents=agents, replays=MemoryReplays(), clock=clock
    )
    return Clients(agents, assertions, Federation({}, Path(), url, clock), clock)


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

    async def token_issued(
        self, agent: Agent, *, token_id: str, transaction: str, scope: str, expires_at: int, address: str
    ) -> None:
        self.issued.append((agent.id, token_id))

    async def token_refused(self, agent: Agent, *, error: str, address: str, reason: str = "") -> None:
        self.refused.append((agent.id, error))

    async def drifted(self, agent_id: AgentId, why: str) -> None:
        raise AssertionError(f"nobody has a manifest here: {agent_id}, {why}")
