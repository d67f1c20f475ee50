"""How is a link opened? Over HTTP or by starting a process, in either era."""

from collections.abc import Iterator
from typing import Protocol

from broker.connector import Json, UpstreamLost, UpstreamRefused
from connectors.mcp_upstream.child import Command
from connectors.mcp_upstream.dialogue import Heard
from connectors.mcp_upstream.handshake import discovered_capabilities, rules_out_handshake, speaks_modern
from connectors.mcp_upstream.http import Http
from connectors.mcp_upstream.http_legacy import LegacyHttp
from connectors.mcp_upstream.http_modern import MirroredNow, ModernHttp
from connectors.mcp_upstream.link import Link
from connectors.mcp_upstream.stdio import Stdio


class Transport(Protocol):
    """Opens links. Each method raises `UpstreamError` if that fails, and leaves nothing behind then."""

    @property
    def stateless(self) -> bool:
        """Whether one modern link may serve everybody."""
        ...

    @property
    def most_links(self) -> int:
        """How many links there may be at a time."""
        ...

    async def first(self) -> Link:
        """A link in the era that the server speaks; the modern one if it speaks both."""
        ...

    async def modern(self) -> Link:
        """A link of revision 2026-07-28."""
        ...

    async def legacy(self, declared: Json, *, home: bool) -> Link:
        """A session with these client capabilities; `home` is the one that hears of changes."""
        ...

    async def close(self) -> None:
        """Let go of what the links shared."""
        ...


class HttpTransport:
    """A `Transport` over HTTP."""

    stateless = True
    most_links = 256

    def __init__(self, http: Http, ids: Iterator[int], heard: Heard, param_headers: MirroredNow) -> None:
        self._http = http
        self._ids = ids
        self._heard = heard
        self._endpoint = ModernHttp(http, ids, heard, param_headers)

    async def first(self) -> Link:
        """Probe with `server/discover`; whatever is no modern answer is tried as a session."""
        try:
            discovered = await self._endpoint.request("server/discover", {}, None)
        except UpstreamRefused as refused:
            if rules_out_handshake(refused):
                raise
        except UpstreamLost:
            pass
        else:
            if speaks_modern(discovered):
                self._endpoint.capabilities = discovered_capabilities(discovered)
                return self._endpoint
        return await self.legacy({}, home=True)

    async def modern(self) -> Link:
        """The endpoint itself."""
        return self._endpoint

    async def legacy(self, declared: Json, *, home: bool) -> Link:
        """A new session. Where nothing can be asked, only the home one needs a stream of its own."""
        streams = home or bool(declared)
        return await LegacyHttp.connect(
            self._http, self._ids, self._heard, declared=declared, streams=streams
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()


class StdioTransport:
    """A `Transport` that starts a process for every link."""

    stateless = False
    most_links = 16

    def __init__(self, command: Command, ids: Iterator[int], heard: Heard) -> None:
        self._command = command
        self._ids = ids
        self._heard = heard

    async def first(self) -> Link:
        """Probe; a server that does not survive that is started again as an old one."""
        link = await Stdio.start(self._command, self._ids, self._heard)
        try:
            await link.probe()
        except UpstreamLost:
            await link.close()
            return await self.legacy({}, home=True)
        except BaseException:
            await link.close()
            raise
        return link

    async def modern(self) -> Link:
        """A process that is spoken to without a handshake."""
        link = await Stdio.start(self._command, self._ids, self._heard)
        link.modern = True
        return link

    async def legacy(self, declared: Json, *, home: bool) -> Link:  # noqa: ARG002  # all share their pipe
        """A process with a session."""
        link = await Stdio.start(self._command, self._ids, self._heard)
        try:
            await link.as_legacy(declared)
        except BaseException:
            await link.close()
            raise
        return link

    async def close(self) -> None:
        """Processes end with their links."""
