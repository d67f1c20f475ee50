"""How does a request reach the broker? One POST of MCP 2026-07-28, answered as JSON or as a stream."""

from importlib.metadata import version
from typing import Final, cast

import httpx2
import orjson

from broker.client.answer import OnProgress, Progress
from broker.client.context import meta
from broker.client.discovery import MCP_PATH
from broker.client.failures import broken
from broker.client.presenting import Presenting
from broker.client.tokens import Tokens
from broker.errors import UpstreamLost
from broker.messages.answers import decoded, ends_request, result_of
from broker.messages.events import event_data
from broker.messages.headers import ACCEPT, mirrored, parameter_headers
from broker.model import Json

REVISION: Final = "2026-07-28"
HEADER_MISMATCH: Final = -32020

_ENVELOPE: Final[Json] = {
    "io.modelcontextprotocol/protocolVersion": REVISION,
    "io.modelcontextprotocol/clientInfo": {
        "name": "broker.client",
        "version": version("mcp-tool-broker"),
    },
    "io.modelcontextprotocol/clientCapabilities": {},
}
_PROGRESS_TOKEN: Final = 1


class Endpoint:
    """The MCP endpoint of one broker.

    Args:
        http: the connection.
        url: scheme://host[:port] of the broker.
        tokens: the agent's tokens.
        presenting: how they are presented.
    """

    def __init__(self, http: httpx2.AsyncClient, url: str, tokens: Tokens, presenting: Presenting) -> None:
        self._http = http
        self._url = url
        self._tokens = tokens
        self._presenting = presenting
        self._schemas: dict[str, object] = {}

    async def tools(self) -> list[Json]:
        """The definitions of all tools that the agent sees."""
        tools: list[Json] = []
        params: Json = {}
        while True:
            page = await self.ask("tools/list", params)
            tools += cast("list[Json]", page.get("tools", []))
            if not (cursor := page.get("nextCursor")):
                break
            params = {"cursor": cursor}
        self._schemas = {str(tool["name"]): tool.get("inputSchema") for tool in tools}
        return tools

    async def call(self, name: str, arguments: Json, on_progress: OnProgress | None) -> Json:
        """The result of a tool, refused or not.

        Some tools want arguments repeated in headers (MCP, `x-mcp-header`); which, their schema says.
        """
        params = {"name": name, "arguments": arguments}
        status, answer = await self._exchange("tools/call", params, self._schemas.get(name), on_progress)
        if _code(answer) == HEADER_MISMATCH:  # nothing was done: the headers are checked first
            await self.tools()
            status, answer = await self._exchange("tools/call", params, self._schemas.get(name), on_progress)
        return result_of(status, answer)

    async def ask(self, method: str, params: Json) -> Json:
        """The result of a request."""
        return result_of(*await self._exchange(method, params))

    async def _exchange(
        self, method: str, params: Json, schema: object = None, on_progress: OnProgress | None = None
    ) -> tuple[int, Json]:
        envelope = _ENVELOPE | meta()
        if on_progress:
            envelope["progressToken"] = _PROGRESS_TOKEN
        message: Json = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": envelope}}
        headers = mirrored(message, REVISION, parameter_headers(schema))
        body = orjson.dumps(message)
        token = await self._tokens.token()
        status, answer = await self._post(body, headers, token, on_progress)
        if status == 401:
            token = await self._tokens.token(refused=token)
            status, answer = await self._post(body, headers, token, on_progress)
        return status, answer

    async def _post(
        self, body: bytes, headers: dict[str, str], token: str, on_progress: OnProgress | None
    ) -> tuple[int, Json]:
        sent = {
            **headers,
            "Accept": ACCEPT,
            "Content-Type": "application/json",
            **self._presenting.using(token, "POST", self._url + MCP_PATH),
        }
        try:
            async with self._http.stream(
                "POST", self._url + MCP_PATH, content=body, headers=sent
            ) as response:
                return response.status_code, await _answer(response, on_progress)
        except httpx2.HTTPError as error:
            raise broken(self._url, error) from error


async def _answer(response: httpx2.Response, on_progress: OnProgress | None) -> Json:
    if not response.headers.get("content-type", "").startswith("text/event-stream"):
        return decoded(await response.aread())
    async for data in event_data(response.aiter_bytes()):
        message = decoded(data)
        if ends_request(message):
            return message
        if on_progress and message.get("method") == "notifications/progress":
            told = cast("Json", message["params"])
            on_progress(Progress(told["progress"], told.get("total"), told.get("message")))
    raise UpstreamLost("the broker's stream ended without an answer")


def _code(answer: Json) -> object:
    error = answer.get("error")
    return cast("Json", error).get("code") if isinstance(error, dict) else None
