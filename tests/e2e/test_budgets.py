"""Budgets and rates as an agent meets them, through the whole broker."""

import shutil
from pathlib import Path

import pytest

from broker.errors import ConfigurationError
from broker.ledger.rules import load_budgets
from broker.policy.load import shipped_policies
from broker.testing import TestAgent, agent_for, content
from connectors.echo import connector


def policies(folder: Path, text: str) -> Path:
    made = folder / "policies"
    shutil.copytree(shipped_policies(), made)
    (made / "budgets").mkdir(exist_ok=True)
    (made / "budgets" / "test.yaml").write_text(text)
    return made


async def say(agent: TestAgent):
    return await agent.call_tool("echo__say", {"text": "ha"})


async def test_an_agent_is_told_how_much_is_used_then_slowed_down_then_stopped(tmp_path: Path):
    text = (
        'budgets:\n  - {scope: "agent:*", window: total, calls: 100, warn: [1], slow_from: 2}\n'
        '  - {scope: "task:*", window: total, calls: 3}\n'
    )
    async with agent_for(connector, policies=policies(tmp_path, text)) as agent:
        first, second, third, fourth = [await say(agent) for _ in range(4)]
        (told,) = (first.meta or {})["io.toolbroker/budget"]
        assert told == {"scope": "agent:tester", "unit": "calls", "used_percent": 1, "waited_ms": 0}
        assert (second.meta or {})["io.toolbroker/budget"][0]["waited_ms"] == 0
        assert (third.meta or {})["io.toolbroker/budget"][0]["waited_ms"] == 51
        assert fourth.is_error
        error = content(fourth)["error"]
        assert error["code"] == "over_budget"
        records = await agent.records()
        assert [r["percent"] for r in records if r["type"] == "budget.threshold"] == [1, 80]
        assert [r["held_back_ms"] for r in records if "held_back_ms" in r] == [51]


async def test_an_agent_that_calls_too_fast_is_told_when_to_come_back(tmp_path: Path):
    text = 'rates:\n  - {scope: "agent:tester", calls: 1, per: hour}\n'
    async with agent_for(connector, policies=policies(tmp_path, text)) as agent:
        assert not (await say(agent)).is_error
        refused = await say(agent)
        error = content(refused)["error"]
        assert (refused.is_error, error["code"]) == (True, "rate_limited")
        assert error["retry_after_s"] == pytest.approx(3600, abs=120)
        assert error["hint"].startswith("wait 3")


async def test_an_agent_without_money_is_told_when_its_window_turns(tmp_path: Path):
    text = 'budgets:\n  - {scope: "agent:tester", window: hour, calls: 1}\n'
    async with agent_for(connector, policies=policies(tmp_path, text)) as agent:
        assert not (await say(agent)).is_error
        error = content(await say(agent))["error"]
    assert error["code"] == "over_budget"
    assert 0 < error["retry_after_s"] <= 3600


async def test_calls_from_one_address_keep_to_its_rate_and_the_address_is_not_in_the_books(tmp_path: Path):
    text = 'rates:\n  - {scope: "address:*", calls: 1, per: hour}\n'
    async with agent_for(connector, policies=policies(tmp_path, text)) as agent:
        assert not (await say(agent)).is_error
        refused = await say(agent)
        assert content(refused)["error"]["code"] == "rate_limited"
        accounts = [balance.account for balance in await agent.app.store.ledger.balances()]
        (kept,) = [account for account in accounts if account.startswith("rate:address:")]
        assert "127.0.0.1" not in str(accounts)
        assert len(kept.split(":")[2].partition("#")[0]) == 16


async def test_one_address_cannot_be_named_in_a_rule(tmp_path: Path):
    folder = policies(tmp_path, 'rates:\n  - {scope: "address:10.0.0.1", calls: 1, per: hour}\n')
    with pytest.raises(ConfigurationError, match="keyed hashes"):
        load_budgets(folder)
