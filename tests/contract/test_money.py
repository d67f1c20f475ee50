from contextlib import suppress

import anyio
import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from broker.audit.tree import tree_root
from broker.audit.verify import verify
from broker.errors import BudgetExceeded, InvalidRequest
from broker.journal import Closing, Opening
from broker.ledger.interface import Settlement
from broker.model import MicroUSD
from broker.storage.store import Store
from tests.contract.conftest import STORES, Backend
from tests.contract.words import NOBODY, close_call, denial, events, intent, money, open_call, outcome, quote


async def test_a_call_holds_its_quote_until_it_is_charged_what_it_cost(store: Store):
    await open_call(store, "a", quote(60, researcher=100))
    assert await money(store, "researcher") == (0, 60)
    await close_call(store, "a", 25)
    assert await money(store, "researcher") == (25, 0)


async def test_every_budget_above_the_call_holds_and_is_charged(store: Store):
    await open_call(store, "a", quote(60, researcher=100, planner=None))
    assert await money(store, "planner") == (0, 60)
    await close_call(store, "a", 60)
    assert (await money(store, "researcher"), await money(store, "planner")) == ((60, 0), (60, 0))


async def test_a_refusal_changes_nothing_in_any_budget_or_log(store: Store):
    await store.journal.append(denial("first"))
    (head,) = await store.log.logs()
    with pytest.raises(BudgetExceeded, match="agent `planner` has spent"):
        await open_call(store, "a", quote(60, researcher=100, planner=59))
    assert (await money(store, "researcher"), await money(store, "planner")) == ((0, 0), (0, 0))
    assert await store.log.logs() == [head]


async def test_the_first_call_of_a_log_may_be_refused_without_opening_it(store: Store):
    with pytest.raises(BudgetExceeded):
        await open_call(store, "a", quote(60, researcher=59))
    assert await store.log.logs() == []


async def test_thirty_calls_at_once_and_ten_fit(store: Store):
    verdicts: list[bool] = []

    async def attempt(call: str) -> None:
        try:
            await open_call(store, call, quote(10, researcher=100))
            verdicts.append(True)
        except BudgetExceeded:
            verdicts.append(False)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            for n in range(30):
                tasks.start_soon(attempt, f"c{n}")
    assert (verdicts.count(True), verdicts.count(False)) == (10, 20)
    assert await money(store, "researcher") == (0, 100)


async def test_a_call_that_costs_nothing_is_permitted_where_nothing_is_left(store: Store):
    await open_call(store, "a", quote(100, researcher=100))
    await close_call(store, "a", 130)
    await open_call(store, "b", quote(0, researcher=100))
    await close_call(store, "b", 0)
    assert await money(store, "researcher") == (130, 0)


async def test_a_call_may_turn_out_dearer_than_what_it_held(store: Store):
    await open_call(store, "a", quote(10, researcher=100))
    await close_call(store, "a", 95)
    assert await money(store, "researcher") == (95, 0)
    with pytest.raises(BudgetExceeded):
        await open_call(store, "b", quote(10, researcher=100))


async def test_an_actor_that_is_twice_in_the_chain_pays_once(store: Store):
    twice = quote(10, researcher=100)
    twice = type(twice)(twice.amount, twice.price, twice.budgets * 2)
    await open_call(store, "a", twice)
    assert await money(store, "researcher") == (0, 10)
    await close_call(store, "a", 10)
    assert await money(store, "researcher") == (10, 0)


async def test_a_call_is_charged_once_however_often_it_is_closed(store: Store):
    await open_call(store, "a", quote(60, researcher=100))
    first = await close_call(store, "a", 25)
    assert await close_call(store, "a", 60) == first
    assert await money(store, "researcher") == (25, 0)
    assert await events(store) == [0, 1, 2]


async def test_two_closings_at_the_same_moment_write_one_record(store: Store):
    await open_call(store, "a", quote(60, researcher=100))
    receipts = set()

    async def close(cost: int) -> None:
        receipts.add(await close_call(store, "a", cost))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(close, 25)
            tasks.start_soon(close, 25)
    assert len(receipts) == 1
    assert await events(store) == [0, 1, 2]


async def test_a_call_that_was_never_opened_cannot_be_closed(store: Store):
    with pytest.raises(InvalidRequest, match="`a` was never opened"):
        await close_call(store, "a", 1)
    assert await money(store, "researcher") == (0, 0)


async def test_a_call_is_opened_once(store: Store):
    await open_call(store, "a", quote(10, researcher=100))
    with pytest.raises(InvalidRequest, match="`a` is already open"):
        await open_call(store, "a", quote(10, researcher=100))
    assert await money(store, "researcher") == (0, 10)


async def test_a_record_that_the_log_refuses_holds_no_money(store: Store):
    with pytest.raises(InvalidRequest):
        await store.journal.open(Opening("a", quote(10, researcher=100), intent("a", price=0.5), NOBODY))
    assert await money(store, "researcher") == (0, 0)
    await open_call(store, "b", quote(10, researcher=100))
    with pytest.raises(InvalidRequest):
        await store.journal.close(Closing("b", Settlement(MicroUSD(1)), outcome("b", cost=2**60)))
    assert await money(store, "researcher") == (0, 10)


async def test_the_books_are_the_same_after_a_restart(backend: Backend):
    async with backend.open() as store:
        await open_call(store, "a", quote(60, researcher=100))
        await close_call(store, "a", 25)
        await open_call(store, "b", quote(70, researcher=100))
    async with backend.open() as store:
        assert await money(store, "researcher") == (25, 70)
        with pytest.raises(BudgetExceeded):
            await open_call(store, "c", quote(10, researcher=100))
        await close_call(store, "b", 5)
        assert await money(store, "researcher") == (30, 0)


async def test_open_calls_of_a_process_that_is_gone_are_abandoned_and_can_be_closed(backend: Backend):
    async with backend.open() as store:
        await open_call(store, "a", quote(60, researcher=100))
        await open_call(store, "b", quote(0))
        await open_call(store, "c", quote(1, researcher=100))
        await close_call(store, "c", 1)
        assert list(await store.journal.abandoned()) == []
    async with backend.open() as store:
        await open_call(store, "own", quote(1, researcher=100))
        left = await store.journal.abandoned()
        assert [(c.call, c.log, c.agent, c.held) for c in left] == [
            ("a", "acme", "researcher", 60),
            ("b", "acme", "researcher", 0),
        ]
        for call in left:
            await close_call(store, call.call, call.held)
        assert list(await store.journal.abandoned()) == []
        assert await money(store, "researcher") == (61, 1)


CAP = 100
steps = st.lists(
    st.one_of(
        st.tuples(st.just("open"), st.integers(0, 70)),
        st.tuples(st.just("close"), st.integers(0, 100)),
        st.tuples(st.just("denied"), st.just(0)),
    ),
    max_size=30,
)


@pytest.mark.parametrize("name", STORES)
@settings(max_examples=25, deadline=None)
@given(steps=steps)
async def test_no_order_of_openings_and_closings_overspends_or_spoils_the_log(
    tmp_path_factory: pytest.TempPathFactory, name: str, steps: list[tuple[str, int]]
):
    async with STORES[name](tmp_path_factory.mktemp("orders")).open() as store:
        opened: list[tuple[str, int]] = []
        roots: dict[int, bytes] = {}
        for n, (step, number) in enumerate(steps):
            if step == "open":
                with suppress(BudgetExceeded):
                    await open_call(store, f"c{n}", quote(number, researcher=CAP))
                    opened.append((f"c{n}", number))
            elif step == "close" and opened:
                call, held = opened.pop(number % len(opened))
                await close_call(store, call, min(number, held))
            elif step == "denied":
                await store.journal.append(denial(f"c{n}"))
            spent, held = await money(store, "researcher")
            assert held == sum(amount for _, amount in opened)
            assert spent >= 0
            assert spent + held <= CAP
            roots |= {head.size: head.root for head in await store.log.logs()}
        assert (await verify(store.log, keys=[])).problems == ()
        leaves = [record.leaf async for record in store.log.records("acme")]
        assert all(tree_root(leaves[:size]) == root for size, root in roots.items())
