"""How do connector and policy authors test what they wrote? As an agent sees it, behind the whole broker.

    async def test_say_repeats():
        async with agent_for(connector) as agent:
            result = await agent.call_tool("echo__say", {"text": "ha", "times": 2})
            assert content(result) == {"said": "ha ha"}

Nothing is simulated: a database in a temporary folder, an access token from the token endpoint, an
MCP client, and every step of `broker/pipeline.py` in between. Only the network is left out.

Policies can be asked without all of that:

    def test_large_refunds_need_a_team_lead():
        decision = Policies(folder, tools=["crm__refund"]).decide(["support"], "crm__refund", {"amount": 60})
        assert [consent.approver for consent in decision.consents] == ["team-lead"]
"""

import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Generator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib.metadata import Distribution, DistributionFinder, EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import httpx2
import orjson
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, TextContent, Tool

from broker.app import App, running
from broker.catalog.facts import load_facts
from broker.catalog.installed import GROUP
from broker.catalog.mount import OperatorFacts, micro_usd
from broker.connector import Upstream
from broker.identity.clients import digest, new_secret
from broker.model import (
    Agent,
    AgentId,
    Clock,
    Json,
    Kind,
    MicroUSD,
    OrganisationId,
    Principal,
    SideEffect,
    Situation,
    Target,
)
from broker.policy.engine import PolicyEngine
from broker.policy.interface import Decision
from broker.settings import ConnectorSettings, Settings

ORGANISATION = OrganisationId("test")
AGENT = AgentId("tester")


@dataclass(frozen=True, slots=True)
class TestAgent:
    """An agent that is connected to a broker of its own. `client` is its MCP client."""

    __test__ = False  # pytest: no collection of tests

    client: Client
    app: App

    async def call_tool(self, name: str, arguments: Mapping[str, Any] | None = None) -> CallToolResult:
        """Call a tool by its exposed name, `<connector>__<tool>`.

        Raises:
            MCPError: the broker or the upstream refused with a protocol error.
        """
        return await self.client.call_tool(name, dict(arguments or {}))

    async def list_tools(self) -> list[Tool]:
        """The tools that this agent may see."""
        return (await self.client.list_tools()).tools

    async def records(self) -> list[Json]:
        """What the log of its organisation holds, oldest first."""
        return [orjson.loads(record.body) async for record in self.app.store.log.records(ORGANISATION)]


def content(result: CallToolResult) -> Any:
    """What a tool returned: its structured content, else its text."""
    if result.structured_content is not None:
        return result.structured_content
    return "\n".join(block.text for block in result.content if isinstance(block, TextContent))


class Policies:
    """A folder of policies and some tools that it knows, to be asked for decisions.

    Args:
        folder: the policies.
        tools: exposed names; what `tools/*.yaml` says of them counts, nothing else is known of them.
        clock: Unix time in seconds, for rules that look at it.

    Raises:
        ConfigurationError: the folder holds a mistake.
    """

    def __init__(self, folder: Path, *, tools: Sequence[str], clock: Clock = time.time) -> None:
        self._engine = PolicyEngine(folder, clock=clock)
        facts = load_facts(folder)
        self._tools = {name: _tool(name, facts) for name in tools}
        self._engine.retarget(list(self._tools.values()))

    def decide(
        self,
        roles: Sequence[str],
        tool: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        on_behalf_of: Sequence[Sequence[str]] = (),
        situation: Situation | None = None,
    ) -> Decision:
        """The decision on one call.

        Args:
            roles: those of the agent that calls.
            tool: what it calls, one of `tools`.
            arguments: the arguments of the call.
            on_behalf_of: the roles of those it acts for, the nearest first.
            situation: what is known of the moment; default: nothing was read or done before.
        """
        actors = tuple(
            Agent(AgentId(f"{AGENT}-{n}" if n else AGENT), ORGANISATION, frozenset(names))
            for n, names in enumerate([roles, *on_behalf_of])
        )
        principal = Principal(actors[0], actors[-1].id, actors, frozenset(), "test", "test", 0)
        params: Json = {"name": tool, "arguments": dict(arguments or {})}
        return self._engine.decide(principal, self._tools[tool], params, situation or Situation())

    def visible(self, roles: Sequence[str]) -> list[str]:
        """The tools that an agent with these roles is shown."""
        agent = Agent(AGENT, ORGANISATION, frozenset(roles))
        principal = Principal(agent, agent.id, (agent,), frozenset(), "test", "test", 0)
        return [target.name for target in self._engine.visible(principal, self._tools.values())]


def _tool(name: str, facts: OperatorFacts) -> Target:
    connector = name.partition("__")[0]
    said = facts(name, Kind.TOOL, connector)
    return Target(
        kind=Kind.TOOL,
        name=name,
        connector=connector,
        upstream_name=name,
        definition={},
        price=micro_usd(said.price_usd) if said.price_usd else MicroUSD(0),
        side_effect=said.side_effect or SideEffect.WRITES,
        labels=said.labels,
        arguments=said.arguments,
        risk=said.risk,
        min_trust=said.min_trust,
        cache_s=said.cache_s or 0,
    )


@asynccontextmanager
async def agent_for(
    connector: Upstream,
    *,
    roles: Sequence[str] = ("operator",),
    policies: Path | None = None,
    name: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> AsyncGenerator[TestAgent]:
    """A broker with one connector, and an agent that is connected to it.

    Args:
        connector: what is tested.
        roles: the agent's roles.
        policies: a folder with policies; default: the shipped ones.
        name: what the connector is mounted as; default: its own name.
        settings: the connector's section of the configuration.
    """
    mounted = name or str(getattr(connector, "name", "connector"))
    with tempfile.TemporaryDirectory(prefix="broker-") as folder, _installed(mounted, connector):
        section = ConnectorSettings(use=mounted, settings=dict(settings or {}))
        configuration = Settings(
            state_dir=Path(folder) / "state", policies_dir=policies, connectors={mounted: section}
        )
        failure = None
        async with running(configuration) as app, _connected(app, roles) as client:
            try:
                yield TestAgent(client, app)
            except Exception as error:  # noqa: BLE001  # raised again below, not wrapped in the broker's task groups
                failure = error
        if failure is not None:
            raise failure


@asynccontextmanager
async def _connected(app: App, roles: Sequence[str]) -> AsyncGenerator[Client]:
    secret = new_secret()
    agent = Agent(AGENT, ORGANISATION, frozenset(roles), created_at=int(time.time()))
    await app.journal.enrol(agent, digest(secret), by="broker.testing")
    url = app.settings.public_url
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app.asgi), base_url=url) as http:
        form = {"grant_type": "client_credentials", "resource": app.settings.resource}
        answer = await http.post("/oauth/token", data=form, auth=(AGENT, secret))
        http.headers["Authorization"] = f"Bearer {answer.raise_for_status().json()['access_token']}"
        async with Client(streamable_http_client(app.settings.resource, http_client=http)) as client:
            yield client


class _Installed(EntryPoint):
    """An entry point that is loaded already."""

    def __init__(self, name: str, connector: Upstream) -> None:
        super().__init__(name, "broker.testing:connector", GROUP)
        vars(self).update(connector=connector)

    def load(self) -> Upstream:
        """The connector under test."""
        return vars(self)["connector"]


class _Package(Distribution, DistributionFinder):
    """A package with one connector in it, found as long as it is on `sys.meta_path`."""

    def __init__(self, name: str, connector: Upstream) -> None:
        self._entry_points = EntryPoints([_Installed(name, connector)])

    @property
    def entry_points(self) -> EntryPoints:
        """The connector."""
        return self._entry_points

    def read_text(self, filename: str) -> str | None:
        """Its metadata."""
        return "Name: broker-testing\nVersion: 0\n" if filename == "METADATA" else None

    def locate_file(self, path: Any) -> Path:
        """Nothing is in a file."""
        return Path(path)

    def find_spec(self, *_: Any) -> None:
        """There is nothing to import."""

    def find_distributions(self, _context: Any = None) -> Iterator[Distribution]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Itself."""
        yield self


@contextmanager
def _installed(name: str, connector: Upstream) -> Generator[None]:
    """Make a connector an installed one for a while, as pip would for good."""
    package = _Package(name, connector)
    sys.meta_path.insert(0, package)
    try:
        yield
    finally:
        sys.meta_path.remove(package)
