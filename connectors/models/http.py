"""How is a provider of models asked? One session and one TLS context for all requests to it."""

import logging
import ssl
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, cast

import aiohttp
import orjson

from broker.connector import Json, UpstreamLost, UpstreamRefused, UpstreamUnreachable
from connectors.mcp_upstream.http import CONNECT_WITHIN_S, MOST_CONNECTIONS, CheckedResolver
from connectors.mcp_upstream.sse import EventParser, EventTooLarge

logger = logging.getLogger("connectors.models")

ANSWER_LIMIT = 32 << 20
"""Bytes of the largest answer, and of the largest event of a stream."""
_ERROR_LIMIT = 64 << 10
_LONGEST_MESSAGE = 2000
_BROKEN = (aiohttp.ClientError, OSError, EOFError)
_ELSEWHERE = frozenset({429, 500, 503, 529})
"""Answers after which another address may do better; nothing was done at this one."""
_UNSURE = frozenset({502, 504})
"""What stands before the provider does not know what became of the request."""
_OURS = frozenset({401, 403})
_DONE: Final = b"[DONE]"


class ModelHttp:
    """Requests to one provider.

    Args:
        name: the connector's, for messages.
        addresses: of the same API; the next is asked while one fails before it has answered.
        headers: sent with every request, secrets included.
        allow_private: whether private addresses are meant.
    """

    def __init__(
        self, name: str, addresses: Sequence[str], headers: Mapping[str, str], *, allow_private: bool
    ) -> None:
        self.name = name
        self._addresses = addresses
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=CheckedResolver(allow_private=allow_private),
                ssl=ssl.create_default_context(),
                limit=MOST_CONNECTIONS,
            ),
            headers={"Accept-Encoding": "identity", **headers},
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_WITHIN_S),
            trust_env=False,
            read_bufsize=1 << 18,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    @asynccontextmanager
    async def asked(
        self, verb: str, path: str, body: Json | None = None, headers: Mapping[str, str] | None = None
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """An answer that says yes. Leaving before its end closes the connection, so that no more is written.

        Raises:
            UpstreamUnreachable: no address could be connected to.
            UpstreamRefused: it was answered no, with the provider's own words.
            UpstreamLost: nobody knows what became of the request.
        """
        data = None if body is None else orjson.dumps(body)
        all_headers = {
            **(headers or {}),
            **({"Content-Type": "application/json"} if data is not None else {}),
        }
        response = await self._first(verb, path, data, all_headers)
        try:
            yield response
        finally:
            if response.content.at_eof():
                response.release()
            else:
                response.close()

    async def _first(
        self, verb: str, path: str, data: bytes | None, headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        failure: UpstreamUnreachable | UpstreamRefused | None = None
        for address in self._addresses:
            try:
                return await self._once(verb, address + path, data, headers)
            except UpstreamUnreachable as error:
                failure = error
            except UpstreamRefused as error:
                failure = error
                if error.status not in _ELSEWHERE:
                    raise
        assert failure is not None  # noqa: S101  # there is at least one address
        raise failure

    async def _once(
        self, verb: str, url: str, data: bytes | None, headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        try:
            response = await self._session.request(
                verb, url, data=data, headers=headers, allow_redirects=False
            )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            logger.warning("%s cannot be reached: %s", self.name, error)
            raise UpstreamUnreachable(f"`{self.name}` cannot be reached") from error
        except _BROKEN as error:
            raise UpstreamLost(f"`{self.name}` closed the connection without an answer") from error
        if response.status == 200:
            return response
        raise await self._refusal(response)

    async def _refusal(self, response: aiohttp.ClientResponse) -> UpstreamRefused | UpstreamLost:
        status = response.status
        try:
            body = await response.content.read(_ERROR_LIMIT)
        except _BROKEN:
            body = b""
        finally:
            response.close()
        if status in _UNSURE:
            return UpstreamLost(f"`{self.name}` answered with HTTP {status}")
        if status in _OURS:
            logger.warning("%s does not accept the broker's credentials (HTTP %d)", self.name, status)
            return UpstreamRefused(
                f"`{self.name}` does not accept the broker's credentials",
                hint="an operator can mend its settings",
            )
        said = parse(body)
        return UpstreamRefused(
            _words(said) or f"`{self.name}` refused the request (HTTP {status})", data=said, status=status
        )

    async def whole(self, response: aiohttp.ClientResponse) -> Json:
        """The object in an answer.

        Raises:
            UpstreamLost: it broke off, is too large, or is no object.
        """
        data = bytearray()
        try:
            async for chunk in response.content.iter_any():
                data += chunk
                if len(data) > ANSWER_LIMIT:
                    raise UpstreamLost(f"`{self.name}` sent more than {ANSWER_LIMIT} bytes")
        except _BROKEN as error:
            raise UpstreamLost(f"`{self.name}` broke off in the middle of its answer") from error
        found = parse(bytes(data))
        if found is None:
            raise UpstreamLost(f"`{self.name}` answered something that is no JSON object")
        return found

    async def events(self, response: aiohttp.ClientResponse) -> AsyncGenerator[Json]:
        """The events of a stream, as they come, without the `[DONE]` that may end it.

        Raises:
            UpstreamLost: it broke, or an event is too large or no object.
        """
        if not response.headers.get("Content-Type", "").lower().startswith("text/event-stream"):
            raise UpstreamLost(f"`{self.name}` was asked for a stream and answered without one")
        parser = EventParser(ANSWER_LIMIT, every_type=True)
        try:
            async for chunk in response.content.iter_any():
                for data in parser.feed(chunk):
                    if data == _DONE:
                        continue
                    event = parse(data)
                    if event is None:
                        raise UpstreamLost(f"`{self.name}` sent an event that is no JSON object")
                    yield event
        except EventTooLarge as error:
            raise UpstreamLost(f"`{self.name}` sent an event larger than {ANSWER_LIMIT} bytes") from error
        except _BROKEN as error:
            raise UpstreamLost(f"`{self.name}` broke off in the middle of its answer") from error


def parse(data: bytes) -> Json | None:
    """A JSON object; None if it is none."""
    try:
        found: Any = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return cast("Json", found) if isinstance(found, dict) else None


def _words(said: Json | None) -> str:
    error: Any = (said or {}).get("error")
    message: Any = cast("Json", error).get("message") if isinstance(error, dict) else error
    return message[:_LONGEST_MESSAGE] if isinstance(message, str) else ""
