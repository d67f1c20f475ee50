"""How does a verb call the broker? MCP requests of revision 2026-07-28, answered as JSON or as a stream."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import cast

import aiohttp
import orjson

from broker.edges.cli.remote.credentials import ENDPOINT_PATH, unreachable
from broker.errors import UpstreamLost
from broker.messages.answers import decoded, ends_request, result_of
from broker.messages.events import event_data
from broker.messages.headers import ACCEPT, mirrored, parameter_headers
from broker.model import Json

REVISION = "2026-07-28"
_META = {
    "io.modelcontextprotocol/protocolVersion": REVISION,
    "io.modelcontextprotocol/clientInfo": {"name": "broker-cli", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


@asynccontextmanager
async def http_session() -> AsyncGenerator[aiohttp.ClientSession]:
    """A session without a limit on how long a call may take, only on how long connecting may."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as http:
        yield http


class Client:
    """Calls one broker with one token."""

    def __init__(self, http: aiohttp.ClientSession, url: str, token: str) -> None:
        self._http = http
        self._url = url
        self._token = token

    async def tools(self) -> list[Json]:
        """All tools this token's agent sees.

        Raises:
            BrokerError: not authenticated, or no broker there.
        """
        tools: list[Json] = []
        cursor: str | None = None
        while True:
            page = await self.request("tools/list", {"cursor": cursor} if cursor else {})
            tools += cast("list[Json]", page.get("tools", []))
            cursor = cast("str | None", page.get("nextCursor"))
            if not cursor:
                return tools

    async def call(self, tool: Json, arguments: Json) -> Json:
        """The result of a tool, refused or not: `isError` and `structuredContent` say which."""
        params = {"name": tool["name"], "arguments": arguments}
        return await self.request("tools/call", params, schema=tool.get("inputSchema"))

    async def request(self, method: str, params: Json, *, schema: object = None) -> Json:
        """The result of one request.

        Raises:
            Unauthenticated: the token is not accepted.
            UnknownTarget: what was named does not exist for this agent.
            UpstreamError: no broker, no answer, or a JSON-RPC error.
        """
        message: Json = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": _META}}
        headers = {
            **mirrored(message, REVISION, parameter_headers(schema)),
            "Accept": ACCEPT,
            "Content-Type": "application/json",
            "Authorization": f"Bearer {self._token}",
        }
        url = self._url + ENDPOINT_PATH
        try:
            async with self._http.post(
                url, data=orjson.dumps(message), headers=headers, allow_redirects=False
            ) as response:
                return result_of(response.status, await _answer(response))
        except aiohttp.ClientConnectorError as error:
            raise unreachable(self._url, error) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UpstreamLost(f"the broker at `{self._url}` ended the connection") from error


async def _answer(response: aiohttp.ClientResponse) -> Json:
    if response.content_type != "text/event-stream":
        return decoded(await response.read())
    async for data in event_data(response.content.iter_any()):
        message = decoded(data)
        if ends_request(message):
            return message
    raise UpstreamLost("the stream ended without an answer")
