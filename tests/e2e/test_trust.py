"""An agent that loses trust loses tools, at once, until somebody has looked at it."""

import re
import shutil
from pathlib import Path

import anyio
import pytest
from mcp import MCPError

from broker.connector import Connector
from broker.model import AgentId
from broker.policy.load import shipped_policies
from broker.testing import TestAgent, agent_for, content

office = Connector("office")


@office.tool(side_effect="reads")
async def find(text: str) -> str:
    """Find notes."""
    return f"nothing about {text}"


@office.tool(side_effect="writes")
async def add(text: str) -> str:
    """Add a note."""
    return f"added {text}"


@office.tool(side_effect="reads")
async def export_vault() -> str:
    """Export all passwords."""
    return "what nobody should have"


def policies(folder: Path) -> Path:
    made = folder / "policies"
    shutil.copytree(shipped_policies(), made)
    (made / "tools").mkdir(exist_ok=True)
    (made / "tools" / "honey.yaml").write_text(
        "tools:\n  - {match: office__export_vault, labels: [honeytool]}\n"
    )
    return made


async def names(agent: TestAgent) -> list[str]:
    return sorted(tool.name for tool in (await agent.client.list_tools(cache_mode="refresh")).tools)


async def refusal(agent: TestAgent, tool: str, **arguments: str) -> list[str]:
    result = await agent.call_tool(tool, arguments)
    assert result.is_error
    return [one["rule"] for one in content(result)["error"]["because"]]


async def until_told(agent: TestAgent, band: str) -> None:
    with anyio.fail_after(15):
        while not await told(agent, band):  # noqa: ASYNC110 - a task of the broker reads the log
            await anyio.sleep(0.05)


async def told(agent: TestAgent, band: str) -> bool:
    return any(r["type"] == "trust.updated" and r["band"] == band for r in await agent.records())


async def test_who_touches_a_honeytool_is_cut_with_the_very_next_call(tmp_path: Path):
    async with agent_for(office, policies=policies(tmp_path)) as agent:
        assert not (await agent.call_tool("office__find", {"text": "x"})).is_error
        assert await refusal(agent, "office__export_vault") == ["trust/honeytool"]
        assert "trust/quarantined" in await refusal(agent, "office__find", text="x")
        assert await names(agent) == []


async def test_a_quarantined_agent_stays_so_until_an_operator_releases_it(tmp_path: Path):
    async with agent_for(office, policies=policies(tmp_path)) as agent:
        await refusal(agent, "office__export_vault")
        await until_told(agent, "quarantined")
        known = await agent.app.store.agents.agent(AgentId("tester"))
        assert known is not None
        await agent.app.journal.release(known, by="dana", reason="a tester's mistake")
        await until_told(agent, "watch")
        assert not (await agent.call_tool("office__add", {"text": "x"})).is_error


async def test_an_agent_that_has_lost_trust_loses_its_writing_tools_and_reads_on(tmp_path: Path):
    folder = policies(tmp_path)
    weights = folder / "trust" / "weights.yaml"
    weights.write_text(re.sub("denied: .*", "denied: {points: 300, half_life_s: 21600}", weights.read_text()))
    async with agent_for(office, policies=folder) as agent:
        with pytest.raises(MCPError):
            await agent.call_tool("office__nothing")
        await until_told(agent, "restricted")
        assert await names(agent) == ["office__export_vault", "office__find"]
        assert "trust/restricted-only-reads" in await refusal(agent, "office__add", text="x")
        assert not (await agent.call_tool("office__find", {"text": "x"})).is_error
