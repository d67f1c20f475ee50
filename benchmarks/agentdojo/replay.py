"""What does the broker let through? Every call of every trace goes through the real pipeline, one by one.

A trace is a transaction of its own. A call that is stopped is not made and the agent goes on with the
next one, as if nothing had happened. What the broker does not stop is answered as AgentDojo answered it.
"""

import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx2
from pydantic import BaseModel

from broker.app import App, running
from broker.audit.interface import LogReader
from broker.connector import Answer, Host, Line, Offer, Request
from broker.errors import Refused
from broker.identity.clients import digest, new_secret
from broker.model import TASK_TEXT, Agent, AgentId, Call, Json, Method, OrganisationId, new_call_id
from broker.policy.load import shipped_policies
from broker.settings import ApprovalSettings, ConnectorSettings, Settings
from broker.testing import _installed

HERE = Path(__file__).parent
ORGANISATION = OrganisationId("agentdojo")
ROLE = 'role: everything\nallow:\n  - tools: ["*"]\n'
NO_DETECTOR = "mode: shadow"
AT_ONCE = 16


class NoSettings(BaseModel):
    pass


class Recorded:
    """An upstream that answers each call with what was recorded for it."""

    settings = NoSettings

    def __init__(self, tools: Mapping[str, Json]) -> None:
        self._tools = tools
        self.results: dict[str, Json] = {}

    async def open(self, settings: BaseModel, host: Host) -> None:
        pass

    async def close(self) -> None:
        pass

    async def offer(self) -> Offer:
        return Offer(tools=[{"name": name, "inputSchema": schema} for name, schema in self._tools.items()])

    async def invoke(self, request: Request, line: Line) -> Answer:  # noqa: ARG002 - the port
        return Answer(self.results.pop(line.call_id))

    async def watch(self, uri: str) -> None:
        pass

    async def unwatch(self, uri: str) -> None:
        pass


@dataclass(frozen=True)
class Step:
    """What became of one call. `fate` is made, held or refused; `effect` says whether it does anything."""

    tool: str
    injected: bool
    effect: bool
    fate: str
    rules: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What became of one trace."""

    trace: Json
    steps: list[Step] = field(default_factory=list)
    agents: list[AgentId] = field(default_factory=list)
    """Who made its calls."""


class Replay:
    """One suite behind a broker."""

    def __init__(self, suite: str, app: App, upstream: Recorded, http: httpx2.AsyncClient) -> None:
        self._suite = suite
        self._app = app
        self._upstream = upstream
        self._http = http
        self._secret = new_secret()
        self._agents = 0

    @property
    def log(self) -> LogReader:
        """Where all of it is recorded."""
        return self._app.store.log

    async def all(self, traces: list[Json]) -> list[Outcome]:
        outcomes = [Outcome(trace) for trace in traces]
        todo = iter(outcomes)

        async def work() -> None:
            for outcome in todo:
                await self._play(outcome)

        async with anyio.create_task_group() as tasks:
            for _ in range(AT_ONCE):
                tasks.start_soon(work)
        return outcomes

    async def _play(self, outcome: Outcome) -> None:
        outcome.agents.append(await self._agent())
        token = await self._token(outcome.agents[0])
        for call in outcome.trace["calls"]:
            name = f"{self._suite}__{call['tool']}"
            fate, rules = await self._call(name, call, token, outcome.trace["prompt"])
            target = next(t for t in self._app.catalog.targets("tool") if t.name == name)
            effect = target.side_effect != "reads" or "external-sink" in target.labels
            outcome.steps.append(Step(call["tool"], call["injected"], effect, fate, rules))

    async def _call(self, name: str, call: Json, token: str, prompt: str) -> tuple[str, tuple[str, ...]]:
        params = {"name": name, "arguments": call["arguments"]}
        made = Call(new_call_id(), Method.CALL_TOOL, name, params, token, None, {TASK_TEXT: prompt})
        self._upstream.results[made.id] = _answer(call)
        try:
            await self._app.pipeline.call(made)
        except Refused as refusal:
            self._upstream.results.pop(made.id, None)
            rules = tuple(because.rule for because in refusal.because)
            asking = {rule.id for rule in self._app.policy.rules if rule.approver}
            return ("held" if set(rules) & asking else "refused"), rules
        return "made", ()

    async def _agent(self) -> AgentId:
        """An agent for one trace: only so many calls of one agent may wait for a human."""
        self._agents += 1
        agent = Agent(AgentId(f"assistant-{self._agents}"), ORGANISATION, frozenset({"everything"}))
        await self._app.journal.enrol(agent, digest(self._secret), by="benchmark")
        return agent.id

    async def _token(self, agent: AgentId) -> str:
        form = {"grant_type": "client_credentials", "resource": self._app.settings.resource}
        answer = await self._http.post("/oauth/token", data=form, auth=(agent, self._secret))
        return answer.raise_for_status().json()["access_token"]


def _answer(call: Json) -> Json:
    answer: Json = {"content": [{"type": "text", "text": call["result"]}]}
    return answer if call.get("structured") is None else answer | {"structuredContent": call["structured"]}


@asynccontextmanager
async def replaying(suite: str, tools: Mapping[str, Json]) -> AsyncIterator[Replay]:
    """A broker with the tools of one suite, all the default rules, and no detector."""
    upstream = Recorded(tools)
    with tempfile.TemporaryDirectory(prefix="broker-") as folder, _installed(suite, upstream):
        policies = Path(folder) / "policies"
        for sub in ("roles", "rules", "tools", "guardrails"):
            (policies / sub).mkdir(parents=True)
        (policies / "roles" / "everything.yaml").write_text(ROLE)
        for conduct in (shipped_policies() / "guardrails").glob("*.yaml"):
            flagging = conduct.read_text().replace("mode: enforce", NO_DETECTOR)
            (policies / "guardrails" / conduct.name).write_text(flagging)
        shutil.copytree(shipped_policies() / "rules", policies / "rules", dirs_exist_ok=True)
        shutil.copy(HERE / "tools" / f"{suite}.yaml", policies / "tools")
        settings = Settings(
            state_dir=Path(folder) / "state",
            policies_dir=policies,
            connectors={suite: ConnectorSettings(use=suite)},
            approvals=ApprovalSettings(wait_s=0),
        )
        async with running(settings) as app:
            transport = httpx2.ASGITransport(app=app.asgi)
            async with httpx2.AsyncClient(transport=transport, base_url=settings.public_url) as http:
                yield Replay(suite, app, upstream, http)


async def replayed(path: Path) -> tuple[Json, list[Outcome]]:
    """The outcome of every trace in a file that `traces.py` wrote, and what the file says of its suite."""
    with path.open() as lines:
        suite: dict[str, Any] = json.loads(next(lines))
        traces = [json.loads(line) for line in lines]
    async with replaying(suite["suite"], suite["tools"]) as replay:
        return suite, await replay.all(traces)
