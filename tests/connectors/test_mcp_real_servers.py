"""Does the connector get along with servers that others have written, as they are?"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from broker.connector import Method
from tests.connectors.kit import ASKABLE, Caller, connected, text
from tests.e2e.processes import NODE, NODE_MODULES, free_port, process, python_upstream
from tests.e2e.venvs import venv

LEGACY, MODERN = Caller(modern=False), Caller(modern=True)
ANSWERS = {
    "elicitation/create": {"action": "accept", "content": {"username": "ada", "email": "a@example.org"}},
    "sampling/createMessage": {"role": "assistant", "content": {"type": "text", "text": "hi"}, "model": "m"},
    "roots/list": {"roots": []},
}


def able(*, modern: bool) -> Caller:
    return Caller(modern=modern, capabilities=ASKABLE, answers=ANSWERS)


@pytest.fixture(scope="module")
def everything(tmp_path_factory) -> Iterator[str]:
    with python_upstream("everything.py", log=tmp_path_factory.mktemp("log") / "everything.log") as url:
        yield url


@pytest.fixture(params=["http", "stdio"])
def python_everything(request, everything) -> dict:
    if request.param == "http":
        return {"url": everything, "allow_private": True}
    script = Path(__file__).parents[1] / "upstreams" / "everything.py"
    return {"command": [sys.executable, str(script)]}


def npm(package: str) -> list[str]:
    return [str(NODE), str(NODE_MODULES / "@modelcontextprotocol" / package / "dist" / "index.js")]


@contextmanager
def node_everything(log: Path) -> Iterator[str]:
    port = free_port()
    with process(
        [*npm("server-everything"), "streamableHttp"], log, environment={"PORT": str(port)}
    ) as child:
        while "listening" not in log.read_text() and child.poll() is None:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{port}/mcp"


@pytest.mark.parametrize("caller", [LEGACY, MODERN])
async def test_the_time_server_tells_the_time(caller):
    command = [str(venv("mcp2") / "mcp-server-time"), "--local-timezone", "UTC"]
    async with connected(command=command) as rig:
        assert [tool["name"] for tool in (await rig.offer()).tools] == ["get_current_time", "convert_time"]
        body = await rig.call("get_current_time", {"timezone": "Europe/Vienna"}, caller)
    assert json.loads(text(body))["timezone"] == "Europe/Vienna"


async def test_the_git_server_shows_a_repository(tmp_path):
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True, timeout=30)
    async with connected(
        command=[str(venv("mcp2") / "mcp-server-git"), "--repository", str(tmp_path)]
    ) as rig:
        assert len((await rig.offer()).tools) == 12
        assert "No commits yet" in text(await rig.call("git_status", {"repo_path": str(tmp_path)}))


async def test_the_sqlite_server_on_mcp_1_keeps_data(tmp_path):
    command = [str(venv("mcp1") / "mcp-server-sqlite"), "--db-path", str(tmp_path / "data.db")]
    async with connected(command=command) as rig:
        await rig.call("create_table", {"query": "create table birds (name text)"})
        assert "birds" in text(await rig.call("list_tables", {}, LEGACY))


async def test_progress_logs_and_resources_of_the_python_server_arrive(python_everything):
    async with connected(**python_everything) as rig:
        offer = await rig.offer()
        assert (offer.completes, offer.watches) == (True, True)
        assert all((offer.tools, offer.resources, offer.templates, offer.prompts))
        for modern in (True, False):
            caller = able(modern=modern)
            await rig.call("test_tool_with_progress", None, caller, wants_progress=True)
            assert [p["progress"] for _, p in caller.heard] == [0, 50, 100]
            await rig.call("test_tool_with_logging", None, caller, log_level="info")
            assert [m for m, _ in caller.heard[3:]] == ["notifications/message"] * 3
        read = await rig.ask(Method.READ_RESOURCE, {"uri": offer.resources[0]["uri"]})
    assert read.body["contents"]


async def test_a_legacy_caller_is_asked_by_the_python_server_and_a_modern_one_gets_the_question(
    python_everything,
):
    async with connected(**python_everything) as rig:
        legacy, modern = able(modern=False), able(modern=True)
        body = await rig.call("test_elicitation", {"message": "who?"}, legacy)
        question = await rig.call("test_elicitation", {"message": "who?"}, modern)
    assert "action=accept" in text(body)
    assert [method for method, _ in legacy.asked] == ["elicitation/create"]
    assert question["resultType"] == "input_required"
    assert modern.asked == []


async def test_a_stream_that_the_python_server_closes_is_resumed(everything):
    async with connected(url=everything, allow_private=True) as rig:
        body = await rig.call("test_reconnection", None, LEGACY)
    assert "after a reconnection" in text(body)


async def test_a_changed_tool_list_of_the_python_server_is_heard(python_everything):
    async with connected(**python_everything) as rig:
        await rig.offer()
        with anyio.fail_after(10):
            while "changed" not in rig.news:  # listening begins when the server has acknowledged it
                await rig.call("test_trigger_tool_change")
                await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_the_node_server_asks_reports_and_completes(transport, tmp_path):
    if transport == "stdio":
        await _use_node({"command": [*npm("server-everything"), "stdio"]})
    else:
        with node_everything(tmp_path / "log") as url:
            await _use_node({"url": url, "allow_private": True})


async def _use_node(settings: dict) -> None:
    async with connected(**settings) as rig:
        offer = await rig.offer()
        assert {"echo", "get-sum"} <= {tool["name"] for tool in offer.tools}
        assert text(await rig.call("echo", {"message": "hello"})) == "Echo: hello"
        caller = able(modern=False)
        running = {"duration": 0.2, "steps": 2}
        await rig.call("trigger-long-running-operation", running, caller, wants_progress=True)
        assert [params["progress"] for method, params in caller.heard if method.endswith("progress")] == [
            1,
            2,
        ]
        sampled = await rig.call("trigger-sampling-request", {"prompt": "say hi", "maxTokens": 9}, caller)
        assert "hi" in text(sampled)
        assert "sampling/createMessage" in {method for method, _ in caller.asked}
        completed = await rig.ask(
            Method.COMPLETE,
            {
                "ref": {"type": "ref/prompt", "name": "completable-prompt"},
                "argument": {"name": "department", "value": "S"},
            },
        )
        assert "Sales" in completed.body["completion"]["values"]


async def test_the_file_server_reads_only_what_it_may(tmp_path):
    (tmp_path / "note.txt").write_text("only here")
    async with connected(command=[*npm("server-filesystem"), str(tmp_path)]) as rig:
        assert text(await rig.call("read_text_file", {"path": str(tmp_path / "note.txt")})) == "only here"
        assert (await rig.call("read_text_file", {"path": "/etc/passwd"}))["isError"]
