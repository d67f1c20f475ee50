"""Attempts to decide on calls over the operator API by whoever may not, or twice. None succeeds."""

import json

import anyio
import pytest

from broker.errors import BrokerError
from broker.identity.operators import Right
from tests.asking import Asking, asking, made, pending, refused
from tests.staff import Person, hire

REFUND = {"to": "ada", "amount": 20}
PEOPLE = "approvers:\n  team-lead:\n    people: [dana]\n    not_owner: true\n"


async def refund(member, token: str, **arguments):
    return await member.call("shop__refund", {**REFUND, **arguments}, token=token)


async def asked(house: Asking, name: str = "rita"):
    """An agent, its token, and the path of what it has asked for."""
    member = await house.enrol(name)
    token = await member.token()
    return member, token, f"/approvals/{pending(await refund(member, token))}"


async def test_without_an_attack_an_operator_sees_what_will_be_sent_and_approves_it_once():
    async with asking() as house:
        dana = await hire(house, "dana")
        rita, token, path = await asked(house)
        (listed,) = (await dana.get("/approvals"))["items"]
        assert listed == await dana.get(path)
        assert (listed["state"], listed["agent"], listed["target"]) == ("pending", "rita", "shop__refund")
        sent = json.loads((await dana.get(f"{path}/arguments"))["params"])
        assert sent["arguments"] == REFUND
        done = await dana.do("POST", f"{path}/approve", {"reason": "checked"})
        assert (done["state"], done["reach"]) == ("approved", "call")
        assert (await dana.get(f"{path}/arguments"))["params"] is None
        assert made(await refund(rita, token))
        pending(await refund(rita, token))
        assert house.shop.refunds == [("ada", 20)]
        (granted,) = await house.records("approval.granted")
        assert (granted["by"], granted["reason"]) == ("operator:dana", "checked")


async def test_what_an_operator_approves_for_a_chain_holds_there_until_it_is_taken_back():
    async with asking() as house:
        dana = await hire(house, "dana")
        rita, token, path = await asked(house)
        await dana.do("POST", f"{path}/approve", {"reach": "chain", "holds_s": 600})
        assert made(await refund(rita, token, amount=1))
        assert made(await refund(rita, token, amount=2))
        assert (await dana.do("POST", f"{path}/revoke", {"reason": "enough"}))["state"] == "revoked"
        pending(await refund(rita, token, amount=3))
        assert house.shop.refunds == [("ada", 1), ("ada", 2)]


async def test_what_an_operator_says_no_to_is_told_to_the_agent_and_not_overcome_by_approving_it():
    async with asking() as house:
        dana = await hire(house, "dana")
        rita, token, path = await asked(house)
        await dana.do("POST", f"{path}/deny", {"reason": "not in this quarter"})
        status, code, _ = await dana.refused("POST", f"{path}/approve", {})
        assert (status, code) == (400, "invalid_request")
        assert "not in this quarter" in refused(await refund(rita, token))
        assert house.shop.refunds == []


async def test_without_the_right_to_approvals_nobody_decides_or_reads_what_would_be_sent():
    async with asking() as house:
        dan = await hire(house, "dan", *(set(Right) - {Right.APPROVALS}))
        rita, token, path = await asked(house)
        assert (await dan.get(path))["state"] == "pending"
        told = (403, "denied", "`dan` lacks the right `approvals`")
        assert await dan.refused("GET", f"{path}/arguments") == told
        for verb in ("approve", "deny", "revoke"):
            assert await dan.refused("POST", f"{path}/{verb}", {}) == told
        pending(await refund(rita, token))
        assert house.shop.refunds == []


async def test_the_right_alone_is_not_enough_where_others_are_asked_or_the_owner_is_ruled_out():
    async with asking(people=PEOPLE) as house:
        dana, eve = await hire(house, "dana"), await hire(house, "eve")
        rita, token, path = await asked(house)
        await house.own("rita", "dana")
        for person, why in ((eve, "may not decide this"), (dana, "owns an agent that would act")):
            status, code, message = await person.refused("POST", f"{path}/approve", {})
            assert (status, code) == (403, "denied")
            assert why in message
        pending(await refund(rita, token))
        assert house.shop.refunds == []
        tried = await house.records("approval.refused")
        assert [one["by"] for one in tried] == ["operator:eve", "operator:dana"]


async def test_an_operator_and_the_same_name_at_the_machine_are_one_pair_of_eyes():
    async with asking(people="approvers:\n  team-lead:\n    four_eyes: true\n") as house:
        dana = await hire(house, "dana")
        rita, token, path = await asked(house)
        await house.approve(by="dana")
        assert (await dana.refused("POST", f"{path}/approve", {}))[:2] == (403, "denied")
        pending(await refund(rita, token))
        assert house.shop.refunds == []


@pytest.mark.parametrize(
    "body",
    [
        {"reach": "chain"},
        {"holds_s": 60},
        {"reach": "agent", "holds_s": 0},
        {"reach": "everything", "holds_s": 60},
        {"until": 5},
        {"reason": "two\nlines"},
    ],
    ids=str,
)
async def test_an_agreement_that_is_not_clear_is_none(body: dict[str, object]):
    async with asking() as house:
        dana = await hire(house, "dana")
        rita, token, path = await asked(house)
        assert (await dana.refused("POST", f"{path}/approve", body))[:2] == (400, "invalid_request")
        pending(await refund(rita, token))
        assert house.shop.refunds == []


@pytest.mark.parametrize("first", ["api", "machine"])
async def test_of_an_approval_and_a_denial_at_once_by_two_ways_one_counts(first: str):
    async with asking() as house:
        dana = await hire(house, "dana")
        rita, token, path = await asked(house)
        name, came = path.rpartition("/")[2], []

        async def by_api() -> None:
            came.append((await dana.ask("POST", f"{path}/approve", {})).status_code == 200)

        async def at_the_machine() -> None:
            try:
                await house.deny(name, by="erik")
            except BrokerError:
                came.append(False)
            else:
                came.append(True)

        ways = [by_api, at_the_machine] if first == "api" else [at_the_machine, by_api]
        async with anyio.create_task_group() as tasks:
            for way in ways:
                tasks.start_soon(way)
        assert sorted(came) == [False, True]
        state = (await dana.get(path))["state"]
        if state == "approved":
            assert made(await refund(rita, token))
            assert house.shop.refunds == [("ada", 20)]
        else:
            assert state == "denied"
            refused(await refund(rita, token))
            assert house.shop.refunds == []


async def test_pages_of_approvals_show_each_once():
    async with asking() as house:
        dana: Person = await hire(house, "dana")
        rita = await house.enrol("rita")
        token = await rita.token()
        wanted = [pending(await refund(rita, token, amount=n)) for n in range(5)]
        seen, cursor = [], {}
        while True:
            page = await dana.get("/approvals", limit=2, agent="rita", **cursor)
            seen += [one["approval"] for one in page["items"]]
            if page["next"] is None:
                break
            cursor = {"cursor": page["next"]}
        assert sorted(seen) == sorted(wanted)
