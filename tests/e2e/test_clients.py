"""Which clients work, as their makers publish them, with nothing but a client id and a secret?"""

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest
from joserfc.jwk import ECKey
from mcp import Client, StdioServerParameters
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.streamable_http import streamable_http_client

from tests.e2e.clients._task import Memory
from tests.e2e.conftest import World
from tests.e2e.deployment import BROKER, Credentials
from tests.e2e.processes import NODE, NODE_MODULES, ROOT

pytestmark = pytest.mark.timeout(300)  # the first test of a session sets everything up

CLIENTS = Path(__file__).parent / "clients"
CALL_S = 60
SAID = "the broker says hello"
SAY: dict[str, Any] = {"text": SAID}


def run(command: Sequence[str | Path], who: Credentials, **environment: str) -> Any:
    """What a client program prints, as JSON. It gets the credentials and little else."""
    done = subprocess.run(
        [str(part) for part in command],
        env={
            "PATH": os.environ["PATH"],
            "HOME": os.environ["HOME"],
            "BROKER_CLIENT_ID": who.client_id,
            "BROKER_CLIENT_SECRET": who.client_secret,
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=CALL_S,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return json.loads(done.stdout)


def assert_listed_and_called(tools: Sequence[str], text: str) -> None:
    assert {"echo__say", "git__git_log", "everything__echo", "python__test_simple_text"} <= set(tools)
    assert SAID in text


@pytest.mark.parametrize(("mode", "revision"), [("auto", "2026-07-28"), ("legacy", "2025-11-25")])
async def test_the_mcp_package_lists_and_calls_in_both_eras(world: World, mode: Any, revision: str) -> None:
    provider = ClientCredentialsOAuthProvider(
        server_url=world.broker.mcp_url,
        storage=Memory(),
        client_id=world.operator.client_id,
        client_secret=world.operator.client_secret,
        issuer=world.broker.issuer,
    )
    async with httpx2.AsyncClient(auth=provider, timeout=CALL_S) as http:
        transport = streamable_http_client(world.broker.mcp_url, http_client=http)
        async with Client(transport, mode=mode) as client:
            tools = await client.list_tools()
            result = await client.call_tool("echo__say", SAY)
            assert client.protocol_version == revision
    assert_listed_and_called([tool.name for tool in tools.tools], result.content[0].text)


@pytest.mark.parametrize("client", ["fastmcp_client", "openai_agents_client"])
def test_clients_built_on_mcp_2_list_and_call(world: World, mcp2: Path, client: str) -> None:
    answer = run([mcp2 / "python", CLIENTS / f"{client}.py", *_task(world)], world.operator)
    assert_listed_and_called(answer["tools"], answer["text"])


def test_langchain_lists_and_calls(world: World, mcp1: Path) -> None:
    answer = run([mcp1 / "python", CLIENTS / "langchain_client.py", *_task(world)], world.operator)
    assert_listed_and_called(answer["tools"], answer["text"])


@pytest.mark.parametrize(("mode", "revision"), [("auto", "2026-07-28"), ("legacy", "2025-11-25")])
def test_the_typescript_client_lists_and_calls_in_both_eras(world: World, mode: str, revision: str) -> None:
    url, issuer, *call = _task(world)
    script = ROOT / "tests" / "node" / "typescript_client.mjs"
    answer = run([NODE, script, NODE_MODULES.parent, url, issuer, mode, *call], world.operator)
    assert answer["version"] == revision
    assert_listed_and_called(answer["tools"], answer["result"]["content"][0]["text"])


def test_the_typescript_client_with_a_key_needs_no_secret(world: World, tmp_path: Path) -> None:
    key = ECKey.generate_key("P-256")
    public = tmp_path / "key.jwk"
    public.write_text(json.dumps(key.as_dict(private=False)))
    world.broker.command("agent", "key", "add", world.operator.client_id, "--jwk", str(public))
    url, issuer, *call = _task(world)
    script = ROOT / "tests" / "node" / "typescript_client.mjs"
    private = json.dumps(key.as_dict(private=True))
    answer = run(
        [NODE, script, NODE_MODULES.parent, url, issuer, "auto", *call],
        world.operator,
        BROKER_CLIENT_SECRET="",
        BROKER_CLIENT_KEY=private,
    )
    assert_listed_and_called(answer["tools"], answer["result"]["content"][0]["text"])


@pytest.mark.parametrize("era", ["modern", "legacy"])
def test_the_inspector_lists_and_calls_in_both_eras(world: World, era: str, tmp_path: Path) -> None:
    token = world.broker.token(world.operator)
    inspector = [
        NODE,
        NODE_MODULES / "@modelcontextprotocol" / "inspector" / "clients" / "launcher" / "build" / "index.js",
    ]
    base = [*inspector, "--cli", world.broker.mcp_url, "--transport", "http", "--protocol-era", era]
    base += ["--header", f"Authorization: Bearer {token}", "--format", "json"]
    home = {"HOME": str(tmp_path)}
    listed = run([*base, "--method", "tools/list"], world.operator, **home)
    called = run(
        [*base, "--method", "tools/call", "--tool-name", "echo__say", "--tool-arg", f"text={SAID}"],
        world.operator,
        **home,
    )
    tools = listed.get("result", listed)["tools"]
    assert_listed_and_called([tool["name"] for tool in tools], json.dumps(called))


async def test_hosts_that_speak_only_stdio_come_in_through_mcp_remote(world: World, tmp_path: Path) -> None:
    registration = {"client_id": world.operator.client_id, "client_secret": "${BROKER_CLIENT_SECRET}"}
    bridge = StdioServerParameters(
        command=str(NODE),
        args=[
            str(NODE_MODULES / "mcp-remote" / "dist" / "proxy.js"),
            world.broker.mcp_url,
            "--client-credentials",
            *("--static-oauth-client-info", json.dumps(registration)),
            *("--transport", "http-only"),
            "--allow-http",
        ],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "MCP_REMOTE_CONFIG_DIR": str(tmp_path / "mcp-auth"),
            "BROKER_CLIENT_SECRET": world.operator.client_secret,
        },
    )
    async with Client(bridge, read_timeout_seconds=CALL_S) as client:
        tools = await client.list_tools()
        result = await client.call_tool("echo__say", SAY)
    assert_listed_and_called([tool.name for tool in tools.tools], result.content[0].text)


@pytest.mark.parametrize(("mode", "revision"), [("auto", "2026-07-28"), ("legacy", "2025-11-25")])
async def test_hosts_that_speak_only_stdio_come_in_through_the_bridge(
    world: World, mode: Any, revision: str
) -> None:
    bridge = StdioServerParameters(
        command=str(BROKER),
        args=["stdio", "--url", world.broker.url, "--client-id", world.operator.client_id],
        env={"PATH": os.environ["PATH"], "BROKER_CLIENT_SECRET": world.operator.client_secret},
    )
    async with Client(bridge, mode=mode, read_timeout_seconds=CALL_S) as client:
        tools = await client.list_tools()
        result = await client.call_tool("echo__say", SAY)
        assert client.protocol_version == revision
    assert_listed_and_called([tool.name for tool in tools.tools], result.content[0].text)


def _task(world: World) -> list[str]:
    return [world.broker.mcp_url, world.broker.issuer, "echo__say", json.dumps(SAY)]
