"""Which upstream speaks as model providers do? This one: the wire formats of OpenAI and of Anthropic.

    python tests/upstreams/providers.py --port 0      prints its address, then serves

Shapes, errors and orders of events follow the types of the providers' own packages, which call it in
`tests/e2e/test_providers.py`. What it answers, the last message of the request says (`providers_mind.py`).
A stream that was asked to go "step by step" gives one piece for each that `/control/steps` allows.
"""

import argparse
import socket
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import anyio.lowlevel
import orjson
import providers_anthropic as anthropic
import providers_openai as openai
import uvicorn
from providers_mind import Plan, think
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

KEYS = {"sk-openai-test", "sk-anthropic-test"}
"""Who presents another key gets a 401."""

MODELS = ["small-1", "large-1", "embed-1"]


class Json(Response):
    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


class Provider:
    """The server, what it was asked, and how far each answer came."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.answers: list[dict[str, Any]] = []
        """For each answer that has ended: how many tokens were given, and whether that was all of it."""
        self._steps = anyio.Semaphore(0)
        self._news = anyio.Condition()

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/models", self._models),
                Route("/v1/chat/completions", self._serving(openai.Chat), methods=["POST"]),
                Route("/v1/responses", self._serving(openai.Responses), methods=["POST"]),
                Route("/v1/messages", self._serving(anthropic.Messages), methods=["POST"]),
                Route("/v1/messages/count_tokens", self._count, methods=["POST"]),
                Route("/v1/embeddings", self._embeddings, methods=["POST"]),
                Route("/control/requests", self._asked),
                Route("/control/answers", self._answered),
                Route("/control/steps", self._allow, methods=["POST"]),
            ]
        )

    def _serving(self, wire: Any) -> Any:
        async def serve(request: Request) -> Response:
            body = await self._read(request)
            if refused := self._refusal(request, body):
                return _error(wire, *refused)
            asked = wire.asked(body)
            plan = think(asked)
            if plan.status:
                return _error(wire, plan.status, plan.text)
            if not body.get("stream"):
                self.answers.append({"tokens": plan.tokens, "whole": True})
                return Json(wire.whole(body, asked, plan))
            return StreamingResponse(self._stream(wire, body, asked, plan), media_type="text/event-stream")

        return serve

    async def _stream(self, wire: Any, body: Any, asked: Any, plan: Plan) -> AsyncGenerator[bytes]:
        given = 0
        try:
            async for piece, frame in wire.stream(body, asked, plan):
                if piece and plan.stepped:
                    await self._steps.acquire()
                await anyio.lowlevel.checkpoint()  # notices a client that has gone away
                given += piece
                yield frame
        finally:
            with anyio.CancelScope(shield=True):
                await self._note({"tokens": given, "whole": given == plan.tokens})

    async def _read(self, request: Request) -> Any:
        body = orjson.loads(await request.body())
        headers = {k: v for k, v in request.headers.items() if k not in {"content-length", "host"}}
        self.requests.append({"path": request.url.path, "headers": headers, "body": body})
        return body

    def _refusal(self, request: Request, body: Any) -> tuple[int, str] | None:
        key = request.headers.get("x-api-key") or request.headers.get("authorization", "").partition(" ")[2]
        if key not in KEYS:
            return 401, "Incorrect API key provided"
        if body.get("model") not in MODELS:
            return 404, f"The model `{body.get('model')}` does not exist"
        return None

    async def _models(self, _: Request) -> Response:
        return Json({"object": "list", "data": [openai.model(name) for name in MODELS]})

    async def _count(self, request: Request) -> Response:
        body = await self._read(request)
        if refused := self._refusal(request, body):
            return _error(anthropic.Messages, *refused)
        return Json({"input_tokens": anthropic.Messages.asked({**body, "max_tokens": 1}).read})

    async def _embeddings(self, request: Request) -> Response:
        body = await self._read(request)
        if refused := self._refusal(request, body):
            return _error(openai.Chat, *refused)
        return Json(openai.embeddings(body))

    async def _asked(self, _: Request) -> Response:
        return Json(self.requests)

    async def _answered(self, request: Request) -> Response:
        """All answers, once there are `count` of them."""
        count = int(request.query_params.get("count", "0"))
        async with self._news:
            while len(self.answers) < count:
                await self._news.wait()
        return Json(self.answers)

    async def _allow(self, request: Request) -> Response:
        for _ in range(int(request.query_params["count"])):
            self._steps.release()
        return Json({})

    async def _note(self, answer: dict[str, Any]) -> None:
        self.answers.append(answer)
        async with self._news:
            self._news.notify_all()


def _error(wire: Any, status: int, message: str) -> Response:
    headers = {"retry-after": "1"} if status == 429 else {}
    return Response(orjson.dumps(wire.error(status, message)), status, headers, media_type="application/json")


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--port", type=int, default=0)
    with socket.create_server(("127.0.0.1", options.parse_args().port)) as listener:
        print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        config = uvicorn.Config(Provider().app(), log_level="warning", lifespan="off", ws="none")
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
