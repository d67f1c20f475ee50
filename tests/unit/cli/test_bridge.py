import json
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import mcp_types as types
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from broker.edges.cli.remote.client import http_session
from broker.edges.cli.remote.credentials import Credentials, Grant, Tokens
from broker.edges.cli.remote.exchange import Exchange, messages
from tests.unit.cli.conftest import Deployment

ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}


def parameters(deployment: Deployment, agent: str = "olga", **more: str) -> StdioServerParameters:
    secret = deployment.secret_file(agent).read_text().strip()
    who = {"BROKER_URL": deployment.url, "BROKER_CLIENT_ID": agent, "BROKER_CLIENT_SECRET": secret}
    return StdioServerParameters(command=sys.executable, args=["-m", "broker", "stdio"], env=who | more)


class Wire:
    """A host that writes and reads lines itself."""

    def __init__(self, process: anyio.abc.Process) -> None:
        self.process = process
        self._lines = BufferedByteReceiveStream(process.stdout)

    async def send(self, message: object) -> None:
        line = message if isinstance(message, bytes) else json.dumps(message).encode()
        await self.process.stdin.send(line + b"\n")

    async def line(self) -> bytes:
        with anyio.fail_after(15):
            return await self._lines.receive_until(b"\n", 1 << 24)

    async def read(self) -> dict:
        return json.loads(await self.line())

    async def ask(self, method: str, params: dict | None = None, *, request_id: int | str = 1) -> dict:
        await self.send({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params or {}})
        return await self.read()


@asynccontextmanager
async def host(deployment: Deployment, agent: str = "olga", **more: str) -> AsyncGenerator[Wire]:
    given = parameters(deployment, agent, **more)
    command = [given.command, *given.args]
    async with await anyio.open_process(command, env={**os.environ, **given.env}, stderr=-3) as process:
        yield Wire(process)
        if process.returncode is None:
            process.terminate()


def modern(name: str, **arguments: object) -> dict:
    return {"name": name, "arguments": arguments, "_meta": ENVELOPE}


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28", "auto"])
async def test_an_unmodified_stdio_client_lists_and_calls_tools_in_every_era(deployment, mode):
    async with Client(stdio_client(parameters(deployment)), mode=mode) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        assert "echo__say" in names
        result = await client.call_tool("echo__say", {"text": "hé", "times": 2})
        assert result.structured_content == {"said": "hé hé"}


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_progress_arrives_before_the_result(deployment, mode):
    seen: list[float] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        seen.append(done)

    async with Client(stdio_client(parameters(deployment)), mode=mode) as client:
        await client.call_tool("all__test_tool_with_progress", {}, progress_callback=progress)
    assert seen == [0, 50, 100]


async def test_a_result_that_the_broker_wants_fetched_later_is_fetched(deployment):
    async with Client(stdio_client(parameters(deployment)), mode="legacy") as client:
        result = await client.call_tool("all__test_reconnection", {})
    assert result.content[0].text.startswith("This answer was fetched after a reconnection")


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_questions_of_the_broker_reach_the_host_and_its_answers_come_back(deployment, mode):
    async def elicited(context, params) -> types.ElicitResult:
        return types.ElicitResult(action="accept", content={"username": "dana", "email": "d@example"})

    given = parameters(deployment)
    async with Client(stdio_client(given), mode=mode, elicitation_callback=elicited) as client:
        result = await client.call_tool("all__test_elicitation", {"message": "who are you?"})
    assert "dana" in result.content[0].text


async def test_what_the_upstream_sent_arrives_without_a_byte_changed_in_meaning(deployment):
    async with host(deployment) as wire:
        answer = await wire.ask("tools/call", modern("echo__say", text="zero\u0000, ≤ and \n newline"))
        assert answer["id"] == 1
        assert answer["result"]["structuredContent"] == {"said": "zero\u0000, ≤ and \n newline"}
        assert answer["result"]["_meta"]["io.toolbroker/call"]["id"]


async def test_ids_keep_their_type(deployment):
    async with host(deployment) as wire:
        for given in (7, "7", ""):
            assert (await wire.ask("tools/list", {"_meta": ENVELOPE}, request_id=given))["id"] == given


async def test_an_argument_that_belongs_into_a_header_is_put_there(deployment):
    async with host(deployment) as wire:
        for region in ("eu-west", "süd"):
            answer = await wire.ask("tools/call", modern("all__test_custom_headers", region=region))
            assert "error" not in answer, answer


async def test_requests_run_beside_each_other(deployment):
    async with host(deployment) as wire:
        slow = modern("all__test_wait", seconds=5)
        await wire.send({"jsonrpc": "2.0", "id": "slow", "method": "tools/call", "params": slow})
        answer = await wire.ask("tools/call", modern("echo__say", text="fast"), request_id="fast")
        assert answer["id"] == "fast"


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_a_cancelled_request_gets_no_answer_and_the_next_one_does(deployment, era):
    async with host(deployment) as wire:
        if era == "legacy":
            await wire.ask("initialize", INITIALIZE)
            await wire.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        params = modern("all__test_wait", seconds=30)
        if era == "legacy":
            del params["_meta"]
        await wire.send({"jsonrpc": "2.0", "id": "slow", "method": "tools/call", "params": params})
        await until_open(deployment)
        cancelled = {"requestId": "slow", "reason": "changed my mind"}
        await wire.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancelled})
        after = {"name": "echo__say", "arguments": {"text": "next"}}
        answer = await wire.ask(
            "tools/call", after | ({"_meta": ENVELOPE} if era == "modern" else {}), request_id="next"
        )
        assert answer["id"] == "next"
    outcome = [c for c in calls(deployment) if c["name"] == "all__test_wait"][-1]["outcome"]
    assert outcome == "cancelled"


async def until_open(deployment: Deployment) -> None:
    """Wait until the log has an intent without an end."""
    with anyio.fail_after(20):
        while not any(
            log["open_calls"]
            for log in json.loads(deployment.process("audit", "verify", "--json").stdout)["logs"]
        ):
            await anyio.lowlevel.checkpoint()


def calls(deployment: Deployment) -> list[dict]:
    done = deployment.process("calls", "tail", "--json")
    return [json.loads(line) for line in done.stdout.splitlines()]


async def test_a_refusal_reads_the_same_as_over_http(deployment):
    async with host(deployment, "rita") as wire:
        answer = await wire.ask("tools/call", modern("all__test_simple_text"))
        assert answer["result"]["isError"] is True
        assert answer["result"]["structuredContent"]["error"]["because"][0]["rule"] == "no-simple-text"


async def test_an_unknown_method_is_answered_with_the_broker_s_own_error(deployment):
    async with host(deployment) as wire:
        answer = await wire.ask("tools/explode", {"_meta": ENVELOPE}, request_id="x")
        assert (answer["id"], answer["error"]["code"]) == ("x", -32601)


@pytest.mark.parametrize(
    ("line", "code"), [(b"{not json", -32700), (b"[]", -32600), (b'"text"', -32600), (b"\xff", -32700)]
)
async def test_a_line_that_is_no_message_is_answered_and_the_next_one_is_heard(deployment, line, code):
    async with host(deployment) as wire:
        await wire.send(line)
        answer = await wire.read()
        assert (answer["id"], answer["error"]["code"]) == (None, code)
        assert "result" in await wire.ask("tools/list", {"_meta": ENVELOPE})


async def test_a_wrong_secret_is_answered_on_every_request_and_never_shown(deployment):
    async with host(deployment, BROKER_CLIENT_SECRET="bk_wrong") as wire:
        line = await wire.ask("tools/list", {"_meta": ENVELOPE})
        assert line["error"]["data"]["error"]["code"] == "unauthenticated"
        assert "bk_wrong" not in json.dumps(line)


async def test_without_a_broker_every_request_gets_an_error_that_says_what_to_do(deployment):
    async with host(deployment, BROKER_URL="http://127.0.0.1:1") as wire:
        answer = await wire.ask("tools/list", {"_meta": ENVELOPE})
        assert answer["error"]["message"] == "no broker at `http://127.0.0.1:1`: connection failed"
        assert "broker serve" in answer["error"]["data"]["error"]["hint"]


async def test_the_bridge_ends_when_the_host_closes_its_side(deployment):
    async with host(deployment) as wire:
        await wire.ask("initialize", INITIALIZE)
        await wire.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        await wire.process.stdin.aclose()
        with anyio.fail_after(10):
            assert await wire.process.wait() == 0


async def test_an_open_subscription_does_not_keep_the_bridge_from_ending(deployment):
    async with host(deployment) as wire:
        params = {"notifications": {"toolsListChanged": True}, "_meta": ENVELOPE}
        await wire.send({"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params})
        assert (await wire.read())["method"] == "notifications/subscriptions/acknowledged"
        await wire.process.stdin.aclose()
        with anyio.fail_after(10):
            assert await wire.process.wait() == 0


@asynccontextmanager
async def exchange(deployment: Deployment) -> AsyncGenerator[tuple[Exchange, Tokens]]:
    secret = deployment.secret_file("olga").read_text().strip()
    async with http_session() as http:
        tokens = Tokens(http, Credentials(deployment.url, "olga", secret))
        yield Exchange(http, deployment.url, tokens), tokens


async def answered(over: Exchange, method: str, params: dict) -> dict:
    line = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    async with over.posted(line) as response:
        (data,) = [data async for data in messages(response)]
        result = json.loads(data)["result"]
        if method == "initialize":
            over.opened(line, response, result)
        return result


async def test_a_session_that_is_not_known_any_more_is_opened_again(deployment):
    async with exchange(deployment) as (over, _):
        await answered(over, "initialize", INITIALIZE)
        over._session["Mcp-Session-Id"] = "from-another-broker"
        assert await answered(over, "tools/list", {})
        assert over._session["Mcp-Session-Id"] != "from-another-broker"


async def test_a_token_that_is_refused_is_replaced_once(deployment):
    async with exchange(deployment) as (over, tokens):
        tokens._grant = Grant("no-token-of-this-broker", 600, float("inf"))
        assert await answered(over, "initialize", INITIALIZE)


async def test_a_token_is_renewed_before_it_expires_and_shared_until_then(deployment):
    now = 0.0
    secret = deployment.secret_file("olga").read_text().strip()
    async with http_session() as http:
        tokens = Tokens(http, Credentials(deployment.url, "olga", secret), clock=lambda: now)
        first = await tokens.token()
        now = 479.0
        assert await tokens.token() == first
        now = 480.0
        assert await tokens.token() != first
