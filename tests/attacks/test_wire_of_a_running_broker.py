"""What can a stranger do with bytes? Nothing reaches an upstream, nothing falls over, nothing leaks.

Each attack is written to a bare socket of a running broker. The upstream notes everything that
reaches it.
"""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import SocketStream

from tests.e2e.restartable import Restartable
from tests.e2e.rpc import call_tool, headers, message, post

pytestmark = pytest.mark.timeout(60)

NARROW = """\
role: narrow
allow:
  - tools: ["echo__*"]
"""
SCHEMA = {"type": "object", "properties": {"id": {"type": "string"}}}


@dataclass
class Heard:
    """What reached the upstream: the raw header lines and bodies of every request."""

    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    @property
    def calls(self) -> list[Any]:
        return [body["params"] for _, body in self.requests if body["method"] == "tools/call"]


def _answer(body: dict[str, Any]) -> dict[str, Any]:
    fresh = {"ttlMs": 0, "cacheScope": "private"}
    match body["method"]:
        case "server/discover":
            return {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, **fresh}
        case "tools/list":
            return {"tools": [{"name": "act", "description": "Acts.", "inputSchema": SCHEMA}], **fresh}
    return {"content": [{"type": "text", "text": "acted"}], "isError": False}


class _Upstream(BaseHTTPRequestHandler):
    """An MCP server of revision 2026-07-28 that remembers."""

    protocol_version = "HTTP/1.1"
    heard: Heard

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.heard.requests.append((str(self.headers), body))
        result = {"resultType": "complete", **_answer(body)}
        answer = json.dumps({"jsonrpc": "2.0", "id": body.get("id"), "result": result}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@dataclass(frozen=True)
class World:
    """A broker whose upstream remembers, and the tokens of an agent with and without access to it."""

    broker: Restartable
    heard: Heard
    token: str
    narrow_token: str

    @property
    def url(self) -> str:
        return self.broker.deployment.mcp_url

    @property
    def port(self) -> int:
        return int(self.broker.deployment.url.rpartition(":")[2])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    heard = Heard()
    handler = type("Remembering", (_Upstream,), {"heard": heard})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as upstream:
        upstream.daemon_threads = True
        threading.Thread(target=upstream.serve_forever, daemon=True).start()
        with _broker(tmp_path_factory.mktemp("wire"), upstream.server_port) as broker:
            deployment = broker.deployment
            token = deployment.token(deployment.add_agent("wide", "everything"))
            narrow_token = deployment.token(deployment.add_agent("narrow", "narrow"))
            yield World(broker, heard, token, narrow_token)
        upstream.shutdown()


def _broker(folder: Path, upstream_port: int) -> Restartable:
    settings = {"url": f"http://127.0.0.1:{upstream_port}/mcp", "allow_private": True}
    connectors = {"echo": {"use": "echo"}, "remote": {"use": "mcp", "settings": settings}}
    broker = Restartable(folder / "broker", connectors, settings={"limits": {"request_bytes": 64 << 10}})
    (broker.policies / "roles" / "narrow.yaml").write_text(NARROW)
    return broker


def act(**arguments: Any) -> bytes:
    """The body of a call that has an effect."""
    return json.dumps(message("tools/call", {"name": "remote__act", "arguments": arguments})).encode()


def head(world: World, *lines: str, length: int | None, token: bool = True, host: bool = True) -> bytes:
    """The head of such a call, with further lines."""
    given = headers("tools/call", world.token if token else None, name="remote__act")
    first = ["POST /mcp HTTP/1.1"]
    if host:
        first.append(f"Host: 127.0.0.1:{world.port}")
    if length is not None:
        first.append(f"Content-Length: {length}")
    whole = [*first, *(f"{name}: {value}" for name, value in given.items()), *lines]
    return "\r\n".join(whole).encode() + b"\r\n\r\n"


async def sent(world: World, raw: bytes) -> bytes:
    """Everything that comes back before the broker closes or falls silent."""
    async with await anyio.connect_tcp("127.0.0.1", world.port) as stream:
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            await stream.send(raw)  # it may refuse before it has read everything
        return await _received(stream)


async def _received(stream: SocketStream) -> bytes:
    data = b""
    with anyio.move_on_after(0.5) as waiting:
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            while True:
                data += await stream.receive()
                waiting.deadline = anyio.current_time() + 0.1
    return data


def statuses(answer: bytes) -> list[int]:
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


async def refused(world: World, raw: bytes, *allowed: int) -> None:
    """Sent, answered with one of these statuses or a closed connection; nothing was called."""
    before = len(world.heard.calls)
    answer = await sent(world, raw)
    assert [status for status in statuses(answer) if status not in allowed] == [], answer
    assert len(world.heard.calls) == before
    await still_works(world)


async def still_works(world: World) -> None:
    reply = await call_tool(world.url, world.token, "echo__say", text="still here")
    assert "still here" in reply.text


async def test_the_call_that_all_attacks_vary_is_answered(world: World) -> None:
    before = len(world.heard.calls)
    body = act(id="plain")
    assert statuses(await sent(world, head(world, length=len(body)) + body)) == [200]
    assert len(world.heard.calls) == before + 1


async def test_two_framings_of_one_body_are_refused(world: World) -> None:
    body = b"0\r\n\r\n" + head(world, length=5)
    smuggling = head(world, "Transfer-Encoding: chunked", length=len(body)) + body
    await refused(world, smuggling, 400)


@pytest.mark.parametrize(
    "line",
    [
        "Content-Length: 3",
        "Content-Length : 3",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding:\x0bchunked",
        " folded: continues the line before",
        "No-Colon",
        "Bad\x00Name: x",
    ],
    ids=["second-length", "space", "unknown-coding", "vertical-tab", "folded", "no-colon", "nul"],
)
async def test_a_malformed_header_line_is_refused(world: World, line: str) -> None:
    body = act(id="malformed")
    await refused(world, head(world, line, length=len(body)) + body, 400, 501)


async def test_a_second_host_is_refused(world: World) -> None:
    body = act(id="hosts")
    await refused(world, head(world, "Host: elsewhere.example", length=len(body)) + body, 400)


async def test_a_missing_host_is_refused(world: World) -> None:
    body = act(id="hosts")
    await refused(world, head(world, length=len(body), host=False) + body, 400)


async def test_a_host_that_was_rebound_to_us_is_refused(world: World) -> None:
    body = act(id="rebound")
    rebound = head(world, "Host: attacker.example", length=len(body), host=False) + body
    await refused(world, rebound, 421)


@pytest.mark.parametrize("origin", ["https://attacker.example", "null", "http://127.0.0.1.attacker.example"])
async def test_a_web_page_of_somebody_else_is_refused(world: World, origin: str) -> None:
    body = act(id="origin")
    await refused(world, head(world, f"Origin: {origin}", length=len(body)) + body, 403)


async def test_two_tokens_are_no_token(world: World) -> None:
    body = act(id="tokens")
    await refused(world, head(world, f"Authorization: Bearer {world.token}", length=len(body)) + body, 401)


async def test_a_token_in_the_address_is_no_token(world: World) -> None:
    body = act(id="address")
    raw = head(world, length=len(body), token=False) + body
    await refused(world, raw.replace(b"POST /mcp", f"POST /mcp?access_token={world.token}".encode()), 401)


@pytest.mark.parametrize("path", ["//mcp", "/mcp/", "/mcp/../mcp", "/MCP", "/mcp%2F", "/./mcp", "/mcp;x"])
async def test_another_spelling_of_the_path_is_no_way_around_authentication(world: World, path: str) -> None:
    body = act(id="path")
    raw = head(world, length=len(body), token=False) + body
    await refused(world, raw.replace(b"POST /mcp", b"POST " + path.encode(), 1), 307, 400, 401, 404, 405)


async def test_the_name_in_the_header_does_not_open_what_the_body_asks_for(world: World) -> None:
    before = len(world.heard.calls)
    lying = headers("tools/call", world.narrow_token, name="echo__say")
    reply = await post(world.url, act(id="lying"), lying)
    assert (reply.status, reply.error["code"]) == (400, -32020)
    assert len(world.heard.calls) == before


async def test_a_repeated_name_header_is_refused(world: World) -> None:
    body = act(id="repeated")
    await refused(world, head(world, "Mcp-Name: echo__say", length=len(body)) + body, 400)


@pytest.mark.parametrize("names", [("echo__say", "remote__act"), ("remote__act", "echo__say")])
async def test_a_name_given_twice_in_the_body_never_reaches_the_hidden_tool(
    world: World, names: tuple[str, str]
) -> None:
    before = len(world.heard.calls)
    whole = json.dumps(message("tools/call", {"name": "NAME", "arguments": {"text": "hi", "id": "twice"}}))
    body = whole.replace('"name": "NAME"', f'"name": "{names[0]}", "name": "{names[1]}"').encode()
    for said in names:
        await post(world.url, body, headers("tools/call", world.narrow_token, name=said))
    assert len(world.heard.calls) == before
    await still_works(world)


@pytest.mark.parametrize("depth", [500, 15_000])
async def test_arguments_nested_beyond_reason_are_refused(world: World, depth: int) -> None:
    before = len(world.heard.calls)
    body = act(id="deep").replace(b'"deep"', b"[" * depth + b"]" * depth)
    reply = await post(world.url, body, headers("tools/call", world.token, name="remote__act"))
    assert reply.status < 500
    assert "error" in reply.body or reply.result["isError"]
    assert len(world.heard.calls) == before
    await still_works(world)


@pytest.mark.parametrize(
    "value", [rb'"\ud800"', b"1e999", b"9" * 5000, rb'"\u0000"'], ids=["surrogate", "inf", "long", "nul"]
)
async def test_values_that_json_allows_and_programs_do_not_expect_are_no_server_error(
    world: World, value: bytes
) -> None:
    body = act(id="odd").replace(b'"odd"', value)
    reply = await post(world.url, body, headers("tools/call", world.token, name="remote__act"))
    assert reply.status < 500
    assert reply.body is not None
    await still_works(world)


async def test_a_head_without_end_is_cut_off(world: World) -> None:
    endless = head(world, *(f"X-{n}: {'x' * 1000}" for n in range(1000)), length=0)
    await refused(world, endless, 400, 401, 413, 431)


async def test_a_body_without_end_is_refused_before_it_is_read(world: World) -> None:
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    endless = head(world, "Transfer-Encoding: chunked", length=None) + chunk * 64
    await refused(world, endless, 413)


async def test_a_declared_body_over_the_limit_is_refused_without_waiting_for_it(world: World) -> None:
    await refused(world, head(world, length=1 << 40), 413)


async def test_a_body_that_stops_in_the_middle_calls_nothing(world: World) -> None:
    body = act(id="half")
    await refused(world, head(world, length=len(body)) + body[: len(body) // 2])


async def test_a_compressed_body_is_not_unpacked(world: World) -> None:
    body = gzip.compress(act(id="packed"))
    await refused(world, head(world, "Content-Encoding: gzip", length=len(body)) + body, 400, 415)


async def test_nothing_of_the_caller_s_request_head_reaches_the_upstream(world: World) -> None:
    body = act(id="private")
    lines = ("Cookie: session=topsecret", "X-Forwarded-For: 10.9.8.7", "X-Api-Key: topsecret")
    assert statuses(await sent(world, head(world, *lines, length=len(body)) + body)) == [200]
    fields, received = world.heard.requests[-1]
    assert received["params"]["arguments"] == {"id": "private"}
    whole = (fields + json.dumps(received)).lower()
    for private in (world.token, "authorization", "topsecret", "10.9.8.7", "remote__act"):
        assert private.lower() not in whole


async def test_metadata_of_the_caller_is_not_passed_on(world: World) -> None:
    meta = {"com.example/secret": "topsecret", "io.toolbroker/parent_call": "forged"}
    body = json.dumps(message("tools/call", {"name": "remote__act", "arguments": {}}, meta=meta)).encode()
    assert (await post(world.url, body, headers("tools/call", world.token, name="remote__act"))).status == 200
    _, received = world.heard.requests[-1]
    assert "topsecret" not in json.dumps(received)
    assert "forged" not in json.dumps(received)


async def test_a_hundred_connections_that_say_nothing_stop_nobody(world: World) -> None:
    streams = [await anyio.connect_tcp("127.0.0.1", world.port) for _ in range(100)]
    try:
        for stream in streams[:50]:
            await stream.send(b"POST /mcp HTTP/1.1\r\nHost: ")
        await still_works(world)
    finally:
        for stream in streams:
            await stream.aclose()


async def test_the_server_s_own_log_holds_no_token_and_no_accident(world: World) -> None:
    await still_works(world)
    said = world.broker.said()
    assert world.token not in said
    assert world.narrow_token not in said
    assert "Traceback" not in said
