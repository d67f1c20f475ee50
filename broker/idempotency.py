"""Has this call been made already? What is kept for a caller that sends the same call again.

A caller that does not know whether its call was made sends it again under the same idempotency key. The
first call takes the key in the commit of its intent, so of two at the same moment one is made. The end of
the call says what the key is worth from then on.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from broker.errors import Conflict, InvalidRequest, UpstreamLost
from broker.model import Answer

MOST_CHARS: Final = 255
"""How long a key can be, in characters."""


class State(StrEnum):
    """What is known of the first call under a key."""

    OPEN = "open"
    DONE = "done"
    """It was answered, well or with the tool's own error."""
    LOST = "lost"
    """It was made and its answer was lost: it must not be made again."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A key that a call takes when it begins.

    Args:
        id: keyed hash of who sends it (organisation, subject and every actor of the chain) and the key.
        fingerprint: keyed hash of what is called with it, and its parameters.
        agent: who sends it.
        expires_at: Unix seconds; from then on the key is as if it had never been sent.
    """

    id: bytes
    fingerprint: bytes
    agent: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class Ending:
    """What a key is worth after its call. `state` None: nothing was done, so the key is free again.

    `sealed` is the answer, sealed; None where it was too large. It is left out too where the agent would
    have more than `room` bytes kept.
    """

    state: State | None
    sealed: str | None = None
    room: int = 0


@dataclass(frozen=True, slots=True)
class First:
    """The first call under a key, as it is kept."""

    call: str
    fingerprint: bytes
    state: State
    sealed: str | None


@dataclass(frozen=True, slots=True)
class Earlier:
    """What is known of the answer to an earlier call."""

    call: str
    why: str
    """`idempotency_key` or `cache`, for the record."""
    answer: Answer | None = None
    lost: bool = False

    def again(self) -> Answer:
        """The answer, once more and for nothing.

        Raises:
            UpstreamLost: it never came. Conflict: it was too large to be kept.
        """
        if self.answer is not None:
            return self.answer
        if self.lost:
            raise UpstreamLost(
                f"the answer to the call `{self.call}` with this idempotency key was lost",
                hint="it is not made again; find out by other means whether it was done",
            )
        raise Conflict(
            f"the call `{self.call}` with this idempotency key was made; its result was too large to keep",
            hint="it is not made again; read what it has done by other means",
        )


class FirstCalls(Protocol):
    """What this needs from a backend. Keys are taken and ended by the journal (`Opening`, `Closing`)."""

    async def first(self, claim: bytes) -> First | None:
        """The first call under a key, unless it has expired.

        Raises:
            StorageUnavailable: it cannot be read.
        """
        ...


def check(first: First, fingerprint: bytes) -> None:
    """Refuse a key that stands for another call, or for one that is still open.

    Raises:
        InvalidRequest: the key came with something else before.
        Conflict: its call has not ended.
    """
    if first.fingerprint != fingerprint:
        raise InvalidRequest(
            f"this idempotency key was sent with another call before, `{first.call}`",
            hint="use a key once: the same target and arguments, or a new key",
        )
    if first.state is State.OPEN:
        raise in_use(first.call)


def in_use(call: str) -> Conflict:
    """The refusal of a key whose first call holds it at this moment."""
    return Conflict(
        f"the call `{call}` with this idempotency key is being made",
        hint="send it again in a moment: you will get the result of that call",
    )
