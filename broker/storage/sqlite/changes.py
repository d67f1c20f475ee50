"""Has anything changed that identity has read? One number in the file, which grows with every change.

Whoever asks several times in one turn of the event loop gets one answer: within a turn nothing else of
this process has happened, and what another process committed meanwhile is seen at the next.
"""

import asyncio

from broker.storage.sqlite.connection import Connection


class Changes:
    """The number of changes to agents, credentials, revoked tokens and revoked hops."""

    def __init__(self, reader: Connection) -> None:
        self._execute = (
            reader.cursor().execute
        )  # a cursor of its own: making one costs a fifth of the question
        self._seen: int | None = None

    def number(self) -> int:
        """The number now.

        Raises:
            apsw.Error: the file cannot be read.
        """
        if self._seen is None:
            seen: int = self._execute("select version from agent_version").get
            asyncio.get_running_loop().call_soon(self._forget)
            self._seen = seen
        return self._seen

    def _forget(self) -> None:
        self._seen = None
