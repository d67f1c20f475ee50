"""Threat: a call was made that no human had agreed to as it was made, and whoever owns the file says that
one had. Both verifiers read the log of a broker that did all of it rightly, and every lie about it.
"""

import copy
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from broker.approvals.interface import Reach
from broker.audit.offline import Story
from tests.asking import asking, made, pending

Body = dict[str, Any]
REFUND = {"to": "ada", "amount": 20}
PEOPLE = "approvers:\n  team-lead: {four_eyes: true}\n"


@pytest.fixture
def problems() -> Callable[[list[Body]], list[str]]:
    """What the verifiers, that of the broker and that of an export, find wrong with records."""

    def found(records: list[Body]) -> list[str]:
        story = Story(whole=True)
        return [what for seq, body in enumerate(records) for what in story.read(seq, body)]

    return found


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def genuine(anyio_backend: str) -> list[Body]:
    """Calls made on approvals of each reach, one of a chain, one under a new token, two that were taken back."""
    async with asking(people=PEOPLE) as house:
        planner, rita = await house.enrol("planner", "lead"), await house.enrol("rita")
        token = await rita.token()

        async def refund(amount: int, token: str = token, **how: str) -> dict[str, Any]:
            params = {"name": "shop__refund", "arguments": {"to": "ada", "amount": amount}}
            return (await rita.request("tools/call", params, token=token, **how)).json()

        async def agreed(answer: dict[str, Any], **act: Any) -> str:
            approval = pending(answer)
            for person in ("dana", "erik"):
                await house.approve(approval, by=person, **act)
            return approval

        soon = int(time.time()) + 600
        await agreed(await refund(1))
        assert made(await refund(1))
        delegation = await planner.delegate("rita")
        await agreed(await refund(2, delegation=delegation))
        assert made(await refund(2, delegation=delegation))
        await agreed(await refund(3, await rita.token(), task="order 7"))
        assert made(await refund(3, await rita.token(), task="order 7"))
        await house.revoke(await agreed(await refund(4)))
        lasting = await agreed(await refund(5), reach=Reach.AGENT, until=soon)
        for amount in (5, 6):
            assert made(await refund(amount, await rita.token()))
        await house.revoke(lasting)
        return await house.records()


@pytest.fixture
def records(genuine: list[Body]) -> list[Body]:
    copied = copy.deepcopy(genuine)
    for end in of(copied, "call.outcome"):
        del end["intent"]  # whoever puts records in or takes them out numbers the rest anew
    return copied


def of(records: list[Body], event: str) -> Iterator[Body]:
    return (body for body in records if body["type"] == event)


def first(records: list[Body], event: str, **facts: Any) -> Body:
    return next(one for one in of(records, event) if all(one[key] == facts[key] for key in facts))


def single(records: list[Body]) -> tuple[Body, str]:
    """The first call, made on an approval for that alone."""
    call = first(records, "call.intent")
    return call, call["approval"]


def lasting(records: list[Body]) -> tuple[Body, str]:
    """The last call, made on an approval that reaches further."""
    *_, call = of(records, "call.intent")
    return call, call["approval"]


def without(records: list[Body], event: str, approval: str) -> list[Body]:
    return [body for body in records if not (body["type"] == event and body.get("approval") == approval)]


def test_what_was_agreed_to_and_made_has_no_problems(problems, records: list[Body]):
    assert {body["reach"] for body in of(records, "approval.used")} == {"call", "agent"}
    assert len([body for body in of(records, "call.intent") if "approval" in body]) == 5
    assert problems(records) == []


def test_a_call_on_an_approval_that_nobody_granted_is_named(problems, records: list[Body]):
    call, approval = single(records)
    (told,) = problems(without(records, "approval.granted", approval))
    assert (
        told == f"the call `{call['call']}` was made on the approval `{approval}`, which nobody had granted"
    )


def test_a_call_on_an_approval_that_not_all_had_granted_is_named(problems, records: list[Body]):
    call, approval = single(records)
    records.remove(first(records, "approval.granted", approval=approval, missing=[]))
    (told,) = problems(records)
    assert told.startswith(f"the call `{call['call']}`")
    assert told.endswith("nobody had granted")


def test_a_call_that_was_granted_only_afterwards_is_named(problems, records: list[Body]):
    _, approval = single(records)
    grants = [body for body in of(records, "approval.granted") if body["approval"] == approval]
    (told,) = problems([*without(records, "approval.granted", approval), *grants])
    assert told.endswith("which nobody had granted")


@pytest.mark.parametrize(
    "lie",
    [
        {"agent": "mallory"},
        {"subject": "mallory"},
        {"chain": ["rita", "planner"]},
        {"grants": ["0123456789ab"]},
    ],
    ids=["agent", "subject", "chain", "hop"],
)
def test_a_call_of_somebody_else_than_was_agreed_to_is_named(problems, records: list[Body], lie: Body):
    call, approval = single(records)
    call["actor"] |= lie
    made_on = f"the call `{call['call']}` was made on the approval `{approval}`"
    assert problems(records) == [f"{made_on}, which was granted for another actor"]


@pytest.mark.parametrize("of_what", ["method", "name", "connector"])
@pytest.mark.parametrize("which", [single, lasting])
def test_a_call_of_another_target_than_was_agreed_to_is_named(
    problems, records: list[Body], which: Callable[[list[Body]], tuple[Body, str]], of_what: str
):
    call, _ = which(records)
    call["what"][of_what] = "another"
    (told,) = problems(records)
    assert told.endswith("which was granted for another target")


@pytest.mark.parametrize("lie", [{"bytes": 9, "hmac": "00"}, None])
def test_a_call_with_other_arguments_than_were_agreed_to_is_named(
    problems, records: list[Body], lie: Body | None
):
    call, _ = single(records)
    del call["approved"]
    if lie:
        call["approved"] = lie
    (told,) = problems(records)
    assert told.endswith("which was granted for another set of arguments")


def test_what_one_of_two_people_wanted_for_one_call_alone_is_for_one_call(problems, records: list[Body]):
    call, approval = lasting(records)
    first(records, "approval.granted", approval=approval)["reach"] = "call"
    told = problems(records)
    assert any(call["call"] in one and "which was for one call and used by" in one for one in told)


def test_a_second_call_on_an_approval_for_one_is_named(problems, records: list[Body]):
    call, approval = single(records)
    used = first(records, "approval.used", approval=approval)
    again = [call | {"call": "again"}, used | {"used_by": "again"}]
    (told,) = problems([*records, *again])
    assert told.startswith(f"the call `again` was made on the approval `{approval}`")
    assert told.endswith(f"which was for one call and used by `{call['call']}`")


@pytest.mark.parametrize(
    ("event", "state"),
    [("approval.revoked", "revoked"), ("approval.denied", "denied"), ("approval.expired", "expired")],
)
def test_a_call_on_an_approval_that_was_over_is_named(problems, records: list[Body], event: str, state: str):
    call, approval = lasting(records)
    over = first(records, "approval.revoked", approval=approval) | {"type": event}
    records.insert(records.index(call), over)
    (told,) = problems(records)
    assert told.endswith(f"`{approval}`, which was {state}")


def test_an_approval_that_is_said_to_be_used_by_another_call_is_named(problems, records: list[Body]):
    call, approval = single(records)
    first(records, "approval.used", approval=approval)["used_by"] = "other"
    assert problems(records) == [f"the call `other` was not made on the approval `{approval}`"]
    del call["approval"]
    assert problems(records) == [f"the call `other` was not made on the approval `{approval}`"]


@pytest.mark.parametrize("missing", ["approval", "actor", "what", "reach", "missing", "arguments"])
def test_a_grant_that_lacks_what_it_says_is_a_problem_and_no_crash(
    problems, records: list[Body], missing: str
):
    _, approval = single(records)
    del first(records, "approval.granted", approval=approval, missing=[])[missing]
    assert "the record lacks what a record of its type has" in problems(records)


def test_a_part_of_a_log_is_not_judged_by_what_was_granted_before_it(records: list[Body]):
    for start in range(len(records)):
        story = Story(whole=False)
        assert [what for seq, body in enumerate(records[start:]) for what in story.read(seq, body)] == []
