"""An organisation of agents that work for each other, behind a whole broker in this process.

`notes` is a connector with tools; `desk` and `shelf` are upstreams that act as the agents
`researcher` and `summariser`: what they do while a call to them is open, a test says.
"""

import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import EntryPoints
from pathlib import Path
from typing import Any

import httpx2
import orjson
from pydantic import BaseModel

from broker.app import App, running
from broker.connector import Answer, Connector, Host, Line, Offer, Request, Upstream
from broker.identity.clients import digest, new_secret
from broker.model import Agent, AgentId, AgentStatus, MicroUSD, OrganisationId
from broker.settings import ApprovalSettings, ConnectorSettings, FederationSettings, Settings, TokenSettings
from broker.testing import _Installed, _Package
from tests.unit.edges.house import envelope, modern

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
JWT = "urn:ietf:params:oauth:token-type:jwt"

ROLES = {
    "lead": 'role: lead\nallow:\n  - tools: ["*"]\nmay_delegate_to: [worker, outsider]\n',
    "worker": 'role: worker\nallow:\n  - tools: ["*"]\nmay_delegate_to: ["*"]\n',
    "loner": 'role: loner\nallow:\n  - tools: ["*"]\n',
    "reader": "role: reader\nallow:\n  - tools: [notes__find]\nmay_delegate_to: [worker]\n",
}
Act = Callable[[Line], Awaitable[None]]


async def _nothing(line: Line) -> None:
    pass


class NoSettings(BaseModel):
    pass


class Desk:
    """An upstream that is an agent: it does what a test says while it is asked."""

    settings = NoSettings

    def __init__(self) -> None:
        self.act: Act = _nothing
        self.answer = "done"

    async def open(self, settings: BaseModel, host: Host) -> None:
        pass

    async def close(self) -> None:
        pass

    async def offer(self) -> Offer:
        return Offer(tools=[{"name": "ask", "inputSchema": {"type": "object"}}])

    async def invoke(self, request: Request, line: Line) -> Answer:
        await self.act(line)
        return Answer({"content": [{"type": "text", "text": self.answer}]})

    async def watch(self, uri: str) -> None:
        pass

    async def unwatch(self, uri: str) -> None:
        pass


def notes() -> Connector:
    connector = Connector("notes")

    @connector.tool(side_effect="reads", price="0.0001")
    async def find(text: str = "", year: int = 0) -> dict[str, str]:
        """Find a note."""
        return {"found": text}

    @connector.tool(price="0.0001")
    async def add(text: str) -> dict[str, str]:
        """Add a note."""
        return {"added": text}

    return connector


@dataclass
class Member:
    """One agent: what it holds, and what it does with it."""

    agency: "Agency"
    name: str
    secret: str = field(repr=False)

    async def form(self, **fields: str) -> httpx2.Response:
        return await self.agency.http.post("/oauth/token", data=fields, auth=(self.name, self.secret))

    async def token(self) -> str:
        answer = await self.form(grant_type="client_credentials")
        return answer.raise_for_status().json()["access_token"]

    async def exchange(self, subject: str, to: str | None = None, **fields: Any) -> httpx2.Response:
        kind = fields.pop("subject_token_type", ACCESS_TOKEN)
        named = {} if to is None else {"requested_actor": to}
        form = {"grant_type": EXCHANGE, "subject_token": subject, "subject_token_type": kind, **named}
        return await self.form(**form, **{name: str(value) for name, value in fields.items()})

    async def delegate(self, to: str, *, subject: str | None = None, **fields: Any) -> str:
        """A delegation token that names another agent."""
        answer = await self.exchange(subject or await self.token(), to, **fields)
        assert answer.status_code == 200, answer.text
        assert (answer.json()["token_type"], answer.json()["issued_token_type"]) == ("N_A", JWT)
        return answer.json()["access_token"]

    async def refused(self, to: str | None, *, subject: str | None = None, **fields: Any) -> tuple[str, str]:
        """Error code and description of an exchange that has to fail."""
        answer = await self.exchange(subject or await self.token(), to, **fields)
        assert answer.status_code == 400, answer.text
        return answer.json()["error"], answer.json()["error_description"]

    async def request(
        self, method: str, params: dict[str, Any], *, token: str | None = None, **meta: Any
    ) -> httpx2.Response:
        """One request; `delegation` and `parent_call` go into `_meta`."""
        own = envelope(**{f"io.toolbroker/{key}": value for key, value in meta.items()})
        body, headers = modern(method, params, token=token or await self.token(), meta=own)
        return await self.agency.http.post("/mcp", content=orjson.dumps(body), headers=headers)

    async def call(self, tool: str, arguments: dict[str, Any] | None = None, **how: Any) -> dict[str, Any]:
        """The JSON-RPC answer to a call."""
        answer = await self.request("tools/call", {"name": tool, "arguments": arguments or {}}, **how)
        return answer.json()

    async def tools(self, **how: Any) -> list[str]:
        answer = (await self.request("tools/list", {}, **how)).json()
        return [tool["name"] for tool in answer["result"]["tools"]]


def why(answer: dict[str, Any]) -> str:
    """The first rule of a refused call; empty if it was made."""
    error = answer.get("error", {}).get("data") or answer.get("result", {}).get("structuredContent", {})
    error = error.get("error", error)
    return (error.get("because") or [{"rule": error.get("code", "")}])[0]["rule"]


def told(answer: dict[str, Any]) -> dict[str, Any]:
    """What the broker says about a call."""
    return answer["result"]["_meta"]["io.toolbroker/call"]


@dataclass
class Agency:
    """The broker, and how one joins."""

    app: App
    http: httpx2.AsyncClient
    desk: Desk
    shelf: Desk
    policies: Path

    async def enrol(
        self, name: str, role: str = "worker", *, organisation: str = "acme", cap: int | None = None
    ) -> Member:
        secret = new_secret()
        agent = Agent(
            AgentId(name),
            OrganisationId(organisation),
            frozenset({role}),
            cap_micro_usd=None if cap is None else MicroUSD(cap),
            created_at=int(time.time()),
        )
        await self.app.journal.enrol(agent, digest(secret), by="test")
        return Member(self, name, secret)

    async def set_status(self, name: str, status: AgentStatus) -> None:
        await self.app.journal.set_status(AgentId(name), status, by="test", reason="test")

    async def records(self, *types: str) -> list[dict[str, Any]]:
        bodies = [orjson.loads(record.body) async for record in self.app.store.log.records("acme")]
        return [body for body in bodies if not types or body["type"] in types]


class _Several(_Package):
    """As many connectors as one likes, in one package."""

    def __init__(self, connectors: dict[str, Upstream]) -> None:
        self._entry_points = EntryPoints(_Installed(name, one) for name, one in connectors.items())


@contextmanager
def _all_installed(**connectors: Upstream) -> Generator[None]:
    package = _Several(connectors)
    sys.meta_path.insert(0, package)
    try:
        yield
    finally:
        sys.meta_path.remove(package)


@asynccontextmanager
async def agency(
    files: Mapping[str, str] | None = None,
    *,
    state: Path | None = None,
    tokens: TokenSettings | None = None,
    federation: Mapping[str, FederationSettings] | None = None,
    approvals: ApprovalSettings | None = None,
    **more: Upstream,
) -> AsyncGenerator[Agency]:
    """Everything real but the network.

    Args:
        files: further files of the policies folder, by path in it.
        state: where the state is kept, for more than one life of it.
        tokens: how tokens are given out.
        federation: who else vouches for agents.
        approvals: how humans are waited for.
        more: further connectors, by name.
    """
    desk, shelf = Desk(), Desk()
    connectors = {"notes": notes(), "desk": desk, "shelf": shelf, **more}
    with tempfile.TemporaryDirectory() as folder, _all_installed(**connectors):
        policies = Path(folder) / "policies"
        roles = {f"roles/{name}.yaml": text for name, text in ROLES.items()}
        for name, text in (roles | dict(files or {})).items():
            (policies / name).parent.mkdir(parents=True, exist_ok=True)
            (policies / name).write_text(text)
        settings = Settings(
            state_dir=state or Path(folder) / "state",
            policies_dir=policies,
            tokens=tokens or TokenSettings(),
            federation=dict(federation or {}),
            approvals=approvals or ApprovalSettings(),
            connectors={name: ConnectorSettings(use=name) for name in more}
            | {
                "notes": ConnectorSettings(use="notes"),
                "desk": ConnectorSettings(use="desk", agent="researcher"),
                "shelf": ConnectorSettings(use="shelf", agent="summariser"),
            },
        )
        async with running(settings) as app:
            transport = httpx2.ASGITransport(app=app.asgi)
            async with httpx2.AsyncClient(transport=transport, base_url=settings.public_url) as http:
                yield Agency(app, http, desk, shelf, policies)
