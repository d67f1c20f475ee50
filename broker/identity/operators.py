"""Which operator asks, and what may they do? People who run the broker, with credentials of their own.

An operator is no agent and an agent no operator. An agent's token is signed and names the resource it is
for; an operator's is a random text that only the operator API looks up. Neither can be read as the other.
"""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from hmac import compare_digest
from typing import Final, NewType, Protocol

from broker.identity.clients import Failures
from broker.model import Clock

OperatorId = NewType("OperatorId", str)

TOKEN_PREFIX: Final = "bko_"
"""Lets secret scanners recognise a leaked token, and the broker refuse everything else unread."""

LONGEST_S: Final = 366 * 86_400
"""Longest life of a token, in seconds."""

_TOKEN = re.compile(r"bko_([a-z0-9][a-z0-9._-]{0,63})\.([A-Za-z0-9_-]{43})")


class Right(StrEnum):
    """What an operator may do. None contains another, but whoever has any may also ask who they are."""

    READ = "read"
    """See agents, grants, calls, connectors and keys."""
    AGENTS = "agents"
    """Enrol, change and stop agents, their credentials, delegations and calls."""
    APPROVALS = "approvals"
    """Agree to calls that wait for a human."""
    BUDGETS = "budgets"
    """Change what may be spent."""
    KEYS = "keys"
    """Rotate the keys of the broker."""
    PAYLOADS = "payloads"
    """Read what was said in calls."""


@dataclass(frozen=True, slots=True)
class Operator:
    """Somebody who runs the broker. Times are Unix seconds; the token ends at `expires_at`."""

    id: OperatorId
    rights: frozenset[Right]
    created_at: int
    expires_at: int
    revoked_at: int | None = None

    @property
    def by(self) -> str:
        """Who it was, as the log has it: not to be mistaken for a user of the machine or an agent."""
        return f"operator:{self.id}"


@dataclass(frozen=True, slots=True)
class EnrolledOperator:
    """An operator with the SHA-256 of their token (which has 256 random bits)."""

    operator: Operator
    digest: bytes = field(repr=False)


class OperatorStore(Protocol):
    """What identity reads about operators. Answers are as of now, whoever wrote, in whichever process."""

    async def operator(self, operator_id: OperatorId) -> EnrolledOperator | None:
        """One operator, revoked or not."""
        ...

    async def operators(self) -> Sequence[Operator]:
        """All operators, by id."""
        ...


def new_token(operator_id: OperatorId) -> str:
    """A token of an operator: it names them, so that failures are counted per operator."""
    return f"{TOKEN_PREFIX}{operator_id}.{secrets.token_urlsafe(32)}"


def token_digest(token: str) -> bytes:
    """What is stored of a token. With 256 random bits there is nothing to guess, so no slow hash."""
    return sha256(token.encode()).digest()


_NOBODY: Final = token_digest(secrets.token_urlsafe(32))
"""Compared with where there is nobody: an unknown operator takes the time of a known one."""


@dataclass(frozen=True, slots=True)
class Admission:
    """The outcome of one attempt to authenticate.

    `operator` is set where it succeeded, `named` is whom a refused token names, if they exist.
    `retry_after_s` is set where nothing was looked at: this operator failed too often from this address.
    """

    operator: Operator | None = None
    named: OperatorId | None = None
    retry_after_s: int | None = None


class OperatorTokens:
    """Authenticates operators.

    Args:
        store: who there is.
        clock: Unix time in seconds.
    """

    def __init__(self, store: OperatorStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._failures = Failures(clock)

    async def admit(self, token: str, address: str) -> Admission:
        """Try a token. Unknown, revoked, expired and wrong are the same refusal in the same time.

        Args:
            token: as presented; nothing in it is trusted.
            address: where the attempt comes from. Failures count per operator and address: nobody can
                lock an operator out from somewhere else.

        Raises:
            StorageUnavailable: the state cannot be read.
        """
        shape = _TOKEN.fullmatch(token)
        if shape is None:
            return Admission()  # names nobody: nothing was guessed
        named = OperatorId(shape[1])
        pair = (named, address)
        if wait := self._failures.wait_s(pair):
            return Admission(retry_after_s=wait)
        found = await self._store.operator(named)
        proven = compare_digest(token_digest(token), found.digest if found else _NOBODY)
        if found is not None and proven and self._holds(found.operator):
            self._failures.forget(pair)
            return Admission(found.operator)
        self._failures.count(pair)
        return Admission(named=found.operator.id if found else None)

    def _holds(self, operator: Operator) -> bool:
        return operator.revoked_at is None and self._clock() < operator.expires_at
