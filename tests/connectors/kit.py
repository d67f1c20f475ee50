"""How is a connector used in a test? As the catalogue does it: opened, asked what it offers, called, closed."""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
from aiohttp import web

from broker.connector import Answer, Host, Json, Line, Method, NotDeclared, Offer, Request
from connectors.mcp_upstream import McpUpstream
from connectors.mcp_upstream.settings import McpSettings

SERVERS = Path(__file__).parent / "servers"
ASKABLE = {"sampling": {}, "elicitation": {}, "roots": {"listChanged": True}}


@dataclass
class Caller:
    """Who calls. `answers` are given to the questions of one method, by method."""

    modern: bool = True
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    answers: Mapping[str, Json] = field(default_factory=dict)
    heard: list[tuple[str, Json]] = field(default_factory=list)
    asked: list[tuple[str, Json]] = field(default_factory=list)
    polled: list[int] = field(default_factory=list)
    asking: anyio.Event = field(default_factory=anyio.Event)
    may_answer: anyio.Event | None = None

    async def notify(self, method: str, params: Json) -> None:
        self.heard.append((method, params))

    async def deliver(self, event: Json) -> bool:
        raise AssertionError(f"no model streams here: {event}")

    async def poll(self, retry_ms: int) -> None:
        self.polled.append(retry_ms)

    async def ask(self, method: str, params: Json) -> Json:
        self.asked.append((method, params))
        self.asking.set()
        if method not in self.answers:
            raise NotDeclared(f"the caller cannot be asked {method}", required={})
        if self.may_answer is not None:
            await self.may_answer.wait()
        return self.answers[method]


def line(caller: Caller | None = None, **fields: Any) -> Line:
    people = {"organisation": "acme", "agent": "ada"}
    return Line(call_id="call-1", caller=caller or Caller(), **{**people, **fields})


@dataclass
class Rig:
    """An opened connector, and what it told its host."""

    upstream: McpUpstream
    news: list[str] = field(default_factory=list)
    told: anyio.Event = field(default_factory=anyio.Event)

    async def offer(self) -> Offer:
        with anyio.fail_after(20):
            return await self.upstream.offer()

    async def call(
        self, tool: str, arguments: Json | None = None, caller: Caller | None = None, **fields: Any
    ) -> Json:
        return (
            await self.ask(Method.CALL_TOOL, {"name": tool, "arguments": arguments or {}}, caller, **fields)
        ).body

    async def ask(self, method: Method, params: Json, caller: Caller | None = None, **fields: Any) -> Answer:
        with anyio.fail_after(20):
            return await self.upstream.invoke(Request(method, params), line(caller, **fields))

    async def told_of(self, what: str) -> None:
        """Wait until the host was told this."""
        with anyio.fail_after(10):
            while what not in self.news:
                self.told = anyio.Event()
                await self.told.wait()

    def tell(self, what: str) -> None:
        self.news.append(what)
        self.told.set()


@asynccontextmanager
async def connected(secrets: Mapping[str, str] | None = None, **settings: Any) -> AsyncIterator[Rig]:
    rig = Rig(McpUpstream())
    host = Host("up", Path("unused"), (secrets or {}).__getitem__, lambda: rig.tell("changed"), rig.tell)
    await rig.upstream.open(McpSettings(**settings), host)
    try:
        yield rig
    finally:
        with anyio.fail_after(20):
            await rig.upstream.close()


def rough(*arguments: str) -> list[str]:
    """The command of the hand-written server that does what no kit would."""
    return [sys.executable, str(SERVERS / "rough.py"), *arguments]


def text(body: Json) -> str:
    return body["content"][0]["text"]


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler, port: int = 0) -> AsyncIterator[str]:
    """A real HTTP server on loopback that gives every request to `handler`."""

    async def handle(request: web.Request) -> web.StreamResponse:
        return await handler(request)

    app = web.Application(client_max_size=64 << 20)
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/mcp"
    finally:
        await runner.cleanup()


def replied(message: Json, result: Json, **headers: str) -> web.Response:
    return web.json_response({"jsonrpc": "2.0", "id": message["id"], "result": result}, headers=headers)


def refused(message: Json, code: int, status: int = 200, text: str = "no", **error: Any) -> web.Response:
    body = {"jsonrpc": "2.0", "id": message.get("id"), "error": {"code": code, "message": text, **error}}
    return web.json_response(body, status=status)


async def stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    return response


TOOL = {"name": "do", "description": "does", "inputSchema": {"type": "object"}}
DISCOVERED = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, "resultType": "complete"}


class Modern:
    """An HTTP upstream of revision 2026-07-28: `call` answers `tools/call`, the rest is as usual."""

    def __init__(
        self, call: Callable[[web.Request, Json], Awaitable[web.StreamResponse]] | None = None
    ) -> None:
        self.call = call
        self.tools: list[Any] = [TOOL]
        self.capabilities: Json = {"tools": {}}
        self.seen: list[tuple[web.Request, Json]] = []

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        message = await request.json()
        self.seen.append((request, message))
        match message["method"]:
            case "server/discover":
                return replied(message, {**DISCOVERED, "capabilities": self.capabilities})
            case "tools/list":
                return replied(message, {"tools": self.tools})
            case "tools/call" if self.call is not None:
                return await self.call(request, message)
            case _:
                return refused(message, -32601, 404)


class Legacy:
    """An HTTP upstream of revision 2025-11-25 with sessions that can be forgotten."""

    def __init__(self, call: Callable[[web.Request, Json], Awaitable[web.StreamResponse]]) -> None:
        self.call = call
        self.sessions: dict[str, Json] = {}
        self.begun = 0
        self.posted: list[Json] = []
        self.ended: list[str] = []
        self.noted = anyio.Event()

    async def __call__(self, request: web.Request) -> web.StreamResponse:  # noqa: PLR0911  # one per case
        session = request.headers.get("Mcp-Session-Id", "")
        if request.method == "GET":
            return web.Response(status=405)
        if request.method == "DELETE":
            self.ended.append(session)
            return web.Response(status=200)
        message = await request.json()
        self.posted.append(message)
        if message.get("method") == "initialize":
            self.begun += 1
            name = f"s{self.begun}"
            self.sessions[name] = message["params"]["capabilities"]
            result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}}
            return replied(message, result, **{"Mcp-Session-Id": name})
        if not session:
            return refused(message, -32600, 400, "Missing session ID")
        if session not in self.sessions:
            return refused(message, -32600, 404, "Session not found")
        if "id" not in message or "method" not in message:
            self.noted.set()
            return web.Response(status=202)
        match message["method"]:
            case "tools/list":
                return replied(message, {"tools": [TOOL]})
            case "tools/call":
                return await self.call(request, message)
            case _:
                return refused(message, -32601)
