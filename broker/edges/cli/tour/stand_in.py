"""Who answers where there is no model? A server that speaks Chat Completions and has one thing to say."""

import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiohttp import web

ANSWER = "Hold the worst case of a call before it goes out, and settle what it cost when it is back. "
"""Said again and again, until the limit of the answer."""


@asynccontextmanager
async def listening(listener: socket.socket) -> AsyncGenerator[None]:
    """Serve while the body runs."""
    app = web.Application()
    app.router.add_post("/v1/chat/completions", _complete)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        yield
    finally:
        await runner.cleanup()


async def _complete(request: web.Request) -> web.StreamResponse:
    asked: dict[str, Any] = await request.json()
    most = int(asked.get("max_tokens") or 20)
    words = (ANSWER * (most // len(ANSWER.split()) + 1)).split(" ")[:most]
    read = sum(len(str(message["content"]).split()) for message in asked["messages"])
    usage = {"prompt_tokens": read, "completion_tokens": most, "total_tokens": read + most}
    head = {"id": "stand-in", "created": 0, "model": asked["model"]}
    if asked.get("stream") is not True:
        message = {"role": "assistant", "content": " ".join(words)}
        choice = {"index": 0, "message": message, "finish_reason": "length"}
        return web.json_response({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
    return await _stream(request, {**head, "object": "chat.completion.chunk"}, words, usage)


async def _stream(
    request: web.Request, head: dict[str, Any], words: Sequence[str], usage: dict[str, int]
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for number, word in enumerate(words, 1):
        why = "length" if number == len(words) else None
        choice = {"index": 0, "delta": {"content": f"{word} "}, "finish_reason": why}
        await _send(response, {**head, "choices": [choice]})
    await _send(response, {**head, "choices": [], "usage": usage})
    await response.write(b"data: [DONE]\n\n")
    return response


async def _send(response: web.StreamResponse, event: dict[str, Any]) -> None:
    await response.write(b"data: " + orjson.dumps(event) + b"\n\n")
