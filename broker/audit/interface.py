"""What happened? The log's own types, and what it needs from a backend.

The log knows no capability: whoever has something to record hands it facts as plain JSON.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from broker.model import Json

SYSTEM_LOG = "system"
"""The log of the deployment itself: keys, agents, configuration. Other logs are named by organisation."""


class Event(StrEnum):
    """Every type of record. Closed: a new type is a new version of the format."""

    LOG_OPENED = "log.opened"
    LOG_HEARTBEAT = "log.heartbeat"
    TENANT_CHECKPOINT = "checkpoint.tenant"
    CALL_INTENT = "call.intent"
    CALL_DENIED = "call.denied"
    CALL_OUTCOME = "call.outcome"
    CALL_UNKNOWN = "call.outcome_unknown"
    AGENT_CREATED = "agent.created"
    AGENT_CHANGED = "agent.changed"
    TOKEN_ISSUED = "auth.token_issued"
    TOKEN_REFUSED = "auth.token_refused"
    TOKEN_REVOKED = "auth.token_revoked"
    TOKEN_INTROSPECTED = "auth.token_introspected"
    KEYS_ROTATED = "keys.rotated"
    DELEGATION_CREATED = "delegation.created"
    DELEGATION_REVOKED = "delegation.revoked"
    TRANSACTION_DECLASSIFIED = "transaction.declassified"
    CALL_STOPPED = "call.stopped"
    POLICY_CHANGED = "policy.changed"
    POLICY_TEXT = "policy.text"
    APPROVAL_REQUESTED = "approval.requested"
    APPROVAL_GRANTED = "approval.granted"
    APPROVAL_DENIED = "approval.denied"
    APPROVAL_REFUSED = "approval.refused"
    APPROVAL_EXPIRED = "approval.expired"
    APPROVAL_USED = "approval.used"
    APPROVAL_REVOKED = "approval.revoked"
    OPERATOR_ADDED = "operator.added"
    OPERATOR_CHANGED = "operator.changed"
    OPERATOR_REFUSED = "operator.refused"
    BUDGET_THRESHOLD = "budget.threshold"
    BUDGET_CHANGED = "budget.changed"
    DEFINITION_PINNED = "definition.pinned"
    DEFINITION_QUARANTINED = "definition.quarantined"
    DEFINITION_APPROVED = "definition.approved"
    GUARD_EXCEPTED = "guard.excepted"
    PAYLOAD_ACCESSED = "payload.accessed"
    SUBJECT_EXPORTED = "subject.exported"
    SUBJECT_ERASED = "subject.erased"
    TRUST_UPDATED = "trust.updated"
    TRUST_RELEASED = "trust.released"
    LOG_PRUNED = "log.pruned"
    LOG_RESTORED = "log.restored"


class Outcome(StrEnum):
    """How a call ended."""

    OK = "ok"
    TOOL_ERROR = "tool_error"
    DENIED = "denied"
    BLOCKED = "blocked"
    OVER_BUDGET = "over_budget"
    PENDING_APPROVAL = "pending_approval"
    CANCELLED = "cancelled"
    UPSTREAM_ERROR = "upstream_error"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Entry:
    """A fact to be recorded. The backend adds `v log seq ts node` and fixes the bytes.

    Args:
        log: the organisation whose log it belongs to, or `SYSTEM_LOG`.
        event: its type.
        facts: JCS profile: ASCII keys, integers within 2^53, no floats; at most 60 KiB as JSON.
        call: the call it belongs to; `agent`: who acted. Both are indexed.
    """

    log: str
    event: Event
    facts: Json
    call: str | None = None
    agent: str | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof for the caller: leaf `index` with hash `leaf` is in `log`, whose size was then `size`."""

    log: str
    index: int
    leaf: str
    """Hex of the RFC 6962 leaf hash."""
    size: int


class StoredRecord(NamedTuple):
    """One record as it lies in the log: `body` are the exact bytes that were hashed."""

    seq: int
    leaf: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class LogHead:
    """Where a log stands: its origin, size and RFC 6962 root."""

    name: str
    origin: str
    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Filter:
    """Which records to read; empty fields do not restrict. `last` reads the newest n, in order,
    `before_seq` none from that sequence number on. `task` means the first records of the calls of a
    transaction, and the delegations that were made in it or name it as their task; with `root`, the call at
    the top of a tree in it, all records of the calls of that tree instead.
    """

    call: str | None = None
    agent: str | None = None
    events: frozenset[Event] = field(default_factory=frozenset[Event])
    from_seq: int = 0
    last: int | None = None
    before_seq: int | None = None
    task: str | None = None
    root: str | None = None


@dataclass(frozen=True, slots=True)
class CallFilter:
    """Which ended calls to list; empty fields do not restrict.

    Args:
        agent: who made them; `tool`: the name they called.
        outcomes: how they ended.
        since: Unix microseconds of the end at the earliest; `until`: before which they ended.
        least_cost, most_cost: micro-USD, both included.
        from_seq, before_seq: bounds of the record that ended them, the first included.
    """

    agent: str | None = None
    tool: str | None = None
    outcomes: frozenset[Outcome] = field(default_factory=frozenset[Outcome])
    since: int | None = None
    until: int | None = None
    least_cost: int | None = None
    most_cost: int | None = None
    from_seq: int = 0
    before_seq: int | None = None


@dataclass(frozen=True, slots=True)
class EndedCall:
    """The record that a call began with and the one that ended it; the same where it was refused."""

    begun: StoredRecord
    ended: StoredRecord


class LogReader(Protocol):
    """What reading and verifying need from a backend. Never blocks a writer."""

    async def logs(self) -> list[LogHead]:
        """The heads of all logs, by name."""
        ...

    def records(self, log: str, where: Filter = Filter()) -> AsyncIterator[StoredRecord]:
        """The records of a log in order of sequence."""
        ...

    async def calls(self, log: str, where: CallFilter, *, last: int) -> list[EndedCall]:
        """The newest ended calls that fit, at most `last`, oldest first."""
        ...

    async def tile(self, log: str, level: int, n: int) -> bytes:
        """The hashes of a tile (C2SP tlog-tiles), as many as the log holds: up to 256, 32 bytes each."""
        ...

    async def checkpoints(self, log: str) -> list[str]:
        """The signed notes kept for a log, oldest first (C2SP tlog-checkpoint)."""
        ...


class CheckpointStore(Protocol):
    """Where signed checkpoints are kept."""

    async def save_checkpoint(self, log: str, size: int, note: str, leaf: Entry | None = None) -> None:
        """Keep a signed note *and* append `leaf`, which tells of it; the same (log, size) is kept once."""
        ...

    async def cosign(self, log: str, size: int, note: str) -> None:
        """Keep the signed note of this size with further signatures."""
        ...


class Log(LogReader, CheckpointStore, Protocol):
    """All there is to a log besides writing records, which only the journal does."""


Facts = dict[str, Any]
