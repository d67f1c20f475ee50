"""Do upstream and caller understand each other through the broker, when they are of different eras?

Callers of 2025-11-25 are asked in a request of the server's own; callers of 2026-07-28 in the answer to
theirs. The same holds for upstreams: `python` speaks both eras, `asking` (mcp 1.x) only the first.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx2
import mcp_types as types
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from tests.e2e.conftest import World

pytestmark = pytest.mark.timeout(300)  # the first test of a session sets everything up

both_eras = pytest.mark.parametrize("mode", ["auto", "legacy"])


@asynccontextmanager
async def connected(world: World, mode: Any, **callbacks: Any) -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {world.broker.token(world.operator)}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30) as http,
        Client(
            streamable_http_client(world.broker.mcp_url, http_client=http), mode=mode, **callbacks
        ) as client,
    ):
        yield client


def text_of(result: types.CallToolResult) -> str:
    assert not result.is_error, result.content
    return result.content[0].text


async def ada(_ctx: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
    assert params.message == "What is your name?"
    return types.ElicitResult(action="accept", content={"name": "Ada"})


async def parrot(_ctx: Any, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
    said = f"you said: {params.messages[0].content.text}"
    return types.CreateMessageResult(
        role="assistant", content=types.TextContent(type="text", text=said), model="m"
    )


@both_eras
async def test_a_question_of_an_upstream_of_both_eras_reaches_the_user(world: World, mode: Any) -> None:
    async with connected(world, mode, elicitation_callback=ada) as client:
        result = await client.call_tool("python__test_input_required_result_elicitation", {})
    assert text_of(result) == "Hello, Ada!"


async def test_a_question_of_an_upstream_with_sessions_reaches_a_user_with_a_session(world: World) -> None:
    async with connected(world, "legacy", elicitation_callback=ada) as client:
        result = await client.call_tool("asking__greet", {})
    assert text_of(result) == "Hello, Ada!"


async def test_a_question_in_the_middle_of_a_call_is_refused_where_the_caller_has_no_session(
    world: World,
) -> None:
    """It would have to hold the upstream's call open until the caller repeats its own, which it never may."""
    async with connected(world, "auto", elicitation_callback=ada) as client:
        result = await client.call_tool("asking__greet", {})
    assert result.is_error
    assert "elicitation" in result.content[0].text


@both_eras
async def test_a_question_to_a_caller_that_takes_none_is_never_asked(world: World, mode: Any) -> None:
    async with connected(world, mode) as client:
        with pytest.raises(MCPError, match="elicitation"):
            await client.call_tool("python__test_input_required_result_elicitation", {})


@both_eras
async def test_an_upstream_may_use_the_callers_model(world: World, mode: Any) -> None:
    async with connected(world, mode, sampling_callback=parrot) as client:
        result = await client.call_tool("python__test_sampling", {"prompt": "good morning"})
    assert text_of(result) == "LLM response: you said: good morning"


@both_eras
async def test_progress_arrives_in_order_under_the_callers_own_token(world: World, mode: Any) -> None:
    seen: list[tuple[float, float | None]] = []

    async def progress(done: float, total: float | None, _message: str | None) -> None:
        seen.append((done, total))

    async with connected(world, mode) as client:
        await client.call_tool("python__test_tool_with_progress", {}, progress_callback=progress)
    assert seen == [(0, 100), (50, 100), (100, 100)]


async def test_a_changed_list_of_an_upstream_is_told_to_callers_without_sessions(world: World) -> None:
    async with connected(world, "auto") as client:
        before = await _names(client)
        async with client.listen(tools_list_changed=True) as changes:
            await client.call_tool("python__test_trigger_tool_change", {})
            with anyio.fail_after(10):
                await anext(aiter(changes))
            assert await _names(client) ^ before == {"python__test_sometimes"}


async def test_a_changed_list_of_an_upstream_is_told_to_callers_with_sessions(world: World) -> None:
    told = anyio.Event()

    async def listen(message: Any) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            told.set()

    async with connected(world, "legacy", message_handler=listen) as client:
        before = await _names(client)
        await client.call_tool("python__test_trigger_tool_change", {})
        with anyio.fail_after(10):
            await told.wait()
        assert await _names(client) ^ before == {"python__test_sometimes"}


async def test_an_update_of_a_watched_resource_is_told_under_its_exposed_uri(world: World) -> None:
    async with connected(world, "auto") as client:
        uri = next(r.uri for r in (await client.list_resources()).resources if r.name == "watched-resource")
        async with client.listen(resource_subscriptions=[uri]) as changes:
            await client.call_tool("python__test_trigger_resource_update", {})
            with anyio.fail_after(10):
                event = await anext(aiter(changes))
            assert event.uri == uri


async def _names(client: Client) -> set[str]:
    return {tool.name for tool in (await client.list_tools(cache_mode="bypass")).tools}
