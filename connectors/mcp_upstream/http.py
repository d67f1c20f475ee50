"""How are bytes exchanged with an HTTP upstream? One session and one TLS context for all its requests."""

import io
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import aiohttp
import anyio
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from broker.connector import (
    EgressRefused,
    Json,
    UpstreamLost,
    UpstreamRefused,
    UpstreamUnreachable,
    check_egress,
)
from connectors.mcp_upstream.background import Background
from connectors.mcp_upstream.sse import EventParser, EventTooLarge
from connectors.mcp_upstream.wire import MESSAGE_LIMIT, Scrub, parse

logger = logging.getLogger("connectors.mcp_upstream")

CONNECT_WITHIN_S = 10.0
MOST_CONNECTIONS = 256
RESUME_AFTER_S = 1.0
LONGEST_PAUSE_S = 30.0
_LARGE = 1 << 20
_BROKEN = (aiohttp.ClientError, OSError, EOFError)


@dataclass(slots=True)
class Tail:
    """Where a stream was left off, and how long to wait before it is gone on with (SEP-1699)."""

    last_id: str | None = None
    retry_s: float = RESUME_AFTER_S

    def follow(self, parser: EventParser) -> None:
        """Note what the stream has said."""
        if parser.last_id is not None:
            self.last_id = parser.last_id
        if parser.retry_ms is not None:
            self.retry_s = min(parser.retry_ms / 1000, LONGEST_PAUSE_S)


class CheckedResolver(AbstractResolver):
    """Resolves names as usual and refuses the lot if any address must not be connected to.

    aiohttp connects to the very addresses that this returns, so a name cannot change in between.
    """

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._inner = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a host.

        Raises:
            OSError: it has none, or one of them is not permitted.
        """
        found = await self._inner.resolve(host, port, family)
        for address in found:
            try:
                check_egress(address["host"], name=host, allow_private=self._allow_private)
            except EgressRefused as refusal:
                raise OSError(str(refusal)) from refusal
        return found

    async def close(self) -> None:
        """Nothing to let go of."""


class Http:
    """The HTTP side of one upstream.

    Args:
        name: the connector's name, for messages.
        url: the endpoint.
        headers: the configured headers, with their secrets resolved.
        allow_private: whether loopback and private networks may be connected to.
        scrub: takes those secrets out of answers.
    """

    def __init__(
        self, name: str, url: str, headers: Mapping[str, str], *, allow_private: bool, scrub: Scrub
    ) -> None:
        self.name = name
        self._url = URL(url)
        self._scrub = scrub
        self._draining = Background()
        connector = aiohttp.TCPConnector(
            resolver=CheckedResolver(allow_private=allow_private),
            ssl=ssl.create_default_context() if self._url.scheme == "https" else False,
            limit=MOST_CONNECTIONS,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers={**headers, "Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_WITHIN_S),
            trust_env=False,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._draining.close()
        await self._session.close()

    async def send(
        self, verb: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> aiohttp.ClientResponse:
        """Send a request and wait for the head of the response. Redirects are not followed.

        Raises:
            UpstreamUnreachable: there is no connection; nothing was sent.
            UpstreamLost: the connection broke after that.
        """
        data = io.BytesIO(body) if body is not None and len(body) > _LARGE else body
        try:
            return await self._session.request(
                verb, self._url, data=data, headers=headers, allow_redirects=False
            )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            logger.warning("%s cannot be reached: %s", self.name, error)
            raise UpstreamUnreachable(f"`{self.name}` cannot be reached: {_why(error)}") from error
        except _BROKEN as error:
            raise UpstreamLost(f"`{self.name}` closed the connection without an answer") from error

    async def message(self, response: aiohttp.ClientResponse) -> Json:
        """The one message in a JSON response.

        Raises:
            UpstreamLost: it broke off, is too large or is no message.
            UpstreamRefused: the HTTP status says no, and the body does not say more.
        """
        message = parse(self._scrub(await self._body(response)))
        if message is not None and (response.status == 200 or "error" in message):
            return message
        raise refusal(response.status, self.name)

    async def messages(self, response: aiohttp.ClientResponse, tail: Tail) -> AsyncIterator[Json]:
        """The messages in an SSE response, as they come; ends when it ends or breaks.

        `tail` follows what the stream says about its resumption.

        Raises:
            UpstreamLost: a message is too large.
        """
        parser = EventParser(MESSAGE_LIMIT)
        try:
            async for chunk in response.content.iter_any():
                events = parser.feed(chunk)
                tail.follow(parser)
                for data in events:
                    if (message := parse(self._scrub(data))) is not None:
                        yield message
        except EventTooLarge as error:
            raise UpstreamLost(f"`{self.name}` sent a message larger than {MESSAGE_LIMIT} bytes") from error
        except _BROKEN as error:
            logger.info("an event stream of %s broke: %s", self.name, error)

    def finish(self, response: aiohttp.ClientResponse) -> None:
        """Let go of an answered response: its connection is kept if it ends soon, else closed."""
        if response.content.at_eof():
            response.release()
        else:
            self._draining.start(_drain(response))

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        too_large = UpstreamLost(f"`{self.name}` sent a message larger than {MESSAGE_LIMIT} bytes")
        if (response.content_length or 0) > MESSAGE_LIMIT:
            raise too_large
        try:
            if response.content_length is not None:
                return await response.read()
            chunks = bytearray()
            async for chunk in response.content.iter_any():
                chunks += chunk
                if len(chunks) > MESSAGE_LIMIT:
                    raise too_large
            return bytes(chunks)
        except _BROKEN as error:
            raise UpstreamLost(f"`{self.name}` broke off in the middle of its answer") from error


def is_stream(response: aiohttp.ClientResponse) -> bool:
    """Whether a response is an event stream."""
    return response.headers.get("Content-Type", "").lower().startswith("text/event-stream")


def refusal(status: int, name: str) -> UpstreamRefused | UpstreamLost:
    """What an HTTP status without a JSON-RPC body means."""
    if status >= 500 or status < 300:
        return UpstreamLost(f"`{name}` answered with HTTP {status} and nothing that can be read")
    what = {
        401: "does not accept the broker's credentials",
        403: "does not let the broker in",
        404: "has nothing at its configured URL",
        429: "is asked too often",
    }.get(status, "redirects, which is not followed" if status < 400 else "refused the request")
    hint = "the operator can mend its configuration" if status in (401, 403, 404) or status < 400 else None
    return UpstreamRefused(f"`{name}` {what} (HTTP {status})", hint=hint)


async def _drain(response: aiohttp.ClientResponse) -> None:
    try:
        with anyio.move_on_after(1.0):
            async for _ in response.content.iter_any():
                pass
    except _BROKEN:
        pass
    finally:
        response.close()


def _why(error: Exception) -> str:
    """A reason that gives no address away."""
    match error:
        case aiohttp.ClientConnectorDNSError(os_error=OSError(__cause__=EgressRefused())):
            return "its address is not permitted"
        case aiohttp.ClientConnectorDNSError():
            return "its name does not resolve"
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            return "its certificate is not accepted"
        case aiohttp.ConnectionTimeoutError():
            return "it does not answer"
        case _:
            return "it refuses connections"
