"""Is it worth asking? An upstream that fails again and again is left alone for a while.

Closed: calls go through. After `FAILURES` failures in a row it opens: calls are refused at once, without
having waited for a time-out. After a rest one call is let through as a probe; its success closes the
breaker, its failure makes the next rest longer.
"""

import time
from collections.abc import Callable
from enum import StrEnum

from broker.errors import UpstreamUnreachable

FAILURES = 5
"""So many in a row, and the upstream is left alone."""

RESTS_S = (1.0, 2.0, 5.0, 15.0, 30.0)
"""For how long, in seconds; the longest again and again."""


class State(StrEnum):
    """What happens to a call."""

    CLOSED = "closed"
    OPEN = "open"
    PROBING = "probing"


class Resting(UpstreamUnreachable):
    """The upstream has failed so often that it is not asked now. Nothing was sent."""


class Breaker:
    """Counts failures of one upstream in a row.

    Args:
        name: of the upstream, for messages.
        clock: seconds that only grow.
    """

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._clock = clock
        self._failures = 0
        self._rests = 0
        self._until = 0.0
        self.state = State.CLOSED

    def admit(self) -> None:
        """Let a call through, or not.

        Raises:
            Resting: it would most likely fail.
        """
        if self.state is State.CLOSED:
            return
        left = self._until - self._clock()
        if self.state is State.PROBING or left > 0:
            raise Resting(
                f"`{self._name}` has failed {FAILURES} times in a row and is left alone",
                hint=f"try again in {max(1, round(left))} s",
            )
        self.state = State.PROBING

    def succeeded(self) -> None:
        """The upstream has answered, whatever it said."""
        self._failures = self._rests = 0
        self.state = State.CLOSED

    def failed(self) -> None:
        """The upstream could not be reached, or its answer is lost."""
        self._failures += 1
        if self.state is State.PROBING or self._failures >= FAILURES:
            self._until = self._clock() + RESTS_S[min(self._rests, len(RESTS_S) - 1)]
            self._rests += 1
            self._failures = 0
            self.state = State.OPEN

    def undecided(self) -> None:
        """The call has ended without a word about the upstream, e.g. because it was cancelled."""
        if self.state is State.PROBING:
            self.state = State.OPEN
