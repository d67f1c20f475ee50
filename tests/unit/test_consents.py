"""What a caller gets while a human thinks, in both eras of the protocol."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from broker.approvals.interface import OPEN, ApprovalId, Reach, State
from broker.approvals.judgement import Act
from broker.approvals.people import Human
from broker.consents import TOPIC
from broker.errors import UnknownTarget
from broker.storage.sqlite import open_store
from tests.asking import Asking, asking, asking_on_loopback, made, pending, refused

LONG = 60
ERAS = ("2026-07-28", "legacy")


@asynccontextmanager
async def client(house: Asking, mode: str) -> AsyncGenerator[Client]:
    rita = await house.enrol("rita")
    headers = {"authorization": f"Bearer {await rita.token()}"}
    async with httpx2.AsyncClient(headers=headers, timeout=LONG) as http:
        url = house.app.settings.resource
        async with Client(streamable_http_client(url, http_client=http), mode=mode) as connected:
            yield connected


@pytest.mark.parametrize("mode", ERAS)
async def test_a_call_that_waits_goes_on_in_place_when_a_human_agrees(mode: str):
    async with asking_on_loopback(wait_s=LONG) as house, client(house, mode) as rita:
        results, told = [], []

        async def progressed(progress: float, total: float | None, message: str | None) -> None:
            told.append(message)

        async def call() -> None:
            arguments = {"to": "ada", "amount": 20}
            results.append(await rita.call_tool("shop__refund", arguments, progress_callback=progressed))

        with anyio.fail_after(LONG):
            async with house.app.store.signals.subscribe(TOPIC) as heard, anyio.create_task_group() as tasks:
                tasks.start_soon(call)
                _, question = await anext(heard)
                while not told:
                    await anyio.lowlevel.checkpoint()
                await house.approve(question["approval"])
        (result,) = results
        assert not result.is_error
        assert told[0] == f"waiting for team-lead to decide on approval {question['approval']}"
        assert house.shop.refunds == [("ada", 20)]
        assert [r["outcome"] for r in await house.records("call.denied", "call.outcome")] == ["ok"]


@pytest.mark.parametrize("mode", ERAS)
async def test_what_the_upstream_tells_of_its_progress_still_arrives_after_the_wait(mode: str):
    async with asking_on_loopback(wait_s=LONG) as house, client(house, mode) as rita:
        house.hold("pack", "shop__pack")
        told = []

        async def progressed(progress: float, total: float | None, message: str | None) -> None:
            told.append((progress, total))

        with anyio.fail_after(LONG):
            async with house.app.store.signals.subscribe(TOPIC) as heard, anyio.create_task_group() as tasks:

                async def call() -> None:
                    await rita.call_tool("shop__pack", {"parcels": 3}, progress_callback=progressed)

                tasks.start_soon(call)
                _, question = await anext(heard)
                while not told:
                    await anyio.lowlevel.checkpoint()
                await house.approve(question["approval"])
        assert told[-3:] == [(1, 3), (2, 3), (3, 3)]


async def test_a_call_that_waits_is_told_of_a_denial_in_place():
    async with asking(wait_s=LONG) as house:
        rita = await house.enrol("rita")
        answers = []

        async def call() -> None:
            answers.append(await rita.call("shop__refund", {"to": "ada", "amount": 20}))

        async with house.app.store.signals.subscribe(TOPIC) as heard, anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            _, question = await anext(heard)
            await house.deny(question["approval"], reason="not without a receipt")
        assert refused(answers[0]) == (
            "a human was asked and does not agree that `rita` uses `shop__refund`: not without a receipt"
        )
        assert house.shop.refunds == []


async def test_a_call_that_has_waited_long_enough_is_told_what_to_do():
    async with asking(wait_s=0.3) as house:
        rita = await house.enrol("rita")
        answer = await rita.call("shop__refund", {"to": "ada", "amount": 20})
        approval = pending(answer)
        error = answer["result"]["structuredContent"]["error"]
        assert error["message"] == "a human has to agree before `rita` may use `shop__refund`"
        assert [(b["rule"], "because of refund" in b["text"]) for b in error["because"]] == [("refund", True)]
        assert error["approval"]["waits_for"] == ["team-lead"]
        until = error["approval"]["expires_at"]
        assert error["hint"] == (
            f"approval `{approval}` is asked of `team-lead` until {until}; nothing was done yet:"
            " call again with the same arguments once it is granted"
        )
        text = answer["result"]["content"][0]["text"]
        assert text.startswith("pending approval: a human has to agree")
        assert approval in text


async def test_an_answer_of_another_process_is_noticed_without_a_signal(tmp_path):
    async with asking(tmp_path, wait_s=LONG) as house:
        rita = await house.enrol("rita")
        answers = []

        async def call() -> None:
            answers.append(await rita.call("shop__refund", {"to": "ada", "amount": 20}))

        database = tmp_path / "state" / "broker.db"
        async with (
            open_store(database, deployment="broker.local", serve=False) as other,
            house.app.store.signals.subscribe(TOPIC) as heard,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(call)
            _, question = await anext(heard)
            elsewhere = elsewhere_of(house, other)
            await elsewhere.approve(ApprovalId(question["approval"]), Act(Human("dana")))
        assert made(answers[0])


def elsewhere_of(house: Asking, store):
    """What the command line would decide with, on a connection of its own."""
    from broker.approvals.people import People
    from broker.consents import Consents
    from broker.identity.seals import Sealer

    keys = house.app.keys
    return Consents(
        store.approvals,
        store.signals,
        sealer=Sealer(keys.seal),
        digest_key=keys.digest,
        settings=house.app.settings.approvals,
        people=People(),
    )


async def test_a_caller_that_leaves_while_it_waits_leaves_the_question_open():
    async with asking(wait_s=LONG) as house:
        rita = await house.enrol("rita")
        token = await rita.token()

        async def call() -> None:
            await rita.call("shop__refund", {"to": "ada", "amount": 20}, token=token)

        async with house.app.store.signals.subscribe(TOPIC) as heard, anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            _, question = await anext(heard)
            tasks.cancel_scope.cancel()
        assert house.shop.refunds == []
        await house.approve(question["approval"])
        assert made(await rita.call("shop__refund", {"to": "ada", "amount": 20}, token=token))


async def test_agreeing_to_more_than_one_call_lets_all_calls_go_on_that_wait_for_that():
    async with asking(wait_s=LONG) as house:
        rita = await house.enrol("rita")
        token, answers = await rita.token(), []

        async def call(amount: int) -> None:
            answers.append(await rita.call("shop__refund", {"to": "ada", "amount": amount}, token=token))

        async with house.app.store.signals.subscribe(TOPIC) as heard, anyio.create_task_group() as tasks:
            for amount in range(3):
                tasks.start_soon(call, amount)
            for _ in range(3):
                _, question = await anext(heard)
            until = (await house.pending())[0].expires_at
            await house.approve(question["approval"], reach=Reach.CHAIN, until=until)
        assert [made(answer) for answer in answers] == [True] * 3
        assert len(house.shop.refunds) == 3


async def test_a_question_shows_who_asks_for_whom_and_exactly_what_would_be_sent():
    async with asking() as house:
        planner, rita = await house.enrol("planner", "lead"), await house.enrol("rita")
        delegation = await planner.delegate("rita", task="ada's order", purpose="support")
        odd = {"to": "\u202eada", "amount": 10**18, "note": {"b": [1, None], "a": 1.5}}
        answer = await rita.call("shop__refund", odd, delegation=delegation)
        shown, params = await house.app.consents.shown(ApprovalId(pending(answer)))
        assert params == {"name": "shop__refund", "arguments": odd}
        assert (shown.chain, shown.subject, shown.task, shown.purpose) == (
            ("rita", "planner"),
            "planner",
            "ada's order",
            "support",
        )
        assert (shown.cost, shown.side_effect, shown.target) == (500, "writes", "shop__refund")


async def test_calls_that_no_rule_holds_ask_nothing_of_the_store():
    async with asking() as house:
        rita = await house.enrol("rita")

        def nothing(*_: object) -> None:
            raise AssertionError("nobody has to be asked")

        house.app.consents.obtain = nothing
        assert made(await rita.call("shop__look"))


async def test_there_is_nothing_to_show_of_an_approval_that_nobody_asked_for():
    async with asking() as house:
        with pytest.raises(UnknownTarget, match="there is no approval `nope`"):
            await house.app.consents.shown(ApprovalId("nope"))


async def test_what_is_over_is_listed_only_where_it_is_asked_for():
    async with asking() as house:
        rita = await house.enrol("rita")
        await rita.call("shop__refund", {"to": "ada", "amount": 20})
        await house.deny()
        assert await house.app.consents.listed(OPEN) == []
        (denied,) = await house.app.consents.listed(tuple(State))
        assert denied.state is State.DENIED
