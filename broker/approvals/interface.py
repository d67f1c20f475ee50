"""Does a human agree? One question to a human as a value, and what reading it needs from a backend."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType, Protocol

from broker.model import AgentId, CallId, GrantId, Json, MicroUSD, OrganisationId

ApprovalId = NewType("ApprovalId", str)


class State(StrEnum):
    """Where an approval stands. What is over never comes back."""

    PENDING = "pending"
    """Not enough humans have agreed yet."""
    APPROVED = "approved"
    """The call may be made: once, or until the approval expires where it reaches further."""
    DENIED = "denied"
    """A human has said no. Until it expires the same call is answered so and nobody is asked again."""
    USED = "used"
    EXPIRED = "expired"
    REVOKED = "revoked"
    """Taken back by a human."""


OPEN = frozenset({State.PENDING, State.APPROVED})


class Reach(StrEnum):
    """Which calls an approval is good for, the narrowest first."""

    CALL = "call"
    """Exactly the call that was asked about, once."""
    CHAIN = "chain"
    """Calls of the same chain to the same target in the same transaction, with any arguments."""
    AGENT = "agent"
    """Calls of the same chain to the same target in any transaction, with any arguments."""


@dataclass(frozen=True, slots=True)
class Term:
    """What one rule asks for: somebody with the role `approver` agrees.

    With `four_eyes` two different people have to, with `not_owner` nobody may who owns an agent of the chain.
    """

    rule: str
    approver: str
    text: str = ""
    four_eyes: bool = False
    not_owner: bool = False

    @property
    def name(self) -> str:
        """Names it among the terms of an approval."""
        return f"{self.rule} ({self.approver})"

    @property
    def people(self) -> int:
        """How many different people have to agree."""
        return 2 if self.four_eyes else 1


@dataclass(frozen=True, slots=True)
class Vote:
    """One human's agreement to some of the terms, by name, and how far it reaches. Times are Unix seconds.

    `by` is whoever did it as the log has it, `person` who that is. `until` is None where the vote is for
    this one call.
    """

    by: str
    person: str
    at: int
    terms: tuple[str, ...]
    reach: Reach = Reach.CALL
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Keys:
    """Keyed hashes of what an approval is for, one for each reach. Equal keys, equal calls."""

    call: bytes
    chain: bytes
    agent: bytes

    def of(self, reach: Reach) -> bytes:
        """The hash that counts for a reach."""
        match reach:
            case Reach.CALL:
                return self.call
            case Reach.CHAIN:
                return self.chain
            case Reach.AGENT:
                return self.agent


@dataclass(frozen=True, slots=True)
class Approval:
    """One question to a human, and how it stands.

    `chain` are all actors, newest first; `grants` the hops between them. `arguments` is length and keyed
    hash of the final parameters, as every record of the call has it. `expires_at` (Unix seconds) is when
    the present state ends.
    """

    id: ApprovalId
    organisation: OrganisationId
    agent: AgentId
    subject: AgentId
    chain: tuple[AgentId, ...]
    grants: tuple[GrantId, ...]
    transaction: str
    call: CallId
    """The call that asked first."""
    method: str
    target: str
    connector: str
    side_effect: str
    cost: MicroUSD
    """The worst case of one call."""
    arguments: Json
    terms: tuple[Term, ...]
    policy: str
    keys: Keys
    requested_at: int
    expires_at: int
    task: str | None = None
    purpose: str | None = None
    taint: tuple[str, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict[str, str])
    trust: int = 1000
    state: State = State.PENDING
    reach: Reach = Reach.CALL
    votes: tuple[Vote, ...] = ()
    decided_by: str | None = None
    """Who denied it or took it back."""
    reason: str = ""
    """What a human said about it; a denial's reaches the agent."""

    @property
    def rules(self) -> frozenset[str]:
        """The rules that ask."""
        return frozenset(term.rule for term in self.terms)

    @property
    def missing(self) -> tuple[Term, ...]:
        """What not enough people have agreed to yet."""
        return tuple(term for term in self.terms if len(self.agreed(term)) < term.people)

    def agreed(self, term: Term) -> frozenset[str]:
        """Who has agreed to what a rule asks."""
        return frozenset(vote.person for vote in self.votes if term.name in vote.terms)

    def covers(self, keys: Keys, now: int) -> bool:
        """Whether this is about a call with these keys and still counts."""
        return now < self.expires_at and self.keys.of(self.reach) == keys.of(self.reach)


class ApprovalReader(Protocol):
    """What reading approvals needs from a backend.

    Raises (all methods):
        StorageUnavailable: the state cannot be read.
    """

    async def approval(self, approval_id: ApprovalId) -> Approval | None:
        """One approval, whatever has become of it; None if it was never asked for or is long over."""
        ...

    async def approvals(self, states: Collection[State]) -> Sequence[Approval]:
        """All approvals in some states, oldest first."""
        ...

    async def lasting(self, agent: AgentId) -> Sequence[Approval]:
        """Those of an agent that are pending, approved or denied, newest first; some may have expired."""
        ...

    async def sealed(self, approval_id: ApprovalId) -> str | None:
        """The sealed final parameters of a pending approval; None once it is pending no more."""
        ...
