"""A house with models behind the model endpoint: the real pipeline and journal, no provider."""

import socket
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import httpx2

from broker.edges.admission import Admission
from broker.edges.models.endpoint import ModelEndpoint
from broker.identity.dpop import Proofs
from broker.ledger.prices import Prices
from broker.ledger.tables import PriceRule
from broker.ledger.tariff import ZERO, Steps, Tariff
from broker.model import Answer, Kind, Method, MicroUSD, Target
from broker.settings import LimitSettings, ServerSettings, Settings
from tests.unit.edges.house import House
from tests.unit.edges.serving import served
from tests.unit.identity.memory import MemoryReplays

FREE = Steps(ZERO)
ALL = (Method.CHAT, Method.RESPONSES, Method.EMBED, Method.MESSAGES)


class Unread:
    """A text that no guard looks at."""

    def feed(self, chunk):
        return chunk

    def close(self):
        return ""


class ModelHouse(House):
    """A house that also has models; a call of one costs 600 micro-USD."""

    prices = Prices(tables=(PriceRule("*", Tariff("house", FREE, FREE, call=Decimal("0.0006"))),))

    def model(
        self,
        name: str,
        behaviour: Callable[..., Awaitable[Answer]] | Answer,
        *aliases: str,
        methods: Any = ALL,
    ) -> Target:
        definition = {"id": name, "methods": list(methods), "aliases": list(aliases), "owned_by": "house"}
        target = Target(Kind.MODEL, name, "house", name, definition, price=MicroUSD(600))
        for known in (name, *aliases):
            self.found[(Kind.MODEL, known)] = target

        async def constant(method, params, line):
            return behaviour

        self.behaviours[name] = behaviour if callable(behaviour) else constant
        return target

    def stream(self, stage, scene, findings):
        return Unread()

    async def past(self, call):
        return None

    def find(self, call):
        return self.found.get((Kind.MODEL, call.name))

    def targets(self, kind):
        return sorted(set(super().targets(kind)), key=lambda target: target.name)


def chunk(text: str, **more: Any) -> dict[str, Any]:
    """One chunk of Chat Completions."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [choice],
        **more,
    }


def completion(text: str) -> dict[str, Any]:
    """A whole answer of Chat Completions."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    whole = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    return {**whole, "usage": usage, "a_field_of_tomorrow": 1}


def asking(text: str = "hello", model: str = "small", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


@asynccontextmanager
async def open_models(house: House, **limits: Any) -> AsyncGenerator[httpx2.AsyncClient]:
    """A client of the endpoint, on loopback; it has alice's token."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        settings = Settings(server=ServerSettings(port=port), limits=LimitSettings(**limits))
        admission = Admission(house, Proofs(MemoryReplays(), time.time), settings)
        endpoint = ModelEndpoint(house.pipeline(), admission, settings)
        headers = {"authorization": "Bearer alice-token"}
        base = f"http://127.0.0.1:{port}/v1/"
        async with (
            served(endpoint, listener),
            httpx2.AsyncClient(base_url=base, headers=headers, timeout=30) as http,
        ):
            yield http
