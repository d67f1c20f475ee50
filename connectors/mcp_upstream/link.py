"""What can one do with an upstream once it is connected, whatever its transport and revision?"""

from typing import Protocol

from broker.connector import Json, Line


class Link(Protocol):
    """One session, process or endpoint of the upstream, in one protocol era."""

    @property
    def modern(self) -> bool:
        """Whether it speaks the revision without sessions."""
        ...

    @property
    def capabilities(self) -> Json:
        """What the server declared."""
        ...

    @property
    def alive(self) -> bool:
        """Whether it can still be used; a dead link is replaced by a new one."""
        ...

    async def request(self, method: str, params: Json, line: Line | None) -> Json:
        """Send a request and give its result as it came.

        Args:
            method: the method.
            params: its parameters, without `_meta`.
            line: the open call; None if the broker itself asks.

        Raises:
            UpstreamUnreachable, UpstreamRefused, UpstreamLost: as in `Upstream.invoke`.
            LinkGone: the session had ended before this request; nothing was done.
        """
        ...

    async def listen(self, uris: frozenset[str]) -> None:
        """Hear of changes until the connection for it ends; `uris` are the watched resources.

        Raises:
            UpstreamError: it cannot listen now.
        """
        ...

    async def close(self) -> None:
        """End it."""
        ...


class LinkGone(Exception):  # never leaves the connector: the request is repeated on a new link
    """The upstream has forgotten the session. Nothing was done."""
