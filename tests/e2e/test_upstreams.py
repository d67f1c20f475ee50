"""Which upstreams work behind the broker, as their makers publish them?"""

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.e2e.conftest import World
from tests.e2e.deployment import Credentials

pytestmark = pytest.mark.timeout(300)  # the first test of a session sets everything up


@asynccontextmanager
async def connected(world: World, who: Credentials) -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {world.broker.token(who)}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        Client(streamable_http_client(world.broker.mcp_url, http_client=http)) as client,
    ):
        yield client


async def listed(client: Client, connector: str) -> set[str]:
    tools = (await client.list_tools()).tools
    return {t.name.removeprefix(f"{connector}__") for t in tools if t.name.startswith(f"{connector}__")}


async def called(client: Client, tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    text = "\n".join(block.text for block in result.content if block.type == "text")
    assert not result.is_error, text
    return text


async def test_the_time_server_tells_the_time(world: World) -> None:
    async with connected(world, world.operator) as client:
        assert await listed(client, "time") == {"get_current_time", "convert_time"}
        assert '"timezone": "UTC"' in await called(client, "time__get_current_time", timezone="UTC")


async def test_the_git_server_shows_the_log(world: World) -> None:
    async with connected(world, world.operator) as client:
        assert len(await listed(client, "git")) == 12
        repository = str(world.folder / "repository")
        assert "the first commit" in await called(client, "git__git_log", repo_path=repository)


async def test_the_fetch_server_fetches(world: World, page: str) -> None:
    async with connected(world, world.operator) as client:
        assert await listed(client, "fetch") == {"fetch"}
        assert "a page of plain text" in await called(client, "fetch__fetch", url=page)


async def test_the_sqlite_server_of_the_mcp_1_era_reads_what_it_wrote(world: World) -> None:
    async with connected(world, world.operator) as client:
        assert len(await listed(client, "sqlite")) == 6
        await called(client, "sqlite__create_table", query="CREATE TABLE birds (name TEXT)")
        await called(client, "sqlite__write_query", query="INSERT INTO birds VALUES ('wren')")
        assert "wren" in await called(client, "sqlite__read_query", query="SELECT name FROM birds")


async def test_the_everything_server_from_npm_echoes(world: World) -> None:
    async with connected(world, world.operator) as client:
        assert {"echo", "get-sum"} <= await listed(client, "everything")
        assert "hello" in await called(client, "everything__echo", message="hello")


async def test_the_filesystem_server_reads_a_file(world: World) -> None:
    async with connected(world, world.operator) as client:
        assert len(await listed(client, "files")) == 14
        note = str(world.folder / "files" / "note.txt")
        assert "only the file system knows" in await called(client, "files__read_text_file", path=note)


async def test_the_memory_server_remembers(world: World) -> None:
    entity = {"name": "wren", "entityType": "bird", "observations": ["sings loudly"]}
    async with connected(world, world.operator) as client:
        assert len(await listed(client, "memory")) == 9
        await called(client, "memory__create_entities", entities=[entity])
        assert "sings loudly" in await called(client, "memory__search_nodes", query="wren")


async def test_resources_and_prompts_of_an_upstream_are_read_under_their_exposed_names(world: World) -> None:
    async with connected(world, world.operator) as client:
        prompts = [p.name for p in (await client.list_prompts()).prompts if p.name.startswith("python__")]
        assert "python__test_simple_prompt" in prompts
        prompt = await client.get_prompt("python__test_simple_prompt")
        assert prompt.messages[0].content.text == "This is a simple prompt for testing."
        resources = (await client.list_resources()).resources
        uri = next(r.uri for r in resources if r.name == "static-text")
        (contents,) = (await client.read_resource(uri)).contents
        assert (str(contents.uri), contents.text) == (
            str(uri),
            "This is the content of the static text resource.",
        )


async def test_a_reader_is_shown_only_what_reads(world: World) -> None:
    async with connected(world, world.operator) as client:
        everything = {tool.name for tool in (await client.list_tools()).tools}
    async with connected(world, world.reader) as client:
        visible = {tool.name for tool in (await client.list_tools()).tools}
    assert "echo__say" in visible
    assert visible < everything
    assert "sqlite__write_query" in everything - visible


async def test_a_tool_that_is_not_shown_answers_like_one_that_does_not_exist(world: World) -> None:
    async with connected(world, world.reader) as client:
        hidden = await _refusal(client, "sqlite__write_query")
        missing = await _refusal(client, "sqlite__no_such_tool")
    assert hidden.replace("write_query", "no_such_tool") == missing


async def _refusal(client: Client, tool: str) -> str:
    try:
        result = await client.call_tool(tool, {"query": "DROP TABLE birds"})
    except Exception as error:  # noqa: BLE001 - whichever way it is refused, both must be alike
        return f"{type(error).__name__}: {error}"
    assert result.is_error
    return result.content[0].text


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"a page of plain text\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def page() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/page.txt"
        server.shutdown()
        thread.join()
