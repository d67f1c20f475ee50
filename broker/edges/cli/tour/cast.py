"""Who acts in the demo? Two agents, enrolled like any others, with tokens from the token endpoint."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import aiohttp
import orjson

from broker.edges.cli.composition import App
from broker.edges.cli.remote.client import Client
from broker.edges.cli.remote.credentials import Credentials, Tokens
from broker.edges.cli.tour.place import Place
from broker.identity.clients import digest, new_secret
from broker.model import Agent, AgentId, Json, OrganisationId

ROLES = {"researcher": "researcher", "maintainer": "maintainer"}
OPERATOR = "broker demo"
_TOLD = b": toolbroker "


@dataclass(frozen=True, slots=True)
class Reply:
    """What an agent got back from one call, and how long it waited."""

    result: Json
    took_ms: float

    @property
    def text(self) -> str:
        """The text blocks of the result."""
        blocks = cast("list[dict[str, Any]]", self.result.get("content") or [])
        return "\n".join(str(block["text"]) for block in blocks if "text" in block)

    @property
    def call(self) -> str:
        """The broker's id of the call."""
        return str(self._of_broker("call").get("id", ""))

    @property
    def cost(self) -> int:
        """What it cost, in micro-USD."""
        return int(self._of_broker("call").get("cost_micro_usd", 0))

    @property
    def budgets(self) -> list[dict[str, Any]]:
        """What is said of budgets that are running out."""
        meta = cast("Json", self.result.get("_meta") or {})
        return cast("list[dict[str, Any]]", meta.get("io.toolbroker/budget") or [])

    @property
    def structured(self) -> dict[str, Any]:
        """The result as data."""
        return cast("dict[str, Any]", self.result.get("structuredContent") or {})

    @property
    def receipt(self) -> Mapping[str, Any]:
        """The caller's own proof that the call is in the log."""
        return self._of_broker("receipt")

    def _of_broker(self, name: str) -> dict[str, Any]:
        meta = cast("Json", self.result.get("_meta") or {})
        return cast("dict[str, Any]", meta.get(f"io.toolbroker/{name}") or {})


@dataclass(frozen=True, slots=True)
class Streamed:
    """What came of a stream: how long it could be, in how many chunks it came, what it cost in micro-USD."""

    most: int
    chunks: int
    cost: int


class Models:
    """Asks models as an SDK does."""

    def __init__(self, http: aiohttp.ClientSession, url: str, token: str) -> None:
        self._http = http
        self._url = url
        self._token = token

    async def stream(self, model: str, prompt: str, most: int) -> Streamed:
        """Have a model stream an answer of at most so many tokens."""
        message = {"role": "user", "content": prompt}
        body = {"model": model, "messages": [message], "max_tokens": most, "stream": True}
        headers = {"Authorization": f"Bearer {self._token}"}
        chunks, told = 0, Json()
        async with self._http.post(f"{self._url}/v1/chat/completions", json=body, headers=headers) as answer:
            async for line in answer.content:
                chunks += line.startswith(b"data: {")
                if line.startswith(_TOLD):
                    told = orjson.loads(line.removeprefix(_TOLD))
            most = int(answer.headers.get("Toolbroker-Max-Tokens", most))
        return Streamed(most, chunks, told.get("cost_micro_usd", 0))


class Player:
    """One agent of the demo."""

    def __init__(self, name: str, client: Client, tools: list[Json], models: Models) -> None:
        self.name = name
        self.tools = tools
        self._models = models
        self._client = client
        self._definitions = {str(tool["name"]): tool for tool in tools}

    async def call(self, name: str, **arguments: object) -> Reply:
        """Call a tool, over HTTP and with this agent's own token."""
        started = time.perf_counter()
        result = await self._client.call(self._definitions.get(name, {"name": name}), dict(arguments))
        return Reply(result, (time.perf_counter() - started) * 1000)

    async def stream(self, model: str, prompt: str, most: int) -> Streamed:
        """Have a model stream an answer of at most so many tokens."""
        return await self._models.stream(model, prompt, most)


async def enter(app: App, url: str, place: Place, http: aiohttp.ClientSession) -> dict[str, Player]:
    """Enrol the agents, get each a token, and let each look at its tools."""
    players: dict[str, Player] = {}
    for name, role in ROLES.items():
        secret = new_secret()
        await app.journal.enrol(_agent(name, role), digest(secret), by=OPERATOR)
        descriptor = os.open(place.secret_file(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(descriptor, f"{secret}\n".encode())
        os.close(descriptor)
        token = await Tokens(http, Credentials(url, name, secret)).token()
        client = Client(http, url, token)
        players[name] = Player(name, client, await client.tools(), Models(http, url, token))
    return players


def _agent(name: str, role: str) -> Agent:
    return Agent(
        id=AgentId(name),
        organisation=OrganisationId("demo"),
        roles=frozenset({role}),
        owner=OPERATOR,
        created_at=int(time.time()),
    )
