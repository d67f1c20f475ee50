"""How does a test speak to a broker without a client library? One message of revision 2026-07-28 at a time."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

REVISION = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": REVISION,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
}


@dataclass(frozen=True)
class Reply:
    """What came back: the HTTP side and the message (None if the body is no JSON)."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def result(self) -> dict[str, Any]:
        assert "result" in self.body, self.body
        return self.body["result"]

    @property
    def error(self) -> dict[str, Any]:
        assert "error" in self.body, self.body
        return self.body["error"]

    @property
    def text(self) -> str:
        """The text of a tool's result."""
        return "\n".join(block["text"] for block in self.result["content"] if block["type"] == "text")

    @property
    def refusal(self) -> dict[str, Any]:
        """The error object that a model reads in a refused call."""
        assert self.result["isError"], self.result
        return self.result["structuredContent"]["error"]


def message(
    method: str, params: Mapping[str, Any], *, meta: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A request with the envelope that the revision asks for."""
    whole = {**params, "_meta": {**META, **(meta or {})}}
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": whole}


def headers(method: str, token: str | None, *, name: str | None = None) -> dict[str, str]:
    """The headers that mirror a request."""
    given = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": REVISION,
        "Mcp-Method": method,
    }
    if name is not None:
        given["Mcp-Name"] = name
    if token is not None:
        given["Authorization"] = f"Bearer {token}"
    return given


async def post(url: str, body: bytes, given: Mapping[str, str]) -> Reply:
    """One POST on a connection of its own."""
    async with aiohttp.ClientSession() as session:
        return await post_on(session, url, body, given)


async def post_on(session: aiohttp.ClientSession, url: str, body: bytes, given: Mapping[str, str]) -> Reply:
    timeout = aiohttp.ClientTimeout(total=30)
    async with session.post(url, data=body, headers=given, timeout=timeout) as answer:
        try:
            read = await answer.json(content_type=None)
        except ValueError:
            read = None
        return Reply(answer.status, answer.headers, read)


async def request(
    url: str, token: str | None, method: str, params: Mapping[str, Any] | None = None, **meta: Any
) -> Reply:
    """A request in good form."""
    async with aiohttp.ClientSession() as session:
        return await request_on(session, url, token, method, params, **meta)


async def request_on(
    session: aiohttp.ClientSession,
    url: str,
    token: str | None,
    method: str,
    params: Mapping[str, Any] | None = None,
    **meta: Any,
) -> Reply:
    """The same, on a session that is kept."""
    params = params or {}
    given = headers(method, token, name=params.get("name"))
    body = json.dumps(message(method, params, meta=meta)).encode()
    return await post_on(session, url, body, given)


async def call_tool(url: str, token: str | None, name: str, **arguments: Any) -> Reply:
    return await request(url, token, "tools/call", {"name": name, "arguments": arguments})
