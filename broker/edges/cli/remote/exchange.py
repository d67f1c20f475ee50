"""How does one message reach the broker? A POST with a fresh token, and what comes back on it."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import cast

import aiohttp
import anyio
import orjson

from broker.edges.cli.remote.credentials import ENDPOINT_PATH, Tokens
from broker.messages.events import Position, event_data
from broker.messages.headers import ACCEPT
from broker.model import Json

_RETRY_S = (1, 2, 5, 10, 30)
"""Pauses between attempts to open the stream of server messages again, in seconds."""
_GOODBYE_S = 0.3


class Exchange:
    """The HTTP side of a bridge. Holds the session of the revisions that have one.

    Args:
        http: shared by all requests.
        url: scheme://host[:port] of the broker.
        tokens: where the bearer token comes from.
    """

    def __init__(self, http: aiohttp.ClientSession, url: str, tokens: Tokens) -> None:
        self._http = http
        self._endpoint = url + ENDPOINT_PATH
        self._tokens = tokens
        self._session: dict[str, str] = {}
        self._initialize: bytes | None = None

    @asynccontextmanager
    async def posted(
        self, line: bytes, headers: Mapping[str, str] | None = None
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """The response to a message. `headers` are those of a modern request, else the session's are sent.

        A token that is refused is replaced once; a session that is gone is opened again once.
        """
        refused: str | None = None
        reopened = False
        while True:
            token = await self._tokens.token(refused=refused)
            sent = {"Content-Type": "application/json", "Accept": ACCEPT, **(headers or self._session)}
            sent["Authorization"] = f"Bearer {token}"
            async with self._http.post(
                self._endpoint, data=line, headers=sent, allow_redirects=False
            ) as response:
                lost = headers is None and response.status == 404 and bool(self._session)
                if response.status == 401 and refused is None:
                    refused = token
                elif lost and not reopened and self._initialize:
                    reopened = True
                    await self._reopen()
                else:
                    yield response
                    return

    def opened(self, line: bytes, response: aiohttp.ClientResponse, result: Json) -> None:
        """Note the session that an `initialize` has opened."""
        self._initialize = line
        version = result.get("protocolVersion")
        self._session = {"MCP-Protocol-Version": version} if isinstance(version, str) else {}
        if session_id := response.headers.get("Mcp-Session-Id"):
            self._session["Mcp-Session-Id"] = session_id

    async def listen(self) -> AsyncIterator[bytes]:
        """What the broker says outside of any request, until cancelled. Ends if it has no such stream."""
        attempt = 0
        while "Mcp-Session-Id" in self._session:
            with suppress(aiohttp.ClientError, TimeoutError):
                token = await self._tokens.token()
                headers = {**self._session, "Accept": "text/event-stream", "Authorization": f"Bearer {token}"}
                async with self._http.get(self._endpoint, headers=headers, allow_redirects=False) as response:
                    if response.status == 405:
                        return
                    async for data in messages(response):
                        attempt = 0
                        yield data
            await anyio.sleep(_RETRY_S[min(attempt, len(_RETRY_S) - 1)])
            attempt += 1

    async def resumed(self, position: Position) -> AsyncIterator[bytes]:
        """What the broker says after an answer's stream has ended in good order before the answer."""
        await anyio.sleep(position.retry_s)
        token = await self._tokens.token()
        headers = {**self._session, "Accept": "text/event-stream", "Authorization": f"Bearer {token}"}
        headers["Last-Event-ID"] = position.last_id or ""
        async with self._http.get(self._endpoint, headers=headers, allow_redirects=False) as response:
            async for data in messages(response, position):
                yield data

    async def close(self) -> None:
        """End the session, if there is one and the broker still answers."""
        if "Mcp-Session-Id" not in self._session:
            return
        with suppress(aiohttp.ClientError, TimeoutError), anyio.move_on_after(_GOODBYE_S):
            headers = {**self._session, "Authorization": f"Bearer {await self._tokens.token()}"}
            await (await self._http.delete(self._endpoint, headers=headers)).read()

    async def _reopen(self) -> None:
        line, self._session = cast("bytes", self._initialize), {}
        async with self.posted(line) as response:
            async for data in messages(response):
                result = orjson.loads(data).get("result")
                if isinstance(result, dict):
                    self.opened(line, response, cast("Json", result))
        initialized = orjson.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"})
        async with self.posted(initialized) as response:
            await response.read()


async def messages(
    response: aiohttp.ClientResponse, position: Position | None = None
) -> AsyncIterator[bytes]:
    """The messages in a response: those of its stream, or its one JSON body."""
    if response.content_type == "text/event-stream":
        async for data in event_data(response.content.iter_any(), position):
            yield data
    elif response.content_type == "application/json":
        yield await response.read()
