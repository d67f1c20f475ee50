"""How is a model asked in a test? Through the whole pipeline, with a provider that runs beside it."""

import shutil
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx2
import orjson

from broker.app import App, running, shipped_policies
from broker.identity.clients import digest, new_secret
from broker.model import Agent, AgentId, Call, Json, Method, MicroUSD, OrganisationId, new_call_id
from broker.pipeline import Released
from broker.settings import ConnectorSettings, Settings

ACME = OrganisationId("acme")


@dataclass
class Listener:
    """A caller that keeps what it is told, and may go away after some events."""

    modern: bool = True
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    events: list[Json] = field(default_factory=list)
    told: list[tuple[str, Json]] = field(default_factory=list)
    leaves_after: int | None = None
    heard: anyio.Event = field(default_factory=anyio.Event)

    async def notify(self, method: str, params: Json) -> None:
        self.told.append((method, params))

    async def deliver(self, event: Json) -> bool:
        self.events.append(event)
        self.heard.set()
        self.heard = anyio.Event()
        return self.leaves_after is None or len(self.events) < self.leaves_after

    async def ask(self, method: str, params: Json) -> Json:
        raise AssertionError(f"nobody is asked {method}: {params}")

    async def poll(self, retry_ms: int) -> None:
        raise AssertionError(f"nobody comes back after {retry_ms} ms")

    async def next(self) -> None:
        """Wait for another event."""
        await self.heard.wait()

    def text(self) -> str:
        """What it has read, in any format."""
        said = [choice["delta"].get("content") for e in self.events for choice in e.get("choices", [])]
        said += [e["delta"].get("text") for e in self.events if e.get("type") == "content_block_delta"]
        said += [e["delta"] for e in self.events if e.get("type") == "response.output_text.delta"]
        return "".join(filter(None, said))


@dataclass
class Desk:
    """A broker with models, and an agent that may ask them."""

    app: App
    provider: str
    token: str

    async def ask(self, method: Method, body: Json, caller: Listener | None = None) -> Released:
        call = Call(new_call_id(), method, body["model"], body, self.token, caller or Listener())
        with anyio.fail_after(30):
            return await self.app.pipeline.call(call)

    async def log(self) -> list[Json]:
        records = [orjson.loads(r.body) async for r in self.app.store.log.records(ACME)]
        return [record for record in records if record["type"].startswith("call.")]

    async def outcome(self) -> Json:
        return (await self.log())[-1]

    async def balance(self, account: str = "agent:ada") -> tuple[int, int]:
        found = await self.app.store.ledger.balance(account)
        return found.spent, found.held

    async def ada(self) -> Agent:
        """The agent as the broker knows it now."""
        found = await self.app.store.agents.agent(AgentId("ada"))
        assert found is not None
        return found

    async def control(self, path: str, **query: int) -> Any:
        async with httpx2.AsyncClient() as http:
            url = f"{self.provider}/control/{path}"
            verb = http.post if path == "steps" else http.get
            answer = await verb(url, params=query, timeout=20)
            assert answer.status_code == 200, answer.text
            return answer.json()


PRICES = """
prices:
  - {match: "openai__*", input: "1", cached_input: "0.5", output: "10"}
  - {match: "claude__*", input: "3", cached_input: "0.3", output: "15"}
"""


@asynccontextmanager
async def desk(
    folder: Path,
    provider: str,
    *,
    cap: int | None = None,
    files: Mapping[str, str] | None = None,
    models: Mapping[str, Json] | None = None,
    agent: Mapping[str, Any] | None = None,
) -> AsyncIterator[Desk]:
    """A broker in this process; `files` are added to the shipped policies."""
    policies = folder / "policies"
    shutil.copytree(shipped_policies(), policies)
    for name, text in {"prices/models.yaml": PRICES, **(files or {})}.items():
        path = policies / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    for name in ("openai", "anthropic"):
        (folder / f"{name}.key").write_text(f"sk-{name}-test\n")
    common = {"url": f"{provider}/v1", "allow_private": True, "models": dict(models or {})}
    settings = Settings(
        state_dir=folder / "state",
        policies_dir=policies,
        connectors={
            "openai": ConnectorSettings(use="openai", settings={**common, "api_key": "file:openai.key"}),
            "claude": ConnectorSettings(
                use="anthropic", settings={**common, "api_key": "file:anthropic.key"}
            ),
        },
    )
    async with running(settings, folder) as app:
        secret = new_secret()
        roles = frozenset({"operator"})
        money = None if cap is None else MicroUSD(cap)
        ada = Agent(
            AgentId("ada"), ACME, roles, cap_micro_usd=money, created_at=int(time.time()), **(agent or {})
        )
        await app.journal.enrol(ada, digest(secret), by="test")
        transport = httpx2.ASGITransport(app=app.asgi)
        async with httpx2.AsyncClient(transport=transport, base_url=app.settings.public_url) as http:
            form = {"grant_type": "client_credentials", "resource": app.settings.resource}
            answer = await http.post("/oauth/token", data=form, auth=("ada", secret))
        yield Desk(app, provider, answer.raise_for_status().json()["access_token"])
