"""Who is calling? What identity needs from a backend."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from broker.model import Agent, AgentId, AgentStatus, CallId, Grant, GrantId, Principal


@dataclass(frozen=True, slots=True)
class Secret:
    """A client secret as it is stored: its SHA-256 (the secret itself has 256 random bits)."""

    digest: bytes
    created_at: int
    not_after: int | None = None


@dataclass(frozen=True, slots=True)
class AgentKey:
    """A public key that an agent signs its client assertions with: a JWK (RFC 7517) as JSON text.

    `kid` is its thumbprint (RFC 7638).
    """

    kid: str
    jwk: str
    created_at: int


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

    async def revoked(self, token_id: str) -> bool:
        """Whether an access token was revoked; asked on every call."""
        ...


@dataclass(frozen=True, slots=True)
class Fallen:
    """What of some chains has fallen: agents with what they are now instead of active, hops, tokens."""

    agents: Mapping[AgentId, str]
    grants: frozenset[GrantId] = frozenset()
    tokens: frozenset[str] = frozenset()


class Standing(Protocol):
    """What open calls are held against, whoever revokes, in whichever process."""

    async def version(self) -> int:
        """Grows with every commit that may end somebody's standing. Takes microseconds."""
        ...

    async def fallen(self, principals: Collection[Principal]) -> Fallen:
        """What has fallen of everything that these chains stand on."""
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


class TokenLog(Protocol):
    """Where it is written down that a token was issued, or refused to a client that exists."""

    async def token_issued(
        self, agent: Agent, *, token_id: str, transaction: str, scope: str, expires_at: int, address: str
    ) -> None:
        """Record a token. It is handed out only after this returns.

        Raises:
            StorageUnavailable: it cannot be recorded, so it is not handed out.
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
