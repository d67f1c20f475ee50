"""Whose call goes next? So many at a time to one upstream, and every agent that waits gets its turn."""

from collections import OrderedDict, deque

import anyio

from broker.errors import UpstreamUnreachable

MOST_WAITING = 1_000


class Full(UpstreamUnreachable):
    """Too many calls wait for this upstream already."""


class Turns:
    """Lets `most` calls through at a time. Those that wait go in turn by agent, not by arrival.

    An agent that asks for a thousand things at once delays another's one call by one turn, not by a
    thousand.

    Args:
        name: of the upstream, for messages.
        most: calls at a time; None: no limit.
    """

    def __init__(self, name: str, most: int | None) -> None:
        self._name = name
        self._most = most
        self._busy = 0
        self._queues: OrderedDict[str, deque[anyio.Event]] = OrderedDict()
        self._waiting = 0

    @property
    def busy(self) -> int:
        """Calls that are with the upstream now."""
        return self._busy

    @property
    def waiting(self) -> int:
        """Calls that wait for their turn."""
        return self._waiting

    async def take(self, agent: str) -> None:
        """Wait for a turn; `give_back` has to follow.

        Raises:
            Full: too many are waiting.
        """
        if self._most is None or self._busy < self._most:
            self._busy += 1
            return
        if self._waiting >= MOST_WAITING:
            raise Full(f"{self._waiting} calls wait for `{self._name}` already", hint="try again later")
        turn = anyio.Event()
        self._queues.setdefault(agent, deque()).append(turn)
        self._waiting += 1
        try:
            await turn.wait()
        except BaseException:
            if turn.is_set():
                self.give_back()  # it was this call's turn in the moment that it was cancelled
            else:
                self._leave(agent, turn)
            raise

    def give_back(self) -> None:
        """End a turn: the next agent in line has it."""
        if not self._queues:
            self._busy -= 1
            return
        agent, queue = self._queues.popitem(last=False)
        turn = queue.popleft()
        if queue:
            self._queues[agent] = queue  # to the end of the line
        self._waiting -= 1
        turn.set()

    def _leave(self, agent: str, turn: anyio.Event) -> None:
        queue = self._queues[agent]
        queue.remove(turn)
        self._waiting -= 1
        if not queue:
            del self._queues[agent]
