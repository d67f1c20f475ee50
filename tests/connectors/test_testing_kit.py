"""Does the public test kit show an author what an agent would see?"""

import pytest

from broker.connector import Connector
from broker.model import Situation
from broker.testing import Policies, agent_for, content
from connectors.mcp_upstream import McpUpstream
from tests.connectors.kit import rough


def notes() -> Connector:
    connector = Connector("notes")

    @connector.tool(side_effect="reads")
    async def find(text: str) -> list[str]:
        """Find notes that hold a text."""
        return [text]

    @connector.tool(side_effect="writes")
    async def add(text: str) -> str:
        """Add a note."""
        return f"added {text}"

    return connector


async def test_an_agent_sees_the_tools_of_its_roles_and_no_others():
    async with agent_for(notes(), roles=["reader"]) as agent:
        assert [tool.name for tool in await agent.list_tools()] == ["notes__find"]
        assert content(await agent.call_tool("notes__find", {"text": "a"})) == {"result": ["a"]}


async def test_text_is_content_and_every_call_is_in_the_log():
    async with agent_for(notes()) as agent:
        assert content(await agent.call_tool("notes__add", {"text": "a"})) == "added a"
        events = [record["type"] for record in await agent.records()]
    assert events[-2:] == ["call.intent", "call.outcome"]


async def test_any_upstream_can_be_tested_with_its_settings():
    async with agent_for(McpUpstream(), name="rough", settings={"command": rough()}) as agent:
        result = await agent.call_tool("rough__say", {"text": "through the whole broker"})
    assert content(result) == "through the whole broker"


async def test_what_fails_in_a_test_arrives_as_itself():
    with pytest.raises(AssertionError, match="as it was written"):
        async with agent_for(notes()):
            raise AssertionError("as it was written")


def test_policies_can_be_asked_without_a_broker(tmp_path):
    role = """role: support
allow:
  - {tools: [crm__find]}
  - {tools: [crm__refund], when: amount <= 50 and not taint contains 'pii'}
approve:
  - {tools: [crm__refund], when: amount > 50, approver: team-lead}
"""
    tools = "tools:\n  - match: crm__refund\n    arguments: {amount: {scale: 2}}\n"
    for file, text in {"roles/s.yaml": role, "tools/t.yaml": tools}.items():
        (tmp_path / file).parent.mkdir()
        (tmp_path / file).write_text(text)
    policies = Policies(tmp_path, tools=["crm__refund", "crm__find", "crm__wipe"])
    assert policies.visible(["support"]) == ["crm__refund", "crm__find"]
    assert policies.decide(["support"], "crm__refund", {"amount": 50}).permitted
    assert [c.approver for c in policies.decide(["support"], "crm__refund", {"amount": 60}).consents] == [
        "team-lead"
    ]
    tainted = Situation(taint=frozenset({"pii"}))
    assert not policies.decide(["support"], "crm__refund", {"amount": 50}, situation=tainted).permitted
    assert not policies.decide(["support"], "crm__find", on_behalf_of=[["clerk"]]).permitted
    assert not policies.decide(["support"], "crm__wipe").permitted
