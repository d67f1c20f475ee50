"""What broker processes tell each other: catalogues changed, an answer arrived, a caller cancelled.

A signal is a hint, never the truth: whoever hears one reads the store again. A process that misses
a signal is late, not wrong.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from broker.model import Json


class Signals(Protocol):
    """A topic-based broadcast that reaches every broker process on the same store."""

    async def publish(self, topic: str, message: Json) -> None:
        """Tell everybody who listens to `topic`, in this process and in every other one."""
        ...

    def subscribe(self, *topics: str) -> AbstractAsyncContextManager[AsyncIterator[tuple[str, Json]]]:
        """Listen to topics; the iterator yields `(topic, message)` for all that is published
        after the context was entered. A listener that falls 1,000 messages behind loses the oldest.
        """
        ...
