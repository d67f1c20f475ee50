"""Attempts to act on authority that was not given, or is over. None succeeds."""

import base64
import time
from dataclasses import replace

import anyio
import orjson
import pytest

from broker.grants import Grants
from broker.identity.authenticator import access_tokens
from broker.identity.tokens import Kind
from broker.model import AgentStatus, GrantId
from tests.agency import ACCESS_TOKEN, JWT, agency, told, why


def claims(token: str) -> dict:
    part = token.split(".")[1]
    return orjson.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def tools(**named: dict) -> str:
    return orjson.dumps([{"type": "io.toolbroker/tools", "tools": named}]).decode()


async def test_without_an_attack_delegation_works_in_both_ways():
    async with agency() as house:
        planner, researcher = await house.enrol("planner", "lead"), await house.enrol("researcher")
        delegation = await planner.delegate("researcher", task="invoices")
        assert why(await researcher.call("notes__find", delegation=delegation)) == ""
        taken_up = await researcher.exchange(delegation, subject_token_type=JWT)
        token = taken_up.json()["access_token"]
        assert taken_up.json()["token_type"] == "Bearer"
        assert why(await researcher.call("notes__find", token=token)) == ""
        *_, last = await house.records("call.intent")
        assert (last["agent"], last["actor"]["subject"], last["actor"]["chain"]) == (
            "researcher",
            "planner",
            ["researcher", "planner"],
        )
        assert claims(delegation)["act"] == {"sub": "researcher", "sub_profile": "ai_agent"}
        assert claims(delegation)["sub"] == "planner"


async def test_a_stolen_delegation_token_is_worth_nothing_to_another_agent():
    async with agency() as house:
        planner, _ = await house.enrol("planner", "lead"), await house.enrol("researcher")
        thief = await house.enrol("thief")
        delegation = await planner.delegate("researcher")
        assert why(await thief.call("notes__find", delegation=delegation)) == "delegation/holder"
        assert (await thief.refused(None, subject=delegation, subject_token_type=JWT))[0] == "invalid_request"
        assert why(await planner.call("notes__find", delegation=delegation)) == "delegation/holder"
        assert [r["agent"] for r in await house.records("call.denied")] == ["thief", "planner"]


async def test_a_list_under_a_delegation_that_does_not_stand_shows_nothing():
    async with agency() as house:
        planner, _ = await house.enrol("planner", "lead"), await house.enrol("researcher")
        thief = await house.enrol("thief")
        stolen = await planner.delegate("researcher")
        for token in (stolen, await planner.token(), "", 7):
            answer = await thief.request("tools/list", {}, delegation=token)
            assert "result" not in answer.json()
            assert answer.status_code == 400


async def test_a_delegation_token_alone_is_no_bearer_token():
    async with agency() as house:
        planner, researcher = await house.enrol("planner", "lead"), await house.enrol("researcher")
        delegation = await planner.delegate("researcher")
        answer = await researcher.request("tools/list", {}, token=delegation)
        assert answer.status_code == 401


async def test_an_access_token_is_no_delegation_token():
    async with agency() as house:
        planner, researcher = await house.enrol("planner", "lead"), await house.enrol("researcher")
        for token in (await planner.token(), await researcher.token(), "", "x" * 10_000):
            assert why(await researcher.call("notes__find", delegation=token)) == "delegation/token"
        assert why(await researcher.call("notes__find", delegation=7)) == "delegation/token"
        delegation = await planner.delegate("researcher")
        taken_up = (await researcher.exchange(delegation, subject_token_type=JWT)).json()["access_token"]
        assert why(await researcher.call("notes__find", delegation=taken_up)) == "delegation/token"


async def test_a_delegation_is_over_when_the_call_that_it_came_with_has_ended():
    kept = []
    async with agency() as house:
        planner, researcher = await house.enrol("planner", "lead"), await house.enrol("researcher")

        async def keep(line):
            kept.append(line.delegation)
            assert why(await researcher.call("notes__find", delegation=line.delegation)) == ""
            taken_up = await researcher.exchange(line.delegation, subject_token_type=JWT)
            kept.append(taken_up.json()["access_token"])

        house.desk.act = keep
        assert why(await planner.call("desk__ask")) == ""
        delegation, taken_up = kept
        (record,) = await house.records("delegation.created")
        rule = f"delegation/{record['grant']}"
        assert why(await researcher.call("notes__find", delegation=delegation)) == rule
        assert (await researcher.request("tools/list", {}, token=taken_up)).status_code == 401
        error, reason = await researcher.refused("summariser", subject=delegation, subject_token_type=JWT)
        assert (error, "ended with the call" in reason) == ("invalid_request", True)


async def test_a_foreign_subject_token_cannot_be_spliced_into_a_chain():
    async with agency() as house:
        planner, researcher = await house.enrol("planner", "lead"), await house.enrol("researcher")
        await house.enrol("summariser")
        foreign = await planner.token()
        error, reason = await researcher.refused("summariser", subject=foreign)
        assert (error, reason) == ("invalid_request", "this delegation is not yours to use")
        error, _ = await researcher.refused(
            "summariser", subject=foreign, actor_token=await researcher.token(), actor_token_type=ACCESS_TOKEN
        )
        assert error == "invalid_request"
        assert (await planner.refused(None))[0] == "invalid_request"


async def test_two_delegations_cannot_be_combined():
    async with agency() as house:
        planner, researcher = await house.enrol("planner", "lead"), await house.enrol("researcher")
        boss = await house.enrol("boss", "lead")
        one, other = await planner.delegate("researcher"), await boss.delegate("researcher")
        taken_up = (await researcher.exchange(one, subject_token_type=JWT)).json()["access_token"]
        assert why(await researcher.call("notes__find", token=taken_up, delegation=other)) == "delegation/one"


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        ({}, {"scope": "mcp:tools mcp:admin"}, "invalid_scope"),
        (
            {"authorization_details": tools(notes__find={})},
            {"authorization_details": tools(notes__add={})},
            "invalid_authorization_details",
        ),
        (
            {"authorization_details": tools(notes__find={})},
            {"authorization_details": tools(**{"notes__*": {}})},
            "invalid_authorization_details",
        ),
        (
            {
                "authorization_details": tools(
                    notes__find={"year": {"constraint_type": "range", "min": 3, "max": 5}}
                )
            },
            {"authorization_details": tools(notes__find={"year": {"constraint_type": "range", "min": 3}})},
            "invalid_authorization_details",
        ),
        (
            {"authorization_details": tools(notes__find={"year": {"constraint_type": "exact", "value": 1}})},
            {
                "authorization_details": tools(
                    notes__find={"year": {"constraint_type": "exact", "value": True}}
                )
            },
            "invalid_authorization_details",
        ),
        (
            {"authorization_details": tools(notes__find={"year": {"constraint_type": "exact", "value": 1}})},
            {"authorization_details": tools(notes__find={})},
            "invalid_authorization_details",
        ),
        ({"budget_micro_usd": 100}, {"budget_micro_usd": 101}, "invalid_request"),
        ({"max_calls": 3}, {"max_calls": 4}, "invalid_request"),
        ({"requested_expires_in": 60}, {"requested_expires_in": 3600}, "invalid_request"),
        ({}, {"requested_expires_in": 0}, "invalid_request"),
        ({"max_depth": 2}, {"max_depth": 3}, "invalid_request"),
        ({"max_depth": 1}, {}, "invalid_request"),
    ],
    ids=[
        "scope",
        "another tool",
        "more tools",
        "an open bound",
        "true for 1",
        "any value",
        "budget",
        "calls",
        "longer life",
        "no life",
        "max_depth",
        "depth",
    ],
)
async def test_nothing_is_handed_on_that_was_not_given(first: dict, second: dict, code: str):
    async with agency() as house:
        planner, researcher = await house.enrol("planner", "lead"), await house.enrol("researcher")
        await house.enrol("summariser")
        given = await planner.delegate("researcher", **first)
        before = len(await house.records("delegation.created"))
        refused = await researcher.refused("summariser", subject=given, subject_token_type=JWT, **second)
        assert refused[0] == code
        assert len(await house.records("delegation.created")) == before
        taken_up = (await researcher.exchange(given, subject_token_type=JWT)).json()["access_token"]
        assert (await researcher.refused("summariser", subject=taken_up, **second))[0] == code


@pytest.mark.parametrize(
    "details",
    ["{}", "[1]", '[{"type":"other","tools":{}}]', "[" * 5000, '[{"type":"io.toolbroker/tools"}]', "NaN"]
    + [
        tools(a={"x": condition})
        for condition in (
            {"constraint_type": "regex", "value": ".*"},
            {"constraint_type": "range", "min": "a"},
            {"constraint_type": "range"},
            {"constraint_type": "one_of", "values": []},
            {"constraint_type": "pattern", "value": 3},
            {"constraint_type": "exact"},
            {"constraint_type": "exact", "value": 1, "min": 0},
            {"constraint_type": ["exact"], "value": 1},
        )
    ]
    + ['[{"type":"io.toolbroker/tools","tools":{"a":{"x":{"constraint_type":"range","max":1,"max":9}}}}]'],
    ids=lambda text: f"{len(text)} {text[-60:]}",
)
async def test_limits_that_are_not_understood_are_not_taken_for_none(details: str):
    async with agency() as house:
        planner, _ = await house.enrol("planner", "lead"), await house.enrol("researcher")
        refused = await planner.refused("researcher", authorization_details=details)
        assert refused[0] == "invalid_authorization_details"


async def test_a_call_beyond_the_limits_names_the_hop_that_forbids_it_and_lists_show_none_of_it():
    async with agency() as house:
        planner, researcher = await house.enrol("planner", "lead"), await house.enrol("researcher")
        summariser = await house.enrol("summariser")
        limits = tools(notes__find={"year": {"constraint_type": "range", "min": 2020, "max": 2026}})
        given = await planner.delegate("researcher", authorization_details=limits)
        below = await researcher.delegate("summariser", subject=given, subject_token_type=JWT)
        rule = f"delegation/{claims(given)['dlg']['id']}"
        for member, token in ((researcher, given), (summariser, below)):
            assert await member.tools(delegation=token) == ["notes__find"]
            assert why(await member.call("notes__find", {"year": 2026}, delegation=token)) == ""
            for year in (2019, 2027, True, "2026", None, [2026], {"min": 2026}):
                assert why(await member.call("notes__find", {"year": year}, delegation=token)) == rule
            assert why(await member.call("notes__find", {}, delegation=token)) == rule
            assert why(await member.call("notes__add", {"text": "x"}, delegation=token)) == "unknown_target"


async def test_the_weakest_of_a_chain_decides_and_a_demotion_reaches_everything_below():
    async with agency() as house:
        clerk, researcher = await house.enrol("clerk", "reader"), await house.enrol("researcher")
        given = await clerk.delegate("researcher")
        assert await researcher.tools(delegation=given) == ["notes__find"]
        assert why(await researcher.call("notes__add", {"text": "x"}, delegation=given)) == "unknown_target"
        (house.policies / "roles" / "reader.yaml").write_text(
            "role: reader\nallow:\n  - tools: [desk__ask]\n"
        )
        house.app.policy.reload()
        assert why(await researcher.call("notes__find", delegation=given)) == "unknown_target"


async def test_a_chain_cannot_come_back_to_somebody_in_it():
    async with agency() as house:
        planner, researcher = await house.enrol("planner", "worker"), await house.enrol("researcher")
        given = await planner.delegate("researcher")
        for name in ("planner", "researcher"):
            error, reason = await researcher.refused(name, subject=given, subject_token_type=JWT)
            assert (error, reason) == ("invalid_request", f"{name} is in the chain already")
        assert (await planner.refused("planner"))[1] == "planner is in the chain already"
        answers = []

        async def ask_back(line):
            answers.append(await researcher.call("desk__ask", delegation=line.delegation))

        house.desk.act = ask_back
        with anyio.fail_after(10):
            await planner.call("desk__ask")
        assert [why(answer) for answer in answers] == ["delegation/cycle"]


async def test_an_agent_that_may_not_delegate_cannot_do_it_by_calling_an_agent_either():
    async with agency() as house:
        loner, _ = await house.enrol("loner", "loner"), await house.enrol("researcher")
        assert (await loner.refused("researcher"))[0] == "unauthorized_client"
        asked = []

        async def note(line):
            asked.append(line)

        house.desk.act = note
        assert why(await loner.call("desk__ask")) == "delegation/policy"
        assert asked == []


async def test_revoking_a_hop_ends_it_and_everything_below_at_the_next_call():
    async with agency() as house:
        planner, researcher = await house.enrol("planner", "lead"), await house.enrol("researcher")
        summariser = await house.enrol("summariser")
        first = await planner.delegate("researcher")
        second = await researcher.delegate("summariser", subject=first, subject_token_type=JWT)
        other = await planner.delegate("researcher")
        taken_up = (await summariser.exchange(second, subject_token_type=JWT)).json()["access_token"]
        assert why(await summariser.call("notes__find", token=taken_up)) == ""
        await Grants(house.app.store.grants).revoke(GrantId(claims(first)["dlg"]["id"]), by="dana")
        assert why(await researcher.call("notes__find", delegation=first)).startswith("delegation/")
        assert why(await summariser.call("notes__find", delegation=second)).startswith("delegation/")
        assert (await summariser.request("tools/list", {}, token=taken_up)).status_code == 401
        assert (await researcher.refused("summariser", subject=first, subject_token_type=JWT))[0]
        assert why(await researcher.call("notes__find", delegation=other)) == ""


async def test_revoking_a_token_ends_what_was_delegated_with_it():
    async with agency() as house:
        planner, researcher = await house.enrol("planner", "lead"), await house.enrol("researcher")
        token = await planner.token()
        given, other = (
            await planner.delegate("researcher", subject=token),
            await planner.delegate("researcher"),
        )
        answer = await house.http.post(
            "/oauth/revoke", data={"token": token}, auth=(planner.name, planner.secret)
        )
        assert answer.status_code == 200
        assert why(await researcher.call("notes__find", delegation=given)).startswith("delegation/")
        assert why(await researcher.call("notes__find", delegation=other)) == ""


@pytest.mark.parametrize("status", [AgentStatus.SUSPENDED, AgentStatus.REVOKED])
@pytest.mark.parametrize("who", ["planner", "researcher"])
async def test_nobody_acts_below_an_actor_that_was_suspended(status: AgentStatus, who: str):
    async with agency() as house:
        planner, researcher = await house.enrol("planner", "lead"), await house.enrol("researcher")
        summariser = await house.enrol("summariser")
        first = await planner.delegate("researcher")
        second = await researcher.delegate("summariser", subject=first, subject_token_type=JWT)
        assert why(await summariser.call("notes__find", delegation=second)) == ""
        await house.set_status(who, status)
        answer = await summariser.call("notes__find", delegation=second)
        assert why(answer).startswith("delegation/")
        assert f"while `{who}` is {status}" in orjson.dumps(answer).decode()
        assert why(await summariser.call("notes__find")) == ""


async def test_nobody_delegates_into_another_organisation_or_to_somebody_who_may_not_act():
    async with agency() as house:
        planner = await house.enrol("planner", "worker")
        await house.enrol("spy", organisation="evil")
        await house.enrol("sleeper")
        await house.set_status("sleeper", AgentStatus.SUSPENDED)
        foreign, unknown = await planner.refused("spy"), await planner.refused("nobody")
        assert foreign[1].replace("spy", "nobody") == unknown[1]
        assert (await planner.refused("sleeper"))[1] == "sleeper is suspended"


async def test_a_parent_that_is_only_claimed_is_never_believed():
    async with agency() as house:
        planner, researcher = await house.enrol("planner", "lead"), await house.enrol("researcher")
        token = await planner.token()
        mine = told(await planner.call("notes__find", token=token))["id"]
        theirs = told(await researcher.call("notes__find"))["id"]
        other = told(await planner.call("notes__find"))["id"]  # another transaction
        for claim in (theirs, other, "0" * 36, "", "x" * 9000):
            cause = told(await planner.call("notes__find", token=token, parent_call=claim))
            assert (cause["parent"], cause["root"]) == (None, cause["id"])
        own = told(await planner.call("notes__find", token=token, parent_call=mine))
        assert (own["parent"], own["root"]) == (mine, mine)
        *_, last = await house.records("call.intent")
        assert "claimed_parent" not in last["cause"]
        claimed = [r["cause"].get("claimed_parent") for r in await house.records("call.intent")]
        assert claimed[3:5] == [theirs, other]


async def test_a_delegation_decides_which_call_is_the_parent_whatever_is_claimed():
    seen = []
    async with agency() as house:
        planner, researcher = await house.enrol("planner", "lead"), await house.enrol("researcher")
        foreign = told(await planner.call("notes__find"))["id"]

        async def work(line):
            first = await researcher.call("notes__find", delegation=line.delegation, parent_call=foreign)
            below = told(first)["id"]
            second = await researcher.call("notes__find", delegation=line.delegation, parent_call=below)
            seen.extend([line.call_id, told(first), told(second)])

        house.desk.act = work
        await planner.call("desk__ask")
        call, first, second = seen
        assert (first["parent"], first["root"]) == (call, call)
        assert (second["parent"], second["root"]) == (first["id"], call)
        causes = [r["cause"]["task"] for r in await house.records("call.intent")]
        assert len(set(causes[1:])) == 1


async def test_a_slice_of_a_budget_holds_for_everybody_below_it_together():
    async with agency() as house:
        planner, researcher = await house.enrol("planner", "lead"), await house.enrol("researcher")
        summariser = await house.enrol("summariser")
        first = await planner.delegate("researcher", budget_micro_usd=250)
        second = await researcher.delegate("summariser", subject=first, subject_token_type=JWT)
        assert why(await researcher.call("notes__find", delegation=first)) == ""
        assert why(await summariser.call("notes__find", delegation=second)) == ""
        rule = f"budget/grant:{claims(first)['dlg']['id']}"
        assert why(await summariser.call("notes__find", delegation=second)) == rule
        assert why(await researcher.call("notes__find", delegation=first)) == rule
        assert why(await researcher.call("notes__find")) == ""


async def test_no_more_calls_are_made_than_were_handed_on_however_many_try_at_once():
    answers = []
    async with agency() as house:
        planner, researcher = await house.enrol("planner", "lead"), await house.enrol("researcher")
        given = await planner.delegate("researcher", max_calls=5)
        token = await researcher.token()

        async def attempt():
            answers.append(why(await researcher.call("notes__find", token=token, delegation=given)))

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                for _ in range(20):
                    tasks.start_soon(attempt)
    assert answers.count("") == 5
    assert sum(answer.startswith("delegation/") for answer in answers) == 15


async def test_a_token_for_a_hop_that_was_never_recorded_is_worth_nothing():
    async with agency() as house:
        planner, researcher = await house.enrol("planner", "lead"), await house.enrol("researcher")
        given = await planner.delegate("researcher")
        (grant,) = await house.app.store.grants.chain(GrantId(claims(given)["dlg"]["id"]))
        tokens = access_tokens(house.app.settings, house.app.keys, time.time)
        ghost = replace(grant, id=GrantId("ghost"))
        forged = tokens.mint_delegated(Kind.DELEGATION, [ghost], frozenset({"mcp:tools"}), parent="x").compact
        assert why(await researcher.call("notes__find", delegation=forged)) == "delegation/holder"


async def test_an_agent_that_is_suspended_is_not_called_as_a_tool_either():
    asked = []
    async with agency() as house:
        planner, _ = await house.enrol("planner", "lead"), await house.enrol("researcher")
        foreign = await house.enrol("stranger", "lead", organisation="evil")

        async def note(line):
            asked.append(line)

        house.desk.act = note
        assert why(await foreign.call("desk__ask")) == "delegation/delegatee"
        await house.set_status("researcher", AgentStatus.SUSPENDED)
        assert why(await planner.call("desk__ask")) == "delegation/delegatee"
        assert asked == []
        *_, last = await house.records("call.denied")
        assert last["error"]["because"] == ["delegation/delegatee"]
