"""Providers of models: which address is asked, what goes along, and what an answer is said to cost."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from broker.connector import Host, Json, Method, Request, UpstreamLost, UpstreamRefused, UpstreamUnreachable
from connectors.anthropic import Anthropic, AnthropicSettings
from connectors.models.provider import Provider
from connectors.openai_compatible import OpenAiCompatible, OpenAiSettings
from tests.connectors.kit import Caller, Handler, line, serving
from tests.unit.edges.model_house import asking, chunk, completion

CLOSED = "http://127.0.0.1:9"


class Listener(Caller):
    """Keeps the events of a stream."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Json] = []

    async def deliver(self, event: Json) -> bool:
        self.events.append(event)
        return True


class Server:
    """A provider that does one thing, and keeps what it was asked."""

    def __init__(self, does: Handler) -> None:
        self.does = does
        self.asked: list[web.Request] = []

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        return await self.does(request)


def answering(body: Json, status: int = 200) -> Server:
    async def does(request: web.Request) -> web.StreamResponse:
        return web.json_response(body, status=status)

    return Server(does)


def breaking_off() -> Server:
    """Begins a stream and goes away."""

    async def does(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(f"data: {json.dumps(chunk('one '))}\n\n".encode())
        assert request.transport is not None
        request.transport.abort()
        return response

    return Server(does)


@asynccontextmanager
async def opened(
    *servers: Server | str, provider: Provider | None = None, **settings: Any
) -> AsyncIterator[Provider]:
    """A connector in front of these servers, the first of which is its `url`."""
    async with AsyncExitStack() as stack:
        urls = [
            server if isinstance(server, str) else await stack.enter_async_context(serving(server))
            for server in servers
        ]
        provider = provider or OpenAiCompatible()
        kind = AnthropicSettings if isinstance(provider, Anthropic) else OpenAiSettings
        chosen = kind(
            url=urls[0], fallbacks=tuple(urls[1:]), allow_private=True, models={"small": {}}, **settings
        )
        await provider.open(chosen, Host("up", Path("unused"), str, lambda: None, lambda _: None))
        try:
            yield provider
        finally:
            await provider.close()


async def ask(
    provider: Provider, *, listener: Listener | None = None, betas: tuple[str, ...] = (), **more: Any
):
    request = Request(Method.CHAT, asking(stream=listener is not None, **more))
    return await provider.invoke(request, line(listener, betas=betas))


@pytest.mark.parametrize("status", [429, 500, 503, 529])
async def test_the_next_address_is_asked_where_one_answers_that_it_cannot(status) -> None:
    tired, fresh = answering({"error": {"message": "tired"}}, status), answering(completion("hi"))
    async with opened(tired, fresh) as provider:
        answer = await ask(provider)
    assert answer.body == completion("hi")
    assert (len(tired.asked), len(fresh.asked)) == (1, 1)


async def test_the_next_address_is_asked_where_one_cannot_be_reached() -> None:
    fresh = answering(completion("hi"))
    async with opened(CLOSED, fresh) as provider:
        assert (await ask(provider)).body == completion("hi")


async def test_who_has_no_address_left_is_told_of_the_last_failure() -> None:
    async with opened(CLOSED, CLOSED) as provider:
        with pytest.raises(UpstreamUnreachable):
            await ask(provider)
    async with opened(CLOSED, answering({"error": {"message": "tired"}}, 529)) as provider:
        with pytest.raises(UpstreamRefused, match="tired"):
            await ask(provider)


@pytest.mark.parametrize("status", [400, 401, 404, 422])
async def test_a_refusal_of_the_request_itself_is_not_taken_elsewhere(status) -> None:
    strict, fresh = answering({"error": {"message": "no"}}, status), answering(completion("hi"))
    async with opened(strict, fresh) as provider:
        with pytest.raises(UpstreamRefused):
            await ask(provider)
    assert fresh.asked == []


@pytest.mark.parametrize("status", [502, 504])
async def test_nobody_else_is_asked_where_it_is_not_known_what_was_done(status) -> None:
    unsure, fresh = answering({}, status), answering(completion("hi"))
    async with opened(unsure, fresh) as provider:
        with pytest.raises(UpstreamLost):
            await ask(provider)
    assert fresh.asked == []


async def test_nobody_else_is_asked_once_the_first_byte_has_come() -> None:
    begun, fresh = breaking_off(), answering(completion("hi"))
    listener = Listener()
    async with opened(begun, fresh) as provider:
        with pytest.raises(UpstreamLost):
            await ask(provider, listener=listener)
    assert listener.events == [chunk("one ")]
    assert (len(begun.asked), fresh.asked) == (1, [])


@pytest.mark.parametrize(
    ("said", "cost"),
    [
        (0.00012, 120),
        ("0.0000001", 1),  # never less than it costs
        (0, 0),
        (None, None),
        (True, None),
        ("much", None),
        ("NaN", None),
    ],
)
async def test_the_cost_that_a_provider_reports_is_taken_where_the_operator_says_so(said, cost) -> None:
    whole = completion("hi")
    server = answering({**whole, "usage": {**whole["usage"], "cost": said}})
    async with opened(server, reports_cost=True) as provider:
        assert (await ask(provider)).cost == cost
    async with opened(server) as provider:
        assert (await ask(provider)).cost is None


async def test_features_on_trial_go_on_where_the_operator_lets_them() -> None:
    server = answering(completion("hi"))
    async with opened(server, betas=("long-*", "exact")) as provider:
        await ask(provider, betas=("long-context", "exact", "own-tools"))
        await ask(provider, betas=("own-tools",))
        await ask(provider)
    assert [r.headers.get("OpenAI-Beta") for r in server.asked] == ["long-context,exact", None, None]


async def test_anthropic_counts_tokens_for_nothing() -> None:
    server = answering({"input_tokens": 7})
    async with opened(server, provider=Anthropic(), betas=("*",)) as provider:
        (model,) = (await provider.offer()).models
        answer = await provider.invoke(Request(Method.COUNT, asking()), line(betas=("a", "b")))
    assert model["methods"] == ["messages", "messages/count_tokens"]
    assert (answer.body, answer.cost) == ({"input_tokens": 7}, 0)
    (request,) = server.asked
    assert request.path.endswith("/messages/count_tokens")
    assert request.headers["anthropic-beta"] == "a,b"
