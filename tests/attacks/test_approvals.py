"""Attempts to act on a human's word that was not given, not for this, or not any more. None succeeds."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from broker.approvals.interface import ApprovalId, Reach, State
from broker.approvals.judgement import Verdict
from broker.approvals.people import read_people
from broker.audit.interface import Entry, Event
from broker.consents import TOPIC
from broker.errors import Denied, InvalidRequest
from broker.model import AgentStatus
from tests.asking import CARD, Asking, asking, made, pending, refused

REFUND = {"to": "ada", "amount": 20}


async def refund(member, token: str, **arguments):
    return await member.call("shop__refund", {**REFUND, **arguments}, token=token)


async def approved_refund(house: Asking, member, token: str) -> str:
    """A call that was asked about, and approved by Dana."""
    approval = pending(await refund(member, token))
    await house.approve(approval)
    return approval


async def test_without_an_attack_a_call_is_held_approved_and_made_once():
    async with asking() as house:
        rita = await house.enrol("rita")
        token = await rita.token()
        approval = pending(await refund(rita, token))
        assert pending(await refund(rita, token)) == approval
        assert house.shop.refunds == []
        await house.approve(approval, reason="checked the order")
        assert made(await refund(rita, token))
        assert house.shop.refunds == [("ada", 20)]
        kinds = [record["type"] for record in await house.records()]
        assert kinds[-7:] == [
            "approval.requested",
            "call.denied",
            "call.denied",
            "approval.granted",
            "call.intent",
            "approval.used",
            "call.outcome",
        ]
        requested, granted, used = await house.records(
            "approval.requested", "approval.granted", "approval.used"
        )
        denials, (intent,) = await house.records("call.denied"), await house.records("call.intent")
        assert [one["outcome"] for one in denials] == ["pending_approval"] * 2
        assert {one["approval"] for one in (*denials, intent, requested, granted, used)} == {approval}
        hashes = [intent["approved"], *(one["arguments"] for one in (requested, granted, used))]
        assert hashes == [hashes[0]] * len(hashes)
        assert (granted["by"], granted["reason"], granted["agreed"]) == (
            "dana",
            "checked the order",
            ["refund"],
        )
        assert used["used_by"] == intent["call"]


async def test_arguments_that_change_after_the_approval_are_asked_about_anew():
    async with asking() as house:
        rita = await house.enrol("rita")
        token = await rita.token()
        approval = await approved_refund(house, rita, token)
        others = [{"amount": 21}, {"amount": 20.0}, {"to": "Ada"}, {"to": "ada "}, {"note": "x"}]
        for changed in others:
            assert pending(await refund(rita, token, **changed)) != approval
        assert house.shop.refunds == []
        assert made(await refund(rita, token))


async def test_another_agent_does_not_act_on_an_approval_of_the_same_call():
    async with asking() as house:
        rita, mallory = await house.enrol("rita"), await house.enrol("mallory")
        token = await rita.token()
        approval = await approved_refund(house, rita, token)
        assert pending(await refund(mallory, await mallory.token())) != approval
        assert house.shop.refunds == []


async def test_what_was_approved_for_an_agent_alone_is_not_approved_for_it_on_behalf_of_another():
    async with asking() as house:
        planner, rita = await house.enrol("planner", "lead"), await house.enrol("rita")
        token = await rita.token()
        approval = await approved_refund(house, rita, token)
        delegation = await planner.delegate("rita")
        acting = await rita.call("shop__refund", REFUND, token=token, delegation=delegation)
        assert pending(acting) != approval
        assert house.shop.refunds == []


async def test_what_was_approved_under_one_delegation_is_not_approved_under_another():
    async with asking() as house:
        planner, rita = await house.enrol("planner", "lead"), await house.enrol("rita")
        authority, token = await planner.token(), await rita.token()
        first = await planner.delegate("rita", subject=authority, task="ada's order")
        second = await planner.delegate("rita", subject=authority, task="bob's order")

        async def under(delegation: str):
            return await rita.call("shop__refund", REFUND, token=token, delegation=delegation)

        approval = pending(await under(first))
        await house.approve(approval)
        assert pending(await under(second)) != approval
        assert house.shop.refunds == []
        assert made(await under(first))


async def test_what_was_approved_in_one_transaction_is_not_approved_in_the_next():
    async with asking() as house:
        rita = await house.enrol("rita")
        approval = await approved_refund(house, rita, await rita.token())
        assert pending(await refund(rita, await rita.token())) != approval
        assert house.shop.refunds == []


async def test_another_target_with_the_same_arguments_is_not_what_was_approved():
    async with asking() as house:
        house.hold("look", "shop__look")
        rita = await house.enrol("rita")
        token = await rita.token()
        approval = pending(await rita.call("shop__look", {"text": "x"}, token=token))
        await house.approve(approval)
        assert pending(await rita.call("shop__refund", {"text": "x"}, token=token)) != approval


async def test_an_approval_is_used_once():
    async with asking() as house:
        rita = await house.enrol("rita")
        token = await rita.token()
        approval = await approved_refund(house, rita, token)
        assert made(await refund(rita, token))
        assert pending(await refund(rita, token)) != approval
        assert house.shop.refunds == [("ada", 20)]


async def test_of_many_calls_at_once_on_one_approval_one_is_made():
    async with asking() as house:
        rita = await house.enrol("rita")
        token = await rita.token()
        await approved_refund(house, rita, token)
        answers = []

        async def one() -> None:
            answers.append(await refund(rita, token))

        async with anyio.create_task_group() as tasks:
            for _ in range(12):
                tasks.start_soon(one)
        assert [made(answer) for answer in answers].count(True) == 1
        assert house.shop.refunds == [("ada", 20)]
        assert len(await house.records("approval.used")) == 1


USER = """
import pathlib, sys
import anyio
from broker.audit.interface import Entry, Event
from broker.errors import Denied
from broker.journal import Opening
from broker.ledger.interface import Quote
from broker.model import Agent, Principal
from broker.storage.sqlite import open_store

WHO = Principal(Agent("rita", "acme", frozenset()), "rita", (), frozenset(), "jti", "txn", 0)

async def main(path, approval, name):
    async with open_store(pathlib.Path(path), deployment="broker.local", serve=False) as store:
        print("ready", flush=True)
        sys.stdin.readline()
        for number in range(20):
            call = f"{name}-{number}"
            used = approval, Entry("acme", Event.APPROVAL_USED, {"approval": approval, "used_by": call})
            intent = Entry("acme", Event.CALL_INTENT, {}, call, "rita")
            try:
                await store.journal.open(Opening(call, Quote(0, "free", ()), intent, WHO, used=used))
                print("opened", call, flush=True)
            except Denied:
                pass

anyio.run(main, *sys.argv[1:])
"""


async def test_two_processes_that_use_one_approval_at_once_open_one_call(tmp_path: Path):
    async with asking(tmp_path) as house:
        rita = await house.enrol("rita")
        approval = await approved_refund(house, rita, await rita.token())
        command = [sys.executable, "-c", USER, str(tmp_path / "state" / "broker.db"), approval]
        with (
            subprocess.Popen([*command, "one"], stdin=-1, stdout=-1, text=True) as one,
            subprocess.Popen([*command, "two"], stdin=-1, stdout=-1, text=True) as two,
        ):
            for child in (one, two):
                assert child.stdout.readline() == "ready\n"
            for child in (one, two):
                child.stdin.write("go\n")
                child.stdin.flush()
            said = [child.communicate(timeout=60)[0] for child in (one, two)]
        assert "".join(said).count("opened") == 1
        assert len(await house.records("approval.used")) == 1


async def test_an_answer_that_comes_too_late_and_an_approval_that_is_used_too_late_count_for_nothing():
    async with asking(pending_s=60, use_s=60) as house:
        rita = await house.enrol("rita")
        token = await rita.token()
        late = pending(await refund(rita, token))
        await expire(house, late)
        with pytest.raises(InvalidRequest, match="is expired already"):
            await house.approve(late)
        again = pending(await refund(rita, token))
        assert again != late
        await house.approve(again)
        await expire(house, again)
        assert pending(await refund(rita, token)) not in (late, again)
        assert house.shop.refunds == []
        assert {one["approval"] for one in await house.records("approval.expired")} == {late, again}


async def expire(house: Asking, approval_id: str) -> None:
    """Let the time of an approval be over."""

    def over(before, owners, now):
        return Verdict(replace(before, expires_at=now))

    def entry(before, verdict):
        return Entry("acme", Event.POLICY_CHANGED, {"approval": before.id})

    await house.app.store.approvals.judge(ApprovalId(approval_id), over, entry)


async def test_whoever_may_not_approve_is_refused_and_that_is_recorded():
    people = "approvers:\n  team-lead: {people: [dana]}\n"
    async with asking(people=people) as house:
        rita = await house.enrol("rita")
        token = await rita.token()
        approval = pending(await refund(rita, token))
        for attempt in (house.approve, house.deny, house.revoke):
            with pytest.raises(Denied, match="`mallory` may not decide this: it is asked of `team-lead`"):
                await attempt(approval, by="mallory", reason="trust me")
        assert pending(await refund(rita, token)) == approval
        tried = await house.records("approval.refused")
        assert [(one["by"], one["tried"]) for one in tried] == [
            ("mallory", "granted"),
            ("mallory", "denied"),
            ("mallory", "revoked"),
        ]
        await house.approve(approval)
        assert made(await refund(rita, token))


async def test_one_person_does_not_approve_twice_where_two_have_to():
    people = "approvers:\n  team-lead: {four_eyes: true}\n"
    async with asking(people=people) as house:
        rita = await house.enrol("rita")
        token = await rita.token()
        approval = pending(await refund(rita, token))
        await house.approve(approval, by="dana")
        for again in ("dana", "operator:dana"):
            with pytest.raises(Denied, match="somebody else has to"):
                await house.approve(approval, by=again)
        assert pending(await refund(rita, token)) == approval
        await house.approve(approval, by="erik")
        assert made(await refund(rita, token))
        granted = await house.records("approval.granted")
        assert [(one["by"], one["missing"]) for one in granted] == [("dana", ["refund"]), ("erik", [])]


async def test_who_owns_an_agent_of_the_chain_does_not_approve_for_it_where_that_is_ruled():
    people = "approvers:\n  team-lead: {not_owner: true}\n"
    async with asking(people=people) as house:
        planner, rita = await house.enrol("planner", "lead"), await house.enrol("rita")
        await house.own("planner", "dana")
        token, delegation = await rita.token(), await planner.delegate("rita")
        approval = pending(await rita.call("shop__refund", REFUND, token=token, delegation=delegation))
        for own in ("dana", "operator:dana"):
            with pytest.raises(Denied, match="owns an agent"):
                await house.approve(approval, by=own)
        await house.approve(approval, by="erik")
        assert made(await rita.call("shop__refund", REFUND, token=token, delegation=delegation))


async def test_an_approval_that_would_not_do_any_more_is_not_used():
    async with asking() as house:
        rita = await house.enrol("rita")
        token = await rita.token()
        approval = await approved_refund(house, rita, token)
        (house.policies / "approvals.yaml").write_text("approvers:\n  team-lead: {four_eyes: true}\n")
        house.app.consents.adopt(read_people(house.policies))
        assert pending(await refund(rita, token)) != approval
        assert house.shop.refunds == []


async def test_of_an_approval_and_a_denial_at_the_same_time_one_counts_and_the_call_goes_by_it():
    async with asking() as house:
        rita = await house.enrol("rita")
        for number in range(6):
            token = await rita.token()
            approval = pending(await refund(rita, token, amount=number))
            lost: list[str] = []

            async def act(work, by: str, approval=approval, lost=lost) -> None:
                try:
                    await work(approval, by=by)
                except InvalidRequest:
                    lost.append(by)

            before = len(house.shop.refunds)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(act, house.approve, "dana")
                tasks.start_soon(act, house.deny, "erik")
            answer = await refund(rita, token, amount=number)
            assert len(lost) == 1
            assert made(answer) is (lost == ["erik"])
            assert len(house.shop.refunds) - before == (lost == ["erik"])
        decided = await house.records("approval.granted", "approval.denied")
        assert len(decided) == len(await house.records("approval.refused")) == 6


async def test_a_denial_reaches_the_agent_and_is_not_overcome_by_repeating_the_call():
    async with asking() as house:
        rita = await house.enrol("rita")
        token = await rita.token()
        approval = pending(await refund(rita, token))
        await house.deny(approval, reason="ada was refunded yesterday")
        for _ in range(2):
            assert refused(await refund(rita, token)).endswith(": ada was refunded yesterday")
        assert len(await house.records("approval.requested")) == 1
        with pytest.raises(InvalidRequest, match="is denied by `dana` already"):
            await house.approve(approval, by="erik")
        assert house.shop.refunds == []


@pytest.mark.parametrize("when", ["pending", "approved"])
async def test_a_restart_neither_loses_an_approval_nor_lets_it_be_used_twice(tmp_path: Path, when: str):
    async with asking(tmp_path) as house:
        rita = await house.enrol("rita")
        token = await rita.token()
        approval = pending(await refund(rita, token))
        if when == "approved":
            await house.approve(approval)
    async with asking(tmp_path) as house:
        rita.agency = house
        if when == "pending":
            assert pending(await refund(rita, token)) == approval
            shown, params = await house.app.consents.shown(ApprovalId(approval))
            assert (shown.state, params["arguments"]) == (State.PENDING, REFUND)
            await house.approve(approval)
        assert made(await refund(rita, token))
    async with asking(tmp_path) as house:
        rita.agency = house
        assert pending(await refund(rita, token)) != approval
        assert house.shop.refunds == []


async def test_no_file_of_the_state_holds_the_arguments_that_a_human_is_shown(tmp_path: Path):
    async with asking(tmp_path) as house:
        rita = await house.enrol("rita")
        token = await rita.token()
        approval = pending(await refund(rita, token, to=CARD))
        _, params = await house.app.consents.shown(ApprovalId(approval))
        assert params["arguments"] == {"to": CARD, "amount": 20}
        assert search(tmp_path / "state") == []
        await house.approve(approval)
        _, params = await house.app.consents.shown(ApprovalId(approval))
        assert params is None
        assert made(await refund(rita, token, to=CARD))
        assert search(tmp_path / "state") == []
    assert search(tmp_path / "state") == []


def search(folder: Path) -> list[Path]:
    """The files that hold the card number, in whole or without its dashes."""
    words = (CARD.encode(), CARD.replace("-", "").encode(), json.dumps(CARD)[1:-1].encode())
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [path for path in files if any(word in path.read_bytes() for word in words)]


async def test_an_agent_that_was_suspended_after_the_approval_does_not_act_on_it():
    async with asking() as house:
        rita = await house.enrol("rita")
        token = await rita.token()
        approval = await approved_refund(house, rita, token)
        await house.set_status("rita", AgentStatus.SUSPENDED)
        answer = await rita.request("tools/call", {"name": "shop__refund", "arguments": REFUND}, token=token)
        assert answer.status_code == 401
        assert house.shop.refunds == []
        await house.set_status("rita", AgentStatus.ACTIVE)
        assert made(await refund(rita, token))
        assert (await house.app.store.approvals.approval(ApprovalId(approval))).state is State.USED


async def test_a_suspension_while_a_call_waits_for_its_answer_is_not_undone_by_the_answer():
    async with asking(wait_s=60) as house:
        rita = await house.enrol("rita")
        token, answers = await rita.token(), []

        async def waiting() -> None:
            params = {"name": "shop__refund", "arguments": REFUND}
            answers.append(await rita.request("tools/call", params, token=token))

        async with house.app.store.signals.subscribe(TOPIC) as heard, anyio.create_task_group() as tasks:
            tasks.start_soon(waiting)
            _, question = await anext(heard)
            approval = question["approval"]
            await house.set_status("rita", AgentStatus.SUSPENDED)
            await house.approve(approval)
        (answer,) = answers
        assert answer.status_code == 401
        assert house.shop.refunds == []


async def test_a_rule_that_came_after_the_approval_is_obeyed():
    async with asking() as house:
        rita = await house.enrol("rita")
        token = await rita.token()
        approval = await approved_refund(house, rita, token)
        house.rule("closed")
        assert refused(await refund(rita, token)) == "`rita` may not use `shop__refund`"
        house.drop("closed")
        house.hold("evening", approver="night-watch")
        both = pending(await refund(rita, token))
        assert both != approval
        house.drop("evening")
        house.drop("refund")
        house.hold("refund", approver="director")
        assert pending(await refund(rita, token)) not in (approval, both)
        assert house.shop.refunds == []


async def test_what_was_read_after_the_approval_is_judged_when_the_call_is_made():
    async with asking() as house:
        rita = await house.enrol("rita")
        token = await rita.token()
        tainted = ' when { context.taint.contains("untrusted-source") }'
        house.rule("careful", '@approval("privacy")', when=tainted)
        before = pending(await refund(rita, token))
        (asked,) = await house.pending()
        assert (asked.taint, asked.rules) == ((), {"refund"})
        await house.approve(before)
        assert made(await rita.call("shop__look", {}, token=token))
        after = pending(await refund(rita, token))
        assert after != before
        (asked,) = [one for one in await house.pending() if one.id == after]
        assert (asked.taint, asked.rules) == (("untrusted-source",), {"refund", "careful"})
        await house.approve(after)
        house.rule("closed", when=tainted)
        assert refused(await refund(rita, token)) == "`rita` may not use `shop__refund`"
        assert house.shop.refunds == []


async def test_a_task_goes_on_under_a_new_token_and_so_does_what_was_approved_for_it():
    async with asking() as house:
        rita = await house.enrol("rita")
        params = {"name": "shop__refund", "arguments": REFUND}

        async def under(task: str):
            return (await rita.request("tools/call", params, token=await rita.token(), task=task)).json()

        approval = pending(await under("order 7"))
        await house.approve(approval)
        assert pending(await under("order 8")) != approval
        assert made(await under("order 7"))
        assert house.shop.refunds == [("ada", 20)]


async def test_an_approval_that_was_taken_back_opens_no_call():
    async with asking() as house:
        rita = await house.enrol("rita")
        token = await rita.token()
        approval = await approved_refund(house, rita, token)
        await house.revoke(approval, reason="too early")
        assert pending(await refund(rita, token)) != approval
        (taken,) = await house.records("approval.revoked")
        assert (taken["approval"], taken["by"], taken["reason"]) == (approval, "dana", "too early")


async def test_what_is_approved_for_a_chain_holds_there_until_its_end_and_nowhere_else():
    async with asking() as house:
        planner, rita = await house.enrol("planner", "lead"), await house.enrol("rita")
        token = await rita.token()
        approval = pending(await refund(rita, token))
        await house.approve(approval, reach=Reach.CHAIN, until=int(time.time()) + 600)
        for amount in (20, 21, 22):
            assert made(await refund(rita, token, amount=amount))
        elsewhere = await refund(rita, await rita.token())
        for_planner = await rita.call(
            "shop__refund", REFUND, token=token, delegation=await planner.delegate("rita")
        )
        assert approval not in (pending(elsewhere), pending(for_planner))
        await house.revoke(approval)
        assert pending(await refund(rita, token, amount=23)) != approval
        assert [one["reach"] for one in await house.records("approval.used")] == ["chain"] * 3


async def test_what_is_approved_for_an_agent_is_not_approved_for_it_in_another_chain():
    async with asking() as house:
        planner, rita = await house.enrol("planner", "lead"), await house.enrol("rita")
        token = await rita.token()
        approval = pending(await refund(rita, token))
        await house.approve(approval, reach=Reach.AGENT, until=int(time.time()) + 600)
        assert made(await refund(rita, await rita.token(), amount=21))
        delegated = await rita.call(
            "shop__refund", REFUND, token=token, delegation=await planner.delegate("rita")
        )
        assert pending(delegated) != approval
        await expire(house, approval)
        assert pending(await refund(rita, token, amount=22)) != approval


async def test_a_caller_that_goes_away_while_a_human_thinks_leaves_the_end_of_its_call_in_the_log():
    async with asking(wait_s=60) as house:
        rita = await house.enrol("rita")
        token = await rita.token()
        signals = house.app.store.signals
        async with signals.subscribe(TOPIC) as asked, anyio.create_task_group() as tasks:
            tasks.start_soon(refund, rita, token)
            with anyio.fail_after(5):
                await anext(asked)
            tasks.cancel_scope.cancel()
        requested, ended = await house.records("approval.requested", "call.denied")
        assert (ended["call"], ended["outcome"]) == (requested["asked_by"], "cancelled")
        assert house.shop.refunds == []


async def test_an_agent_cannot_flood_the_humans():
    async with asking(most_pending=3) as house:
        rita, bob = await house.enrol("rita"), await house.enrol("bob")
        token = await rita.token()
        for amount in range(3):
            pending(await refund(rita, token, amount=amount))
        assert "waits for 3 answers" in refused(await refund(rita, token, amount=9))
        assert pending(await refund(rita, token, amount=0))
        assert pending(await refund(bob, await bob.token()))
        assert len(await house.pending()) == 4
