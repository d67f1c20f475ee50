"""How do parts of one process tell each other that something changed? A broadcast in memory.

Enough for a backend that one serving process has to itself.
"""

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import anyio

from broker.model import Json

BACKLOG = 1000
Message = tuple[str, Json]


class LocalSignals:
    """`Signals` within this process."""

    def __init__(self) -> None:
        self._listeners: list[_Listener] = []

    async def publish(self, topic: str, message: Json) -> None:
        """Tell everybody who listens to `topic`. Never waits for a listener."""
        for listener in self._listeners:
            if topic in listener.topics:
                listener.put((topic, message))

    @asynccontextmanager
    async def subscribe(self, *topics: str) -> AsyncGenerator[AsyncIterator[Message]]:
        """Listen to topics while the context is open; who falls behind loses the oldest messages."""
        listener = _Listener(frozenset(topics))
        self._listeners.append(listener)
        try:
            yield listener
        finally:
            self._listeners.remove(listener)


class _Listener:
    def __init__(self, topics: frozenset[str]) -> None:
        self.topics = topics
        self._waiting: deque[Message] = deque(maxlen=BACKLOG)
        self._arrived = anyio.Event()

    def put(self, message: Message) -> None:
        self._waiting.append(message)
        self._arrived.set()

    def __aiter__(self) -> AsyncIterator[Message]:
        return self

    async def __anext__(self) -> Message:
        while not self._waiting:
            self._arrived = anyio.Event()
            await self._arrived.wait()
        return self._waiting.popleft()
