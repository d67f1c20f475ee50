"""Multi-round-trip requests: a state comes back from the same caller, for the same call, or not at all."""

import pytest
from mcp_types import ElicitResult

from broker.edges.mcp.rounds import Rounds
from broker.edges.mcp.wire import Rejected
from broker.errors import NotDeclared, UpstreamRefused
from broker.identity.seals import Sealer
from broker.model import Answer, Kind, Method
from tests.unit.edges.house import KEY, House, envelope, modern, open_site, principal, said

ELICITATION = {"elicitation": {}}
QUESTION = {
    "method": "elicitation/create",
    "params": {"message": "?", "requestedSchema": {"type": "object", "properties": {}}},
}


def asking(state: object = "upstream-state") -> House:
    house = House()

    async def asks(method, params, line):
        if "inputResponses" in params:
            return said(f"{params.get('requestState')} {sorted(params['inputResponses'])}")
        more = {} if state is None else {"requestState": state}
        return Answer({"resultType": "input_required", "inputRequests": {"q": QUESTION}, **more})

    house.tool("t", asks)
    house.tool("other", asks)
    house.offer(Kind.PROMPT, "p", asks)
    return house


def answers(state: str | None, **more) -> dict:
    return {
        "name": "t",
        "arguments": {"a": 1},
        "inputResponses": {"q": {"action": "accept", "content": {}}},
        **({} if state is None else {"requestState": state}),
        **more,
    }


async def ask(site, name="t", **how):
    how.setdefault("meta", envelope(ELICITATION))
    return (await site.request("tools/call", {"name": name, "arguments": {"a": 1}}, **how)).json()


async def test_a_real_client_answers_a_question_and_gets_its_result():
    async def elicited(context, params):
        return ElicitResult(action="accept", content={"ok": True})

    async with open_site(asking()) as site, site.client(elicitation_callback=elicited) as client:
        result = await client.call_tool("t", {"a": 1})
    assert result.content[0].text == "upstream-state ['q']"


async def test_the_upstreams_state_is_sealed_on_its_way_and_put_back_on_a_retry():
    house = asking()
    async with open_site(house) as site:
        question = (await ask(site))["result"]
        assert question["resultType"] == "input_required"
        assert question["inputRequests"] == {"q": QUESTION}
        assert "upstream-state" not in question["requestState"]
        meta = envelope(ELICITATION)
        done = await site.request("tools/call", answers(question["requestState"]), meta=meta, identity=2)
    assert done.json()["result"]["content"][0]["text"] == "upstream-state ['q']"
    assert [s.amount for s in house.settled] == [0, 600], "a question costs nothing, the last round does"


async def test_where_the_upstream_keeps_no_state_none_is_needed():
    async with open_site(asking(state=None)) as site:
        assert "requestState" not in (await ask(site))["result"]
        done = await site.request("tools/call", answers(None), meta=envelope(ELICITATION))
    assert done.json()["result"]["content"][0]["text"] == "None ['q']"


async def test_prompts_ask_too():
    async with open_site(asking()) as site:
        result = await site.request("prompts/get", {"name": "p"}, meta=envelope(ELICITATION))
    assert result.json()["result"]["resultType"] == "input_required"


@pytest.mark.parametrize(
    "retry",
    [
        {"requestState": "made-up"},
        {"requestState": ""},
        {"requestState": 5},
        {"arguments": {"a": 2}},
        {"arguments": {"a": True}},
        {"name": "other"},
        {"more": 1},
        {"inputResponses": None},
        {"inputResponses": {"q": 12345}},
        {"inputResponses": []},
    ],
)
async def test_a_state_that_was_changed_or_belongs_to_another_call_is_refused(retry):
    house = asking()
    async with open_site(house) as site:
        state = (await ask(site))["result"]["requestState"]
        params = {**answers(state), **retry}
        response = await site.request("tools/call", params, meta=envelope(ELICITATION))
        assert (response.status_code, response.json()["error"]["code"]) == (400, -32602)
        tampered = f"{state[:-2]}{'A' if state[-2] != 'A' else 'B'}{state[-1]}"
        again = await site.request("tools/call", answers(tampered), meta=envelope(ELICITATION))
    assert again.json()["error"]["code"] == -32602
    assert len(house.calls) == 1


async def test_a_state_of_another_principal_is_refused():
    async with open_site(asking()) as site:
        state = (await ask(site))["result"]["requestState"]
        stolen = await site.request(
            "tools/call", answers(state), meta=envelope(ELICITATION), token="bob-token"
        )
    assert stolen.json()["error"]["code"] == -32602


def test_a_state_expires():
    now = [1_000_000.0]
    rounds = Rounds(Sealer(KEY, clock=lambda: now[0]))
    params = {"name": "t", "arguments": {}}
    body = {"resultType": "input_required", "requestState": "s"}
    sealed = rounds.pause(principal("alice"), Method.CALL_TOOL, params, body, {})["requestState"]
    retry = {**params, "requestState": sealed, "inputResponses": {}}
    now[0] += 599
    assert rounds.resume(principal("alice"), Method.CALL_TOOL, retry)["requestState"] == "s"
    now[0] += 2
    with pytest.raises(Rejected):
        rounds.resume(principal("alice"), Method.CALL_TOOL, retry)


@pytest.mark.parametrize(
    ("question", "declared", "lacks"),
    [
        ({"method": "sampling/createMessage", "params": {}}, {}, {"sampling": {}}),
        (
            {"method": "sampling/createMessage", "params": {"tools": [1]}},
            {"sampling": {}},
            {"sampling": {"tools": {}}},
        ),
        ({"method": "roots/list"}, {"sampling": {}}, {"roots": {}}),
        ({"method": "elicitation/create", "params": {}}, {"elicitation": {"url": {}}}, {"elicitation": {}}),
        (
            {"method": "elicitation/create", "params": {"mode": "url"}},
            {"elicitation": {}},
            {"elicitation": {"url": {}}},
        ),
        ({"method": "something/new"}, {"sampling": {}}, {"something": {}}),
    ],
)
def test_a_question_that_the_caller_did_not_say_it_can_answer_is_not_relayed(question, declared, lacks):
    body = {"resultType": "input_required", "inputRequests": {"q": question}, "requestState": "s"}
    with pytest.raises(NotDeclared) as caught:
        Rounds(Sealer(KEY)).pause(principal("alice"), Method.CALL_TOOL, {"name": "t"}, body, declared)
    assert caught.value.required == lacks


async def test_the_missing_capability_is_named_on_the_wire():
    async with open_site(asking()) as site:
        body, headers = modern("tools/call", {"name": "t"})
        response = await site.post(body, **{k.replace("-", "_"): v for k, v in headers.items()})
    assert response.status_code == 400
    assert response.json()["error"]["code"] == -32021
    assert response.json()["error"]["data"]["requiredCapabilities"] == {"elicitation": {}}


def test_a_method_without_rounds_is_never_answered_with_questions():
    with pytest.raises(UpstreamRefused):
        Rounds(Sealer(KEY)).pause(principal("alice"), Method.COMPLETE, {}, {"inputRequests": {}}, {})
