"""What terms do to a real call: priced, redacted and marked, and written down."""

import json

import pytest

from broker.connector import Connector
from broker.testing import agent_for, content

crm = Connector("crm")
SECRET = "dana@example.org"


@crm.tool(price="0.02", side_effect="reads")
async def find(name: str) -> dict[str, str]:
    """Find a customer."""
    return {"name": name, "email": SECRET}


@pytest.fixture
def policies(write):
    def policies(obligations: str, rules: str = ""):
        files = {"roles/r.yaml": f"role: r\nallow:\n  - tools: ['*']\n    obligations: {obligations}\n"}
        return write(files | ({"rules/x.cedar": rules} if rules else {}))

    return policies


async def last(agent):
    return (await agent.records())[-1]


async def test_a_call_that_may_cost_more_than_its_rule_allows_is_refused_before_it_is_made(policies):
    async with agent_for(crm, roles=["r"], policies=policies('{max_cost_usd: "0.01"}')) as agent:
        result = await agent.call_tool("crm__find", {"name": "Dana"})
        assert result.is_error
        assert "may cost 0.02 USD" in str(content(result))
        record = await last(agent)
    assert record["type"] == "call.denied"
    assert record["decision"]["max_cost"] == 10_000


async def test_a_redacted_value_reaches_the_caller_in_no_form_and_the_record_says_so(policies):
    async with agent_for(crm, roles=["r"], policies=policies("{redact: [email], watermark: true}")) as agent:
        result = await agent.call_tool("crm__find", {"name": "Dana"})
        records = await agent.records()
    assert content(result)["name"] == "Dana"
    assert SECRET not in result.model_dump_json()
    assert result.meta["io.toolbroker/watermark"]["agent"] == "tester"
    assert records[-2]["decision"]["redact"] == ["email"]
    assert records[-2]["decision"]["watermark"] is True
    assert records[-1]["redacted"]["values"] >= 2


async def test_what_shadow_rules_would_change_is_written_down_and_nothing_else_happens(policies):
    rule = '@id("soon") @reason("r") @mode("shadow") forbid (principal, action == Action::"call", resource);'
    async with agent_for(crm, roles=["r"], policies=policies("{}", rule)) as agent:
        result = await agent.call_tool("crm__find", {"name": "Dana"})
        records = await agent.records()
    assert not result.is_error
    assert records[-2]["decision"]["shadow"] == {"permitted": False, "rules": ["soon"]}
    assert "soon" not in json.dumps(content(result))
