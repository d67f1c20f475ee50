"""A small house behind the endpoint: the real pipeline and journal on ports that live in memory."""

import itertools
import socket
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import anyio.lowlevel
import httpx2
import orjson
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from broker.audit.interface import Receipt
from broker.edges.admission import Admission
from broker.edges.mcp.endpoint import McpEndpoint
from broker.errors import Because, Denied, Unauthenticated
from broker.flow.transactions import Transactions
from broker.identity.dpop import Proofs
from broker.identity.seals import Sealer
from broker.inflight import InFlight
from broker.journal import Journal, Opened
from broker.ledger.prices import Prices
from broker.model import Agent, AgentId, Answer, Kind, Method, MicroUSD, OrganisationId, Principal, Target
from broker.pipeline import Pipeline
from broker.policy.interface import Decision
from broker.settings import LimitSettings, ServerSettings, Settings
from tests.unit.edges.serving import served
from tests.unit.flow.memory import MemoryFlow
from tests.unit.identity.memory import MemoryReplays
from tests.unit.repeating import results
from tests.unit.trusting import reputation

MODERN = "2026-07-28"
KEY = bytes(range(32))
Behaviour = Callable[[Method, dict, Any], Awaitable[Answer]]


async def until(condition: Callable[[], object]) -> None:
    """Let everybody else go on until something is so."""
    with anyio.fail_after(5):
        while not condition():
            await anyio.lowlevel.checkpoint()


def principal(name: str) -> Principal:
    agent = Agent(AgentId(name), OrganisationId("acme"), frozenset({"reader"}))
    return Principal(agent, agent.id, (agent,), frozenset({"mcp:tools"}), f"jti-{name}", "txn", 0)


class MemorySignals:
    """One broadcast for every endpoint that is given it, as a shared store would be."""

    def __init__(self) -> None:
        self._listeners = []
        self.listening = anyio.Event()

    async def publish(self, topic, message):
        for topics, send in list(self._listeners):
            if topic in topics:
                # Through JSON, as between processes.
                send.send_nowait((topic, orjson.loads(orjson.dumps(message))))
        await anyio.lowlevel.checkpoint()

    @asynccontextmanager
    async def subscribe(self, *topics):
        send, receive = anyio.create_memory_object_stream(1000)
        entry = (topics, send)
        self._listeners.append(entry)
        self.listening.set()
        try:
            with send, receive:
                yield receive
        finally:
            self._listeners.remove(entry)


class House:
    """Every port of the pipeline, and what the catalogue does for streams. Tests change it as they like."""

    prices = Prices()

    def __init__(self) -> None:
        self.principals = {"alice-token": principal("alice"), "bob-token": principal("bob")}
        self.found: dict[tuple[Kind, str], Target] = {}
        self.behaviours: dict[str, Behaviour] = {}
        self.version = 1
        self.hidden: set[tuple[str, str]] = set()
        self.delegations: dict[str, Principal] = {}
        self.denied: set[str] = set()
        self.watched: list[tuple[str, bool]] = []
        self.calls: list[tuple[Method, dict]] = []
        self.entries = []
        self.settled = []
        self._index = itertools.count(1)

    # what a test puts in

    def offer(self, kind: Kind, name: str, behaviour: Behaviour | Answer, **definition) -> Target:
        key = {Kind.TOOL: "name", Kind.PROMPT: "name", Kind.RESOURCE: "uri", Kind.TEMPLATE: "uriTemplate"}[
            kind
        ]
        shape = {key: name, **({"inputSchema": {"type": "object"}} if kind is Kind.TOOL else {"name": name})}
        target = Target(kind, name, "house", name, {**shape, **definition}, price=MicroUSD(600))
        self.found[(kind, name)] = target
        self.behaviours[name] = behaviour if callable(behaviour) else _constant(behaviour)
        self.version += 1
        return target

    def tool(self, name: str, behaviour: Behaviour | Answer, **definition) -> Target:
        return self.offer(Kind.TOOL, name, behaviour, **definition)

    # identity

    async def authenticate(self, token):
        if token not in self.principals:
            raise Unauthenticated("this token is not valid here")
        return self.principals[token]

    def delegate(self, by: str, to: str) -> str:
        """A delegation token of one agent for another."""
        own, above = principal(to), principal(by)
        token = f"{by}-to-{to}"
        self.delegations[token] = replace(own, subject=above.agent.id, actors=(own.agent, above.agent))
        return token

    async def delegated(self, own, delegation):
        if delegation not in self.delegations:
            raise Denied("the delegation does not stand")
        return self.delegations[delegation]

    # catalogue

    def find(self, call):
        kind = {
            Method.CALL_TOOL: Kind.TOOL,
            Method.GET_PROMPT: Kind.PROMPT,
            Method.READ_RESOURCE: Kind.RESOURCE,
        }
        if call.method is Method.COMPLETE:
            prompt = call.params["ref"]["type"] == "ref/prompt"
            return self.found.get((Kind.PROMPT if prompt else Kind.TEMPLATE, call.name))
        return self.found.get((kind[call.method], call.name))

    def find_resource(self, uri):
        return self.found.get((Kind.RESOURCE, uri))

    def targets(self, kind):
        return sorted((t for t in self.found.values() if t.kind is kind), key=lambda t: t.name)

    async def invoke(self, method, target, params, line):
        self.calls.append((method, params))
        return await self.behaviours[target.name](method, params, line)

    async def watch(self, target, uri, *, on):
        self.watched.append((uri, on))

    # guards

    async def screen(self, content, stage, scene, findings):
        return content

    # policy: what is hidden from an agent is a pair of its name and the target's

    def sees(self, principal, target):
        return all((actor.id, target.name) not in self.hidden for actor in principal.actors)

    def visible(self, principal, targets):
        return [target for target in targets if self.sees(principal, target)]

    def decide(self, principal, target, params, situation):
        because = (Because("house/rule", "not in this house"),) if target.name in self.denied else ()
        return Decision(not because, because, "sha256:0", "ask for something else" if because else None)

    # journal store

    async def open(self, opening):
        return Opened(self._keep(opening.intent))

    async def close(self, closing):
        self.settled.append(closing.settlement)
        return self._keep(closing.terminal)

    async def append(self, entry):
        return self._keep(entry)

    def _keep(self, entry):
        self.entries.append(entry)
        return Receipt("acme", len(self.entries), "00" * 32, len(self.entries))

    @property
    def outcomes(self) -> list[str]:
        return [entry.facts["outcome"] for entry in self.entries if "outcome" in entry.facts]

    # the endpoint in front

    def pipeline(self) -> Pipeline:
        return Pipeline(
            identity=self,
            catalog=self,
            guards=self,
            policy=self,
            consents=None,
            delegator=None,
            prices=self.prices,
            journal=Journal(self, b"k" * 32),
            inflight=InFlight(self),
            transactions=Transactions(MemoryFlow(), b"k" * 32),
            pseudonyms=None,
            results=results(),
            reputation=reputation(),
        )

    def endpoint(self, signals: MemorySignals, settings: Settings) -> McpEndpoint:
        admission = Admission(self, Proofs(MemoryReplays(), time.time), settings)
        return McpEndpoint(self.pipeline(), self, signals, Sealer(KEY), settings, admission=admission)


def _constant(answer: Answer) -> Behaviour:
    async def behave(method, params, line):
        return answer

    return behave


def said(text: str, **more) -> Answer:
    return Answer({"content": [{"type": "text", "text": text}], **more})


class Site:
    """A house on loopback, and the ways to speak to it."""

    def __init__(
        self, url: str, signals: MemorySignals, endpoint: McpEndpoint, http: httpx2.AsyncClient
    ) -> None:
        self.url = url
        self.signals = signals
        self.endpoint = endpoint
        self.http = http

    async def post(self, body: Any, *, token: str | None = "alice-token", **headers: str) -> httpx2.Response:
        """One POST as it stands: `a_b` names the header A-B."""
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        return await self.http.post(self.url, content=content, headers=fields(token, headers))

    async def request(self, method: str, params: dict | None = None, **how: Any) -> httpx2.Response:
        """One well-formed request of 2026-07-28."""
        body, headers = modern(method, params or {}, **how)
        return await self.http.post(self.url, content=orjson.dumps(body), headers=headers)

    @asynccontextmanager
    async def stream(self, body: Any, headers: dict[str, str], method: str = "POST"):
        """The messages of an event stream, as they come."""
        content = None if body is None else orjson.dumps(body)
        async with self.http.stream(method, self.url, content=content, headers=headers) as response:
            yield response, messages(response)

    @asynccontextmanager
    async def client(
        self, mode: str = MODERN, token: str = "alice-token", **how: Any
    ) -> AsyncGenerator[Client]:
        async with httpx2.AsyncClient(headers={"authorization": f"Bearer {token}"}, timeout=30) as http:
            transport = streamable_http_client(self.url, http_client=http)
            async with Client(transport, mode=mode, **how) as client:
                yield client


async def messages(response: httpx2.Response):
    async for line in response.aiter_lines():
        if line.startswith("data: "):
            yield orjson.loads(line[6:])


def fields(token: str | None, extra: dict[str, str] | None = None) -> dict[str, str]:
    given = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    if token is not None:
        given["authorization"] = f"Bearer {token}"
    given |= {name.replace("_", "-"): value for name, value in (extra or {}).items()}
    return given


def envelope(capabilities: dict | None = None, **more: Any) -> dict[str, Any]:
    return {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": capabilities or {},
        **more,
    }


def modern(
    method: str,
    params: dict[str, Any],
    *,
    token: str = "alice-token",
    identity: Any = 1,
    meta: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[dict[str, Any], dict[str, str]]:
    """Body and headers of a request of 2026-07-28."""
    given = {"mcp-protocol-version": MODERN, "mcp-method": method}
    named = params.get("uri" if method == "resources/read" else "name")
    if named is not None and method in {"tools/call", "prompts/get", "resources/read"}:
        given["mcp-name"] = named
    body = {
        "jsonrpc": "2.0",
        "id": identity,
        "method": method,
        "params": {**params, "_meta": envelope() if meta is None else meta},
    }
    return body, fields(token, {**given, **(headers or {})})


@asynccontextmanager
async def open_site(
    house: House, signals: MemorySignals | None = None, **limits: Any
) -> AsyncGenerator[Site]:
    """Serve a house with uvicorn on a free port of loopback."""
    signals = signals or MemorySignals()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        settings = Settings(server=ServerSettings(port=port), limits=LimitSettings(**limits))
        endpoint = house.endpoint(signals, settings)
        async with (
            anyio.create_task_group() as tasks,
            served(endpoint, listener),
            httpx2.AsyncClient(timeout=30) as http,
        ):
            tasks.start_soon(endpoint.run)
            with anyio.fail_after(5):
                await signals.listening.wait()
            try:
                yield Site(f"http://127.0.0.1:{port}/mcp", signals, endpoint, http)
            finally:
                endpoint.close()
                tasks.cancel_scope.cancel()
