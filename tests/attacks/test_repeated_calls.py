"""What somebody may try with calls that are sent again, and with answers that are kept."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import orjson
import pytest

from broker.connector import Connector, UpstreamLost, UpstreamUnreachable
from broker.model import AgentStatus
from broker.storage.sqlite.connection import connect_reader
from tests.agency import Agency, Member, agency, told, why
from tests.unit.edges.house import envelope, modern

CACHED = "tools:\n  - {match: bank__rate, cache_s: 60}\n  - {match: bank__mine, cache_s: 60, labels: [private-data]}\n"


class Bank:
    """A connector that counts what it has really done."""

    def __init__(self) -> None:
        self.paid: list[int] = []
        self.asked = 0
        self.fails: Exception | None = None
        self.gate: anyio.Event | None = None
        self.entered = anyio.Event()

    def connector(self) -> Connector:
        connector = Connector("bank")

        @connector.tool(price="0.01")
        async def pay(amount: int, text: str = "") -> dict[str, int | str]:
            """Pay an amount."""
            self.entered.set()
            if self.gate is not None:
                await self.gate.wait()
            if self.fails is not None:
                raise self.fails
            self.paid.append(amount)
            return {"number": len(self.paid), "text": text}

        @connector.tool(price="0.01", side_effect="reads")
        async def rate(currency: str) -> dict[str, int]:
            """The rate of a currency."""
            self.asked += 1
            return {"rate": self.asked}

        @connector.tool(price="0.01", side_effect="reads")
        async def mine(text: str) -> dict[str, int]:
            """What belongs to the caller."""
            self.asked += 1
            return {"mine": self.asked}

        return connector


@asynccontextmanager
async def houses(bank: Bank) -> AsyncGenerator[tuple[Agency, Member]]:
    async with agency({"tools/bank.yaml": CACHED}, bank=bank.connector()) as house:
        yield house, await house.enrol("payer", cap=1_000_000)


async def pay(member: Member, amount: int, key: str = "k-1", **how):
    return await member.call("bank__pay", {"amount": amount}, idempotency_key=key, **how)


def number(answer) -> int:
    return answer["result"]["structuredContent"]["number"]


async def test_the_same_call_with_the_same_key_is_made_once_and_paid_once():
    bank = Bank()
    async with houses(bank) as (house, payer):
        first, again = await pay(payer, 5), await pay(payer, 5)
        assert (number(first), number(again), bank.paid) == (1, 1, [5])
        assert (told(first)["cost_micro_usd"], told(again)["cost_micro_usd"]) == (10_000, 0)
        assert told(again)["repeats"] == told(first)["id"] != told(again)["id"]
        intent = [r for r in await house.records("call.intent") if r["call"] == told(again)["id"]]
        assert intent[0]["refs"] == {"call": told(first)["id"], "why": "idempotency_key"}
        balance = await house.app.store.ledger.balance("agent:payer")
        assert (balance.spent, balance.held) == (10_000, 0)


async def test_the_key_may_stand_in_the_header_that_is_drafted_for_it():
    bank = Bank()
    async with houses(bank) as (house, payer):
        token = await payer.token()
        for name, value in (("idempotency-key", '"k-1"'), ("Idempotency-Key", "k-1")):
            body, headers = modern(
                "tools/call", {"name": "bank__pay", "arguments": {"amount": 5}}, token=token, meta=envelope()
            )
            answer = await house.http.post(
                "/mcp", content=orjson.dumps(body), headers={**headers, name: value}
            )
            assert number(answer.json()) == 1
        assert number(await pay(payer, 5, "k-1")) == 1


async def test_a_key_that_was_used_for_another_call_does_nothing():
    bank = Bank()
    async with houses(bank) as (_, payer):
        await pay(payer, 5)
        other_amount = await pay(payer, 6)
        other_tool = await payer.call("notes__add", {"text": "5"}, idempotency_key="k-1")
        for refused in (other_amount, other_tool):
            assert "was sent with another call before" in refused["error"]["message"]
        assert bank.paid == [5]


async def test_the_key_of_one_agent_means_nothing_in_the_hands_of_another():
    bank = Bank()
    async with houses(bank) as (house, payer):
        thief = await house.enrol("thief")
        assert number(await pay(payer, 5)) == 1
        assert number(await pay(thief, 5)) == 2
        lead = await house.enrol("lead", "lead")
        delegation = await lead.delegate("payer")
        assert number(await pay(payer, 5, delegation=delegation)) == 3


async def test_a_suspended_agent_is_not_given_what_it_has_already_been_given():
    bank = Bank()
    async with houses(bank) as (house, payer):
        token = await payer.token()
        await pay(payer, 5, token=token)
        await house.set_status("payer", AgentStatus.SUSPENDED)
        answer = await pay(payer, 5, token=token)
        assert "result" not in answer


async def test_a_repeated_call_is_judged_by_the_rules_of_now():
    bank = Bank()
    async with houses(bank) as (house, payer):
        await pay(payer, 5)
        (house.policies / "roles" / "worker.yaml").write_text(
            'role: worker\nallow:\n  - tools: ["notes__*"]\n'
        )
        house.app.policy.reload()
        assert "there is no `bank__pay` here" in (await pay(payer, 5))["error"]["message"]
        assert bank.paid == [5]


async def test_while_the_first_call_is_open_the_second_is_refused_and_not_made():
    bank = Bank()
    bank.gate = anyio.Event()
    async with houses(bank) as (_, payer), anyio.create_task_group() as tasks:
        tasks.start_soon(pay, payer, 5)
        with anyio.fail_after(10):
            await bank.entered.wait()
        refused = await pay(payer, 5)
        assert "is being made" in refused["error"]["message"]
        bank.gate.set()
        while not bank.paid:
            await anyio.lowlevel.checkpoint()
    assert bank.paid == [5]


async def test_a_call_whose_answer_was_lost_is_not_made_again_under_its_key():
    bank = Bank()
    bank.fails = UpstreamLost("the line went dead")
    async with houses(bank) as (house, payer):
        await pay(payer, 5)
        bank.fails = None
        again = await pay(payer, 5)
        assert again["result"]["structuredContent"]["error"]["code"] == "upstream_lost"
        assert bank.paid == []
        outcomes = [r["outcome"] for r in await house.records("call.outcome")]
        costs = [r["cost"] for r in await house.records("call.outcome")]
        assert (outcomes, costs) == (["unknown", "unknown"], [10_000, 0])


async def test_a_call_that_never_reached_anybody_can_be_made_under_its_key():
    bank = Bank()
    bank.fails = UpstreamUnreachable("nobody there")
    async with houses(bank) as (_, payer):
        assert (await pay(payer, 5))["result"]["isError"]
        bank.fails = None
        assert number(await pay(payer, 5)) == 1


async def test_what_is_kept_for_a_key_cannot_be_read_in_the_file():
    bank = Bank()
    async with houses(bank) as (house, payer):
        await payer.call(
            "bank__pay", {"amount": 5, "text": "for the Zanzibar estate"}, idempotency_key="key-zanzibar"
        )
        folder = house.app.settings.state_dir
        kept = b"".join(path.read_bytes() for path in folder.glob("broker.db*"))
        assert b"Zanzibar estate" not in kept
        assert b"key-zanzibar" not in kept
        reader = connect_reader(folder / "broker.db")
        assert reader.execute("select state, length(sealed) > 50 from first_call").fetchone() == ("done", 1)
        reader.close()


@pytest.mark.parametrize("key", ["", "x" * 256, 7, "a\nb", None, ["k"]])
async def test_a_key_that_is_none_is_refused_and_nothing_is_done(key):
    bank = Bank()
    async with houses(bank) as (_, payer):
        answer = await pay(payer, 5, key)
        if key is None:  # sent as null: no key
            assert bank.paid == [5]
        else:
            assert "is not a text of 1 to 255 printable characters" in answer["error"]["message"]
            assert bank.paid == []


async def rate(member: Member, tool: str = "rate", **how) -> int:
    arguments = {"currency": "chf"} if tool == "rate" else {"text": "x"}
    answer = await member.call(f"bank__{tool}", arguments, **how)
    return answer["result"]["structuredContent"][tool]


async def test_a_read_is_answered_from_memory_judged_recorded_and_free():
    bank = Bank()
    async with houses(bank) as (house, payer):
        assert [await rate(payer), await rate(payer)] == [1, 1]
        first, second = await house.records("call.intent")
        assert second["refs"] == {"call": first["call"], "why": "cache"}
        assert second["decision"]["permitted"] is True
        assert [r["cost"] for r in await house.records("call.outcome")] == [10_000, 0]


async def test_an_answer_in_memory_is_not_for_other_organisations_roles_or_delegations():
    bank = Bank()
    async with houses(bank) as (house, payer):
        peer = await house.enrol("peer")
        loner = await house.enrol("loner", "loner")
        lead = await house.enrol("boss", "lead")
        stranger = await house.enrol("stranger", organisation="umbrella")
        assert await rate(payer) == 1
        assert await rate(peer) == 1
        assert await rate(loner) == 2
        assert await rate(stranger) == 3
        assert await rate(payer, delegation=await lead.delegate("payer")) == 4


async def test_private_data_in_memory_is_for_the_agent_that_read_it():
    bank = Bank()
    async with houses(bank) as (house, payer):
        peer = await house.enrol("peer")
        assert [await rate(payer, "mine"), await rate(payer, "mine"), await rate(peer, "mine")] == [1, 1, 2]


async def test_what_an_answer_from_memory_shows_taints_the_transaction_as_if_it_was_read():
    bank = Bank()
    rules = {
        "tools/bank.yaml": "tools:\n  - {match: bank__rate, cache_s: 60, labels: [untrusted-source]}\n",
        "rules/no.cedar": '@id("no")@reason("read first")forbid(principal, action == Action::"call", resource)'
        ' when { resource == Tool::"notes__add" && context.taint.contains("untrusted-source") };',
    }
    async with agency(rules, bank=bank.connector()) as house:
        payer, peer = await house.enrol("payer"), await house.enrol("peer")
        await rate(payer)
        token = await peer.token()
        assert "result" in await peer.call("notes__add", {"text": "a"}, token=token)
        assert await rate(peer, token=token) == 1  # from memory
        assert why(await peer.call("notes__add", {"text": "a"}, token=token)) == "no"
        assert bank.asked == 1
