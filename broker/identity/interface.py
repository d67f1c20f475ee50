"""Who is calling? What identity needs from a backend."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Protocol

from broker.model import Agent, AgentId, AgentStatus, CallId, Grant, GrantId, Principal


@dataclass(frozen=True, slots=True)
class Secret:
    """A client secret as it is stored: its SHA-256 (the secret itself has 256 random bits)."""

    digest: bytes
    created_at: int
    not_after: int | None = None
    launch: str | None = None
    """The instance of the agent that the broker started with it; nobody else was ever given it."""

    @property
    def id(self) -> str:
        """What tokens and records call it; it says nothing about the secret."""
        if self.launch is not None:
            return f"launch:{self.launch}"
        return f"secret:{sha256(self.digest).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True)
class AgentKey:
    """A public key that an agent signs its client assertions with: a JWK (RFC 7517) as JSON text.

    `kid` is its thumbprint (RFC 7638).
    """

    kid: str
    jwk: str
    created_at: int

    @property
    def id(self) -> str:
        """What tokens and records call it."""
        return f"key:{self.kid}"


@dataclass(frozen=True, slots=True)
class KeyAddress:
    """Where an agent publishes its public keys (`jwks_uri`, RFC 7591 §2)."""

    url: str
    created_at: int

    @property
    def id(self) -> str:
        """What tokens and records call whatever key is published there."""
        return f"jwks:{sha256(self.url.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """How a client has shown who it is."""

    method: str
    """As in the metadata (RFC 8414 §2), or `workload_token`."""
    credential: str | None
    """Which of its credentials: tokens that are issued for it end with it. None: it has none here."""
    issuer: str | None = None
    """Who vouches for it, where the broker itself does not."""
    launched: bool = False
    """Whether the broker has started it, and handed this credential to that process alone."""

    @property
    def vouched(self) -> bool:
        """Whether what started the workload says who it is, be that a platform or the broker."""
        return self.issuer is not None or self.launched


FOREVER = 2**53 - 1
"""The end, in Unix seconds, of what has none."""


class KeyUse(StrEnum):
    """What a key of the broker is for. Each use has keys of its own."""

    TOKENS = "tokens"
    """EC P-256: signs access tokens (ES256)."""
    SEALS = "seals"
    """256 random bits: seals session ids and `requestState`."""
    CHECKPOINTS = "checkpoints"
    """Ed25519: signs checkpoints of the log."""
    DIGESTS = "digests"
    """256 random bits: keys the digests of findings and arguments."""


class KeyState(StrEnum):
    """What a key of the broker does now."""

    NEXT = "next"
    """Published, so that verifiers know it before it is used."""
    ACTIVE = "active"
    """What is made anew is made with it."""
    RETIRING = "retiring"
    """Only what was made with it is still accepted, until its `not_after`."""


@dataclass(frozen=True, slots=True)
class StoredKey:
    """One key of the broker: `material` is a private JWK (asymmetric) or base64url (symmetric)."""

    use: KeyUse
    kid: str
    material: str = field(repr=False)
    created_at: int
    state: KeyState = KeyState.ACTIVE
    not_after: int | None = None
    """Unix seconds from which on a retiring key is worth nothing."""


@dataclass(frozen=True, slots=True)
class AgentFilter:
    """Which agents, by id; empty fields do not restrict. `after` is an id, that of the page before."""

    organisation: str | None = None
    status: AgentStatus | None = None
    after: str = ""
    limit: int | None = None


class AgentStore(Protocol):
    """What identity reads. Answers are never more than 50 ms old, whoever wrote, in whichever process."""

    async def agent(self, agent_id: AgentId) -> Agent | None:
        """The live record of an agent."""
        ...

    async def agents(self, where: AgentFilter = AgentFilter()) -> Sequence[Agent]:
        """All agents, or those that are wanted, by id."""
        ...

    async def lapsed(self, now: int) -> Sequence[AgentId]:
        """The agents whose manifest has ended by `now` (Unix seconds) and who are still at its level."""
        ...

    async def last_seen(self, agent_id: AgentId) -> int | None:
        """When an agent last began a call, within a minute, in Unix seconds; None if it never did."""
        ...

    async def secrets(self, agent_id: AgentId) -> Sequence[Secret]:
        """The stored secrets of an agent's client, newest first."""
        ...

    async def keys(self, agent_id: AgentId) -> Sequence[AgentKey]:
        """The public keys of an agent's client, newest first."""
        ...

    async def key_address(self, agent_id: AgentId) -> KeyAddress | None:
        """Where an agent publishes its keys, if it does."""
        ...

    async def credential_end(self, agent_id: AgentId, credential: str) -> int | None:
        """When a credential of an agent ends, in Unix seconds; `FOREVER` if it does not, None if it is gone.

        Args:
            agent_id: whose.
            credential: the `id` of a `Secret`, an `AgentKey` or a `KeyAddress`.
        """
        ...

    async def revoked(self, token_id: str) -> bool:
        """Whether an access token was revoked."""
        ...

    async def version(self) -> int:
        """Grows with every change of an agent or a credential and every revocation; asked on every call."""
        ...


@dataclass(frozen=True, slots=True)
class Fallen:
    """What of some chains has fallen: agents with what they are now instead of active, hops, tokens, the
    credentials of agents, and keys of the broker that have signed tokens.
    """

    agents: Mapping[AgentId, str]
    grants: frozenset[GrantId] = frozenset()
    tokens: frozenset[str] = frozenset()
    credentials: frozenset[tuple[AgentId, str]] = frozenset()
    keys: frozenset[str] = frozenset()


class Standing(Protocol):
    """What open calls are held against, whoever revokes, in whichever process."""

    async def version(self) -> int:
        """Grows with every commit that may end somebody's standing. Takes microseconds."""
        ...

    async def fallen(self, principals: Collection[Principal]) -> Fallen:
        """What has fallen of everything that these chains stand on."""
        ...

    async def ended(self, calls: Collection[CallId]) -> frozenset[CallId]:
        """Which of these calls are not open any more, in whichever process they ran."""
        ...


class GrantStore(Protocol):
    """What identity reads about delegation. Answers are never more than 50 ms old, whoever wrote."""

    async def grant(self, grant_id: GrantId) -> Grant | None:
        """One hop, revoked or not."""
        ...

    async def chain(self, grant_id: GrantId) -> Sequence[Grant]:
        """A hop and those above it, newest first; empty if there is no such hop."""
        ...

    async def children(self, grant_id: GrantId) -> Sequence[Grant]:
        """The hops right below one, oldest first."""
        ...

    async def roots(self, transaction: str) -> Sequence[Grant]:
        """The first hops of a transaction, oldest first: what its own token was delegated with."""
        ...

    async def is_open(self, call: CallId) -> bool:
        """Whether a call has begun and not ended, in whichever process."""
        ...

    async def version(self) -> int:
        """Grows with every change of an agent and every revocation: what was learnt before is as it was."""
        ...


class KeyStore(Protocol):
    """Where the broker's own keys are kept."""

    async def keys(
        self, use: KeyUse, make: Callable[[], StoredKey], state: KeyState = KeyState.ACTIVE
    ) -> Sequence[StoredKey]:
        """All keys of one use, newest first; where there is none in `state`, the one that `make`
        gives is stored first. Processes that start together end up with the same key.
        """
        ...


class ReplayStore(Protocol):
    """What must be taken only once: ids of client assertions and of proofs."""

    async def first_use(self, owner: str, jti: str, expires_at: int) -> bool:
        """Note that an id is used, and say whether it was not used before.

        Of any number of processes that ask with the same owner and id, one is told yes. Forgotten
        some time after `expires_at` (Unix seconds), when what bore it is refused for its age.

        Raises:
            StorageUnavailable: it cannot be noted, so what bears it must not be taken.
        """
        ...


class KeySource(Protocol):
    """Where key sets of others come from."""

    async def fetch(self, url: str, *, largest: int, allow_private: bool) -> bytes:
        """A document of at most `largest` bytes; takes seconds at most.

        Raises:
            UpstreamError: it cannot be had.
        """
        ...


@dataclass(frozen=True, slots=True)
class Issue:
    """What is written down of a token. `expires_at` is Unix seconds."""

    id: str
    transaction: str
    scope: str
    expires_at: int
    key: str | None
    """Which of the broker's keys has signed it."""
    bound: bool
    """Whether it is worth something only to who has a key of its own (RFC 9449)."""


class TokenLog(Protocol):
    """Where it is written down that a token was issued, or refused to a client that exists."""

    async def token_issued(self, agent: Agent, token: Issue, evidence: Evidence, *, address: str) -> None:
        """Record a token, and how its client has shown who it is. It is handed out only after this returns.

        Raises:
            StorageUnavailable: it cannot be recorded, so it is not handed out.
        """
        ...

    async def token_introspected(self, agent: Agent, *, token_id: str, active: bool) -> None:
        """Record that an agent has asked about a token of this broker, and what it was told.

        Raises:
            StorageUnavailable: it cannot be recorded, so nothing is told.
        """
        ...

    async def token_refused(self, agent: Agent, *, error: str, address: str, reason: str = "") -> None:
        """Record a refusal; `error` is the OAuth error code (RFC 6749 §5.2), `reason` what the client is
        not told.

        Comes after the refusal was sent, so that its cost does not tell which clients exist.
        """
        ...


class Authenticator(Protocol):
    """What the pipeline asks of identity."""

    async def authenticate(self, token: str) -> Principal:
        """The principal a bearer token speaks for, with live records.

        Raises:
            Unauthenticated: no, or not a valid token here; or an actor of the chain may not act.
        """
        ...

    async def delegated(self, own: Principal, delegation: str) -> Principal:
        """The same agent, acting under a delegation token that was given to it.

        Raises:
            Denied: it is not one, not to this agent, or some hop or actor above does not stand.
        """
        ...
