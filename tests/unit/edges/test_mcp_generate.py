"""Models asked by MCP clients: one tool for each connector, and behind it the same call as under `/v1/`."""

from dataclasses import replace

import pytest

from broker.errors import BudgetExceeded, RateLimited
from broker.model import Answer, Kind, Method
from tests.unit.edges.house import open_site, said
from tests.unit.edges.model_house import ModelHouse, completion


class Both(ModelHouse):
    """A house in which tools and models are found by what is called."""

    def find(self, call):
        kind = Kind.TOOL if call.method is Method.CALL_TOOL else Kind.MODEL
        return self.found.get((kind, call.name))


@pytest.fixture
def house() -> Both:
    house = Both()
    house.model("house__small", Answer(completion("hi")))
    house.model("house__secret", Answer(completion("hidden")))
    house.hidden.add(("alice", "house__secret"))
    return house


async def ask(site, name="house__generate", **arguments):
    answer = await site.request("tools/call", {"name": name, "arguments": arguments})
    return answer.json()


async def test_the_tool_names_the_models_that_this_agent_may_use_and_no_other(house) -> None:
    house.model("house__embed", Answer({}), methods=[Method.EMBED])
    async with open_site(house) as site:
        listed = (await site.request("tools/list")).json()["result"]["tools"]
    (tool,) = listed
    assert tool["name"] == "house__generate"
    assert tool["inputSchema"]["properties"]["model"]["enum"] == ["house__small"]


async def test_the_answer_is_a_text_and_says_what_was_used(house) -> None:
    async with open_site(house) as site:
        arguments = {"prompt": "greet", "system": "be brief", "max_tokens": 50, "temperature": 0}
        result = (await ask(site, model="house__small", **arguments))["result"]
    assert result["content"] == [{"type": "text", "text": "hi"}]
    told = {"model": "m", "text": "hi", "why_ended": "stop", "usage": {"read": 1, "cached": 0, "wrote": 2}}
    assert result["structuredContent"] == told
    assert result["_meta"]["io.toolbroker/call"]["cost_micro_usd"] == 600
    ((method, params),) = house.calls
    assert method is Method.CHAT
    system, user = {"role": "system", "content": "be brief"}, {"role": "user", "content": "greet"}
    assert params["messages"] == [system, user]
    assert params["temperature"] == 0


@pytest.mark.parametrize(
    ("method", "body", "text"),
    [
        (Method.MESSAGES, {"content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn"}, "hi"),
        (
            Method.RESPONSES,
            {"status": "completed", "output": [{"content": [{"type": "output_text", "text": "hi"}]}]},
            "hi",
        ),
    ],
)
async def test_a_model_is_asked_in_the_format_that_it_speaks(house, method, body, text) -> None:
    house.model("house__small", Answer({"model": "m", **body}), methods=[method])
    async with open_site(house) as site:
        result = (await ask(site, model="house__small", prompt="greet", system="be brief"))["result"]
    assert result["structuredContent"]["text"] == text
    ((asked, params),) = house.calls
    assert asked is method
    assert "be brief" in (params.get("system"), params.get("instructions"))


async def test_the_call_of_the_model_is_what_is_recorded(house) -> None:
    async with open_site(house) as site:
        await ask(site, model="house__small", prompt="greet")
    intent = next(e for e in house.entries if e.event == "call.intent")
    assert intent.facts["what"]["method"] == "chat/completions"
    assert intent.facts["what"]["name"] == "house__small"


@pytest.mark.parametrize("name", ["house__generate", "nothing__generate"])
async def test_a_tool_without_a_model_for_this_chain_does_not_exist(house, name) -> None:
    house.hidden.add(("alice", "house__small"))
    async with open_site(house) as site:
        listed = (await site.request("tools/list")).json()["result"]["tools"]
        refused = await ask(site, name, model="house__small", prompt="greet")
    assert listed == []
    assert refused["error"]["message"] == f"there is no `{name}` here"
    assert house.calls == []


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"prompt": "x"}, "`model` is one of `house__small`"),
        ({"model": "house__secret", "prompt": "x"}, "`model` is one of `house__small`"),
        ({"model": ["house__small"], "prompt": "x"}, "`model` is one of `house__small`"),
        ({"model": "house__small"}, "`prompt` has to be a text"),
        ({"model": "house__small", "prompt": "x", "system": 1}, "`system` has to be a text"),
        ({"model": "house__small", "prompt": "x", "max_tokens": True}, "`max_tokens` has to be"),
        ({"model": "house__small", "prompt": "x", "max_tokens": 0}, "`max_tokens` has to be"),
        ({"model": "house__small", "prompt": "x", "temperature": "hot"}, "`temperature` has to be"),
        ({"model": "house__small", "prompt": "x", "stream": True}, "there is no argument `stream`"),
    ],
)
async def test_wrong_arguments_are_refused_with_what_is_wrong_and_reach_nobody(house, arguments, why) -> None:
    async with open_site(house) as site:
        refused = await ask(site, **arguments)
    assert why in refused["error"]["message"]
    assert house.calls == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BudgetExceeded("too dear"), "over_budget"),
        (RateLimited("too soon", retry_after_s=7), "rate_limited"),
    ],
)
async def test_a_refusal_is_a_result_that_the_asking_model_can_read(house, error, code) -> None:
    async def refuse(method, params, line):
        raise error

    house.model("house__small", refuse)
    async with open_site(house) as site:
        result = (await ask(site, model="house__small", prompt="greet"))["result"]
    assert result["isError"] is True
    assert result["structuredContent"]["error"]["code"] == code


async def test_a_tool_of_that_name_comes_first(house) -> None:
    house.tool("house__generate", said("mine"))
    async with open_site(house) as site:
        listed = (await site.request("tools/list")).json()["result"]["tools"]
        result = (await ask(site))["result"]
    assert len(listed) == 1
    assert result["content"][0]["text"] == "mine"


async def test_it_is_the_same_for_clients_that_keep_a_session(house) -> None:
    async with open_site(house) as site, site.client("legacy") as client:
        listed = await client.list_tools()
        result = await client.call_tool("house__generate", {"model": "house__small", "prompt": "greet"})
    assert [tool.name for tool in listed.tools] == ["house__generate"]
    assert result.structured_content["text"] == "hi"


async def test_what_one_connector_offers_cannot_be_asked_by_the_tool_of_another(house) -> None:
    house.found[Kind.MODEL, "far__big"] = replace(
        house.found[Kind.MODEL, "house__small"], name="far__big", connector="far"
    )
    async with open_site(house) as site:
        listed = (await site.request("tools/list")).json()["result"]["tools"]
        refused = await ask(site, model="far__big", prompt="greet")
    assert [tool["name"] for tool in listed] == ["far__generate", "house__generate"]
    assert "`model` is one of `house__small`" in refused["error"]["message"]
