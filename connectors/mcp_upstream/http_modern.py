"""How is revision 2026-07-28 spoken over HTTP? Every request is a POST of its own; nothing is held."""

from collections.abc import Callable, Iterator, Mapping

import aiohttp

from broker.connector import Json, Line, UpstreamLost
from connectors.mcp_upstream.dialogue import Heard, until_answered
from connectors.mcp_upstream.envelope import ParamHeaders, mirrored, modern_params
from connectors.mcp_upstream.http import Http, Tail, is_stream
from connectors.mcp_upstream.wire import MODERN, request_bytes, result_of

_HEADERS = {
    "Accept": "application/json, text/event-stream",
    "Content-Type": "application/json",
    "MCP-Protocol-Version": MODERN,
}

MirroredNow = Callable[[], Mapping[str, ParamHeaders]]
"""Gives, by tool, the arguments that are mirrored in headers at the moment."""


class ModernHttp:
    """A `Link`: the endpoint itself.

    Args:
        http: the connection.
        ids: request ids, unique for this connector.
        heard: told what concerns the whole server.
        param_headers: gives, by tool, the arguments that are mirrored in headers now.
    """

    modern = True
    alive = True

    def __init__(
        self,
        http: Http,
        ids: Iterator[int],
        heard: Heard,
        param_headers: MirroredNow,
    ) -> None:
        self._http = http
        self._ids = ids
        self._heard = heard
        self._param_headers = param_headers
        self.capabilities: Json = {}

    async def request(self, method: str, params: Json, line: Line | None) -> Json:
        """Send a request; leaving this early closes its connection, which cancels it upstream."""
        request_id = next(self._ids)
        headers = {**_HEADERS, **mirrored(method, params, self._param_headers())}
        body = request_bytes(request_id, method, modern_params(params, line, request_id))
        response = await self._http.send("POST", headers, body)
        try:
            message = await self._answer(response, request_id, line)
        except BaseException:
            response.close()
            raise
        self._http.finish(response)
        return result_of(message, self._http.name)

    async def listen(self, uris: frozenset[str]) -> None:
        """Hold one `subscriptions/listen` stream until it ends."""
        wanted: Json = {
            "toolsListChanged": True,
            "promptsListChanged": True,
            "resourcesListChanged": True,
        }
        if uris:
            wanted["resourceSubscriptions"] = sorted(uris)
        await self.request("subscriptions/listen", {"notifications": wanted}, None)

    async def close(self) -> None:
        """There is nothing to end."""

    async def _answer(self, response: aiohttp.ClientResponse, request_id: int, line: Line | None) -> Json:
        if not is_stream(response):
            return await self._http.message(response)
        message = await until_answered(
            self._http.messages(response, Tail()), request_id, line, self._heard, None
        )
        if message is None:
            raise UpstreamLost(f"`{self._http.name}` ended the stream without an answer")
        return message
