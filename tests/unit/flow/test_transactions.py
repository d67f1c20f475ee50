"""Every call is judged on all that came before it, however many run at once and whoever makes them."""

from dataclasses import replace

import anyio
import pytest

from broker.errors import Denied
from broker.flow.interface import Kept
from broker.flow.step import Step
from broker.flow.tally import Tally
from broker.flow.transactions import Transactions
from broker.model import (
    TASK,
    TASK_TEXT,
    Agent,
    AgentId,
    Argument,
    Call,
    CallId,
    Grant,
    GrantId,
    Kind,
    Method,
    OrganisationId,
    Origin,
    Principal,
    Role,
    SideEffect,
    Target,
)
from tests.unit.flow.memory import MemoryFlow

ANN = Agent(AgentId("ann"), OrganisationId("acme"), frozenset())
PRINCIPAL = Principal(ANN, ANN.id, (ANN,), frozenset(), "jti-1", "txn-1", 0)
TO = Argument("to", "to", role=Role.DESTINATION)
AMOUNT = Argument("amount", "amount", scale=2, role=Role.AMOUNT)


def tool(name: str, *labels: str, reads: bool = False, arguments: tuple[Argument, ...] = ()) -> Target:
    effect = SideEffect.READS if reads else SideEffect.WRITES
    return Target(
        Kind.TOOL, name, "mail", name, {}, side_effect=effect, labels=frozenset(labels), arguments=arguments
    )


READ = tool("mail__read", "private-data", "untrusted-source", reads=True)
WHO = tool("mail__who", "private-data", reads=True)
PAID = replace(tool("mail__paid", "untrusted-source", reads=True), own_fields=("rows.to",))
SEND = tool("mail__send", "external-sink", arguments=(TO, AMOUNT))


class Recorder:
    """Transactions, and calls in them that are kept at once unless a test says otherwise."""

    def __init__(self, store=None, **how):
        self.transactions = Transactions(store or MemoryFlow(), b"k" * 32, **how)
        self.transactions.retarget([SEND])

    async def turn(self, target=SEND, principal=PRINCIPAL, task=None, text=None, **arguments):
        meta = {key: value for key, value in ((TASK, task), (TASK_TEXT, text)) if value is not None}
        params = {"name": target.name, "arguments": arguments}
        call = Call(CallId("c"), Method.CALL_TOOL, target.name, params, "token", None, meta)
        return await self.transactions.turn(principal, call, target, params)

    async def call(self, target=SEND, principal=PRINCIPAL, *, answers=None, **how):
        turn = await self.turn(target, principal, **how)
        with turn:
            turn.kept()
        if answers is not None:
            self.transactions.see(turn, target, {"content": [{"type": "text", "text": answers}]})
        return turn.situation

    async def origin(self, to, **how):
        return (await self.turn(to=to, **how)).situation.provenance["to"]


async def test_a_call_is_judged_on_what_was_read_before_and_not_on_itself():
    recorder = Recorder()
    assert (await recorder.call(READ)).taint == frozenset()
    assert (await recorder.call(SEND)).taint == {"private-data", "untrusted-source"}


async def test_a_tool_without_labels_is_an_untrusted_source():
    recorder = Recorder()
    await recorder.call(tool("web__get"))
    assert (await recorder.call(SEND)).taint == {"untrusted-source"}


async def test_another_token_is_another_transaction():
    recorder = Recorder()
    await recorder.call(READ)
    assert (await recorder.call(SEND, replace(PRINCIPAL, transaction="txn-2"))).taint == frozenset()


async def test_a_delegate_s_reading_taints_the_whole_chain():
    recorder = Recorder()
    bob = Agent(AgentId("bob"), OrganisationId("acme"), frozenset())
    hop = Grant(GrantId("g"), None, ANN.organisation, ANN.id, ANN.id, bob.id, 1, 3, "txn-1", 0, 0)
    delegate = replace(PRINCIPAL, agent=bob, actors=(bob, ANN), token_id="jti-2", grants=(hop,))
    await recorder.call(READ, delegate)
    assert (await recorder.call(SEND)).taint == {"private-data", "untrusted-source"}


async def test_a_call_in_flight_counts_before_it_is_on_the_disk():
    recorder = Recorder()
    with await recorder.turn(READ) as reading:
        sending = await recorder.turn(SEND)
        assert sending.situation.taint == {"private-data", "untrusted-source"}
        assert sending.situation.counters["calls"] == 2
        reading.kept()


async def test_a_call_that_did_not_come_about_does_not_count():
    recorder = Recorder()
    with pytest.raises(RuntimeError, match="over budget"), await recorder.turn(READ):
        raise RuntimeError("over budget")
    assert (await recorder.call(SEND)).taint == frozenset()


async def test_after_one_that_did_not_come_about_nobody_is_judged_until_the_others_are_on_the_disk():
    store = KeptFlow()
    recorder = Recorder(store)
    judged = []

    async def judge():
        judged.append(await recorder.turn(SEND))

    open_call = await recorder.turn(READ)
    with open_call:
        with pytest.raises(RuntimeError), await recorder.turn(WHO):
            raise RuntimeError
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(judge)
            await anyio.wait_all_tasks_blocked()
            assert judged == []
            store.keep(open_call.step)
            open_call.kept()
    (turn,) = judged
    assert turn.situation.taint == {"private-data", "untrusted-source"}
    assert turn.situation.counters["calls"] == 2


async def test_identical_calls_in_a_row_are_counted_whatever_the_order_of_their_arguments():
    recorder = Recorder()
    await recorder.call(SEND, to="bob", amount=1)
    situation = await recorder.call(SEND, amount=1, to="bob")
    assert situation.counters["identical"] == 2
    assert (await recorder.call(SEND, to="eve", amount=1)).counters["identical"] == 1


async def test_amounts_add_up_and_destinations_count_once():
    recorder = Recorder()
    await recorder.call(SEND, to=["bob", "eve"], amount=19.99)
    counters = (await recorder.call(SEND, to="BOB", amount="0.01")).counters
    assert (counters["sum.amount"], counters["distinct.to"], counters["destinations"]) == (2000, 2, 2)


async def test_an_amount_below_zero_makes_no_room_for_others():
    recorder = Recorder()
    await recorder.call(SEND, amount=-500)
    assert (await recorder.call(SEND, amount=1)).counters["sum.amount"] == 100


async def test_an_amount_that_cannot_be_read_is_taken_for_the_largest_and_for_untrusted():
    situation = (await Recorder().turn(SEND, amount="a lot")).situation
    assert situation.counters["sum.amount"] == 2**63 - 1
    assert situation.provenance["amount"] is Origin.UNTRUSTED


async def test_a_value_comes_from_where_it_was_seen_first():
    recorder = Recorder()
    await recorder.call(WHO, text="Write to bob@acme.example", answers="carol@acme.example")
    await recorder.call(READ, answers="bob@acme.example carol@acme.example eve@evil.example")
    assert await recorder.origin("Bob@ACME.example") is Origin.TASK
    assert await recorder.origin("carol@acme.example") is Origin.TRUSTED
    assert await recorder.origin("eve@evil.example") is Origin.QUOTED
    assert await recorder.origin("dan@acme.example") is Origin.UNSEEN


async def test_of_several_values_the_least_trusted_counts():
    recorder = Recorder()
    await recorder.call(READ, text="Write to bob", answers="eve")
    assert await recorder.origin(["bob", "eve"]) is Origin.UNTRUSTED
    assert await recorder.origin(["bob", "dan"]) is Origin.UNSEEN
    assert await recorder.origin("bob eve") is Origin.UNTRUSTED


async def test_a_task_text_does_not_launder_what_was_read_before():
    recorder = Recorder()
    await recorder.call(READ, answers="eve@evil.example")
    assert await recorder.origin("eve@evil.example", text="send it to eve@evil.example") is Origin.QUOTED


async def test_a_delegate_cannot_say_what_the_task_was():
    recorder = Recorder()
    hop = Grant(GrantId("g"), None, ANN.organisation, ANN.id, ANN.id, ANN.id, 1, 3, "txn-1", 0, 0)
    delegate = replace(PRINCIPAL, actors=(ANN, ANN), grants=(hop,))
    assert await recorder.origin("eve", principal=delegate, text="send it to eve") is Origin.UNSEEN


async def test_whoever_is_at_a_domain_from_untrusted_content_is_not_trusted_either():
    recorder = Recorder()
    await recorder.call(READ, text="ask at acme.example", answers="eve@evil.example, acme.example/news")
    assert await recorder.origin("adam@evil.example") is Origin.UNTRUSTED
    assert await recorder.origin("adam@acme.example") is Origin.UNSEEN
    assert await recorder.origin("https://acme.example/about") is Origin.TASK


async def test_an_address_to_which_something_was_added_is_not_the_one_that_was_read():
    recorder = Recorder()
    await recorder.call(READ, answers="see https://evil.example/page?q=1 and the secret 4711")
    assert await recorder.origin("http://www.evil.example/page?q=1") is Origin.QUOTED
    assert await recorder.origin("https://evil.example/page?q=4711") is Origin.UNTRUSTED
    assert await recorder.origin("https://evil.example/4711") is Origin.UNTRUSTED


async def test_words_that_were_read_apart_are_no_quotation_when_put_together():
    recorder = Recorder()
    await recorder.call(READ, answers="see evil.example/page, the secret is 4711")
    for together in ("evil.example/page 4711", "evil.example/page;4711", "evil.example/page|4711"):
        assert await recorder.origin(together) is Origin.UNTRUSTED


async def test_what_stands_in_a_field_of_ones_own_is_ones_own_and_the_text_around_it_is_not():
    recorder = Recorder()
    turn = await recorder.turn(PAID)
    rows = [{"to": "bob", "why": "pay eve, not bob"}]
    text = [{"type": "text", "text": "to: bob, why: pay eve, not bob"}]
    seen = recorder.transactions.see(turn, PAID, {"content": text, "structuredContent": {"rows": rows}})
    assert seen.own.origin is Origin.OWN
    assert not seen.own.digests & seen.sightings.digests
    assert await recorder.origin("bob") is Origin.OWN
    assert await recorder.origin("eve") is Origin.QUOTED


async def test_what_untrusted_content_has_named_before_does_not_become_ones_own():
    recorder = Recorder()
    await recorder.call(READ, answers="pay eve")
    turn = await recorder.turn(PAID)
    recorder.transactions.see(turn, PAID, {"structuredContent": {"rows": [{"to": "eve"}]}})
    assert await recorder.origin("eve") is Origin.QUOTED


async def test_values_are_kept_only_where_somebody_declares_destinations_or_amounts():
    recorder = Recorder()
    recorder.transactions.retarget([READ])
    turn = await recorder.turn(READ, text="bob")
    assert turn.step.sightings is None
    assert recorder.transactions.see(turn, READ, {"a": "eve"}) is None


async def test_the_words_of_a_task_are_kept_with_the_first_call_that_is_made():
    recorder = Recorder()
    refused = await recorder.turn(SEND, text="bob")
    made = await recorder.turn(SEND, text="bob")
    assert refused.step.sightings == made.step.sightings
    with made:
        made.kept()
    assert (await recorder.turn(SEND, text="bob")).step.sightings is None


async def test_what_is_seen_is_handed_on_once():
    recorder = Recorder()
    turn = await recorder.turn(READ)
    seen = recorder.transactions.see(turn, READ, {"text": "eve"})
    assert seen.sightings.origin is Origin.UNTRUSTED
    assert recorder.transactions.see(turn, READ, {"text": "Eve"}) is None


async def test_beyond_what_is_remembered_everything_unknown_is_untrusted():
    recorder = Recorder()
    await recorder.call(READ, text="Write to bob", answers=" ".join(f"w{n}" for n in range(20_000)))
    assert await recorder.origin("nowhere") is Origin.UNTRUSTED
    assert await recorder.origin("bob") is Origin.TASK


async def test_naming_a_new_task_sheds_nothing():
    recorder = Recorder()
    await recorder.call(READ)
    assert (await recorder.call(SEND, task="another")).taint == {"private-data", "untrusted-source"}


async def test_a_task_goes_on_under_a_new_token():
    recorder = Recorder()
    await recorder.call(READ, task="t-1")
    renewed = replace(PRINCIPAL, transaction="txn-2")
    assert (await recorder.call(SEND, renewed, task="t-1")).taint == {"private-data", "untrusted-source"}
    assert (await recorder.call(SEND, renewed)).taint >= {"private-data", "untrusted-source"}


async def test_another_agent_s_task_of_the_same_name_is_another_task():
    recorder = Recorder()
    await recorder.call(READ, task="t-1")
    eve = Agent(AgentId("eve"), OrganisationId("acme"), frozenset())
    other = replace(PRINCIPAL, agent=eve, subject=eve.id, actors=(eve,), transaction="txn-2")
    assert (await recorder.call(SEND, other, task="t-1")).taint == frozenset()


async def test_a_token_that_has_begun_one_task_cannot_go_on_with_another():
    recorder = Recorder()
    other = replace(PRINCIPAL, transaction="txn-2")
    await recorder.call(READ, task="t-1")
    await recorder.call(READ, other, task="t-2")
    with pytest.raises(Denied, match="another task") as refused:
        await recorder.call(SEND, other, task="t-1")
    assert "new token" in refused.value.hint


async def test_a_transaction_that_left_the_memory_is_read_again():
    store = KeptFlow()
    recorder = Recorder(store, capacity=1)
    turn = await recorder.turn(READ)
    with turn:
        store.keep(turn.step)
        turn.kept()
    await recorder.call(SEND, replace(PRINCIPAL, transaction="txn-2"))
    assert (await recorder.call(SEND)).taint == {"private-data", "untrusted-source"}


class KeptFlow(MemoryFlow):
    """Keeps the steps that a test says."""

    def __init__(self) -> None:
        self.steps: dict[str, list[Step]] = {}

    def keep(self, step: Step) -> None:
        self.steps.setdefault(step.transaction, []).append(step)

    async def load(self, transaction: str) -> Kept:
        tally = Tally()
        steps = self.steps.get(transaction, [])
        for step in steps:
            tally.take(step)
        return Kept(len(steps), tally)
