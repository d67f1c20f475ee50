"""Budgets in calls, tokens and money, in windows, with warnings; rates; caps that an operator overrides."""

from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from datetime import UTC

import anyio
import hypothesis.strategies as st
import orjson
import pytest
from hypothesis import given, settings

from broker.audit.interface import Entry, Event
from broker.audit.verify import verify
from broker.errors import BudgetExceeded, RateLimited, Refused
from broker.journal import Closing, Journal, Opened, Opening
from broker.ledger.interface import NOTHING, Budget, Override, Quote, Rate, Settlement, Unit
from broker.ledger.windows import PARTS, window_of
from broker.model import MicroUSD
from broker.storage.store import Store
from tests.contract.conftest import STORES, Backend
from tests.contract.words import NOBODY, ORG, close_call, intent, open_call

CALLS = Budget("agent:a", 3, "day:1", Unit.CALLS)


class Now:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 1_700_000_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
async def timed(backend: Backend, now: Now) -> AsyncGenerator[Store]:
    async with backend.open(clock=now) as opened:
        yield opened


async def begin(store: Store, call: str, quote: Quote) -> Opened:
    budgets = [
        {"scope": b.scope, "cap": b.cap, "window": b.window, "unit": b.unit, "parts": b.parts}
        for b in quote.budgets
    ]
    spend = {"held": quote.amount, "price": quote.price, "tokens": quote.tokens, "budgets": budgets}
    return await store.journal.open(Opening(call, quote, intent(call, spend=spend), NOBODY))


async def end(store: Store, call: str, settlement: Settlement) -> None:
    facts = {"outcome": "ok", "cost": settlement.amount, "calls": settlement.calls}
    if settlement.tokens is not None:
        facts["tokens"] = settlement.tokens
    entry = Entry(ORG, Event.CALL_OUTCOME, facts, call, "researcher")
    await store.journal.close(Closing(call, settlement, entry))


def a_quote(*budgets: Budget, amount: int = 0, tokens: int = 0, rates: tuple[Rate, ...] = ()) -> Quote:
    return Quote(MicroUSD(amount), "fixed", budgets, tokens, rates)


async def thresholds(store: Store) -> list[int]:
    bodies = [orjson.loads(r.body) async for r in store.log.records(ORG)]
    return [body["percent"] for body in bodies if body["type"] == Event.BUDGET_THRESHOLD]


async def test_a_budget_of_calls_counts_calls_that_cost_nothing_too(store: Store):
    for call in ("a", "b", "c"):
        await begin(store, call, a_quote(CALLS))
        await end(store, call, Settlement(MicroUSD(0)))
    with pytest.raises(BudgetExceeded, match="agent `a` has spent 3 and holds 0 of 3 calls in this day"):
        await begin(store, "d", a_quote(CALLS))


async def test_a_call_that_is_known_not_to_have_happened_counts_for_nothing(store: Store):
    tokens = Budget("agent:a", 100, "", Unit.TOKENS)
    await begin(store, "a", a_quote(CALLS, tokens, tokens=60))
    await end(store, "a", NOTHING)
    assert (await store.ledger.balance(CALLS.account)).spent == 0
    assert (await store.ledger.balance(tokens.account)).spent == 0


async def test_tokens_are_held_as_quoted_and_charged_as_used_or_as_held_where_that_is_not_known(store: Store):
    tokens = Budget("agent:a", 100, "", Unit.TOKENS)
    await begin(store, "a", a_quote(tokens, tokens=60))
    with pytest.raises(BudgetExceeded, match="holds 60 of 100 tokens"):
        await begin(store, "b", a_quote(tokens, tokens=41))
    await end(store, "a", Settlement(MicroUSD(0), tokens=10))
    await begin(store, "b", a_quote(tokens, tokens=41))
    await end(store, "b", Settlement(MicroUSD(0), estimated=True))
    assert (await store.ledger.balance(tokens.account)).spent == 51


async def test_a_call_pays_in_the_window_in_which_it_began(store: Store):
    first, second = (Budget("agent:a", 100, f"day:{day}") for day in (1, 2))
    await begin(store, "a", a_quote(first, amount=100))
    await begin(store, "b", a_quote(second, amount=100))
    await end(store, "a", Settlement(MicroUSD(70)))
    assert (await store.ledger.balance(first.account)).spent == 70
    assert (await store.ledger.balance(second.account)).held == 100


async def test_a_rolling_window_counts_what_its_earlier_parts_hold(store: Store):
    def part(number: int) -> Budget:
        return Budget("agent:a", 100, f"24h:{number}", Unit.USD, PARTS + 1)

    await begin(store, "a", a_quote(part(1), amount=60))
    with pytest.raises(BudgetExceeded):
        await begin(store, "b", a_quote(part(1 + PARTS), amount=41))
    await begin(store, "b", a_quote(part(2 + PARTS), amount=41))


async def test_a_refusal_in_one_unit_holds_nothing_in_another(store: Store):
    money = Budget("agent:a", 10)
    with pytest.raises(BudgetExceeded):
        await begin(store, "a", a_quote(CALLS, money, amount=11))
    assert (await store.ledger.balance(CALLS.account)).held == 0


async def test_each_threshold_is_recorded_once_in_its_window(backend: Backend):
    budget = Budget("agent:a", 10, "day:1", Unit.CALLS, warn=(50, 80))
    async with backend.open() as store:
        for n in range(6):
            await begin(store, f"a{n}", a_quote(budget))
            await end(store, f"a{n}", NOTHING if n == 5 else Settlement(MicroUSD(0)))
        assert await thresholds(store) == [50]
    async with backend.open() as store:
        for n in range(5):
            await begin(store, f"b{n}", a_quote(budget))
        assert await thresholds(store) == [50, 80]
        await begin(store, "c", a_quote(replace(budget, window="day:2", cap=1)))
        assert await thresholds(store) == [50, 80, 80]


async def test_calls_wait_the_longer_the_less_is_left(store: Store):
    budget = Budget("agent:a", 10, "", Unit.CALLS, warn=(50,), slow_from=80)
    told = [(await begin(store, f"c{n}", a_quote(budget))).notices for n in range(10)]
    assert [n.percent for notices in told for n in notices] == [50, 60, 70, 80, 90, 100]
    waits = [n.wait_ms for notices in told for n in notices]
    assert waits[:4] == [0, 0, 0, 0]
    assert 0 < waits[4] < waits[5] == 5000


async def test_calls_in_flight_are_capped_and_an_end_makes_room(store: Store):
    at_once = Budget("agent:a", 2, "", Unit.OPEN)
    await begin(store, "a", a_quote(at_once))
    await begin(store, "b", a_quote(at_once))
    with pytest.raises(BudgetExceeded, match="holds 2 of 2 calls at a time") as refused:
        await begin(store, "c", a_quote(at_once))
    assert refused.value.hint == "try again when calls in flight have ended"
    await end(store, "a", Settlement(MicroUSD(0)))
    await begin(store, "c", a_quote(at_once))


async def test_a_rate_lets_a_burst_through_and_then_one_an_interval(timed: Store, now: Now):
    rates = (Rate("agent:a", 1_000_000, 2),)
    for call in ("a", "b"):
        await begin(timed, call, a_quote(rates=rates))
    with pytest.raises(RateLimited) as refused:
        await begin(timed, "c", a_quote(CALLS, rates=rates))
    assert refused.value.retry_after_s == 1
    assert (await timed.ledger.balance(CALLS.account)).held == 0
    now.seconds += 1
    await begin(timed, "c", a_quote(rates=rates))


async def test_a_rate_holds_over_a_restart(backend: Backend, now: Now):
    rates = (Rate("agent:a", 60_000_000, 1),)
    async with backend.open(clock=now) as store:
        await begin(store, "a", a_quote(rates=rates))
    async with backend.open(clock=now) as store:
        with pytest.raises(RateLimited, match="faster than it may"):
            await begin(store, "b", a_quote(rates=rates))


async def test_an_overridden_cap_is_recorded_and_over_at_its_time(timed: Store, now: Now):
    until = int(now.seconds) + 60
    override = Override("agent:a", "day", Unit.CALLS, 9, until, "month end", "dana")
    await Journal(timed.journal, b"k" * 32).override_budget(override)
    assert await timed.ledger.overrides() == [override]
    (body,) = [orjson.loads(r.body) async for r in timed.log.records("system")][1:]
    assert (body["type"], body["by"], body["reason"]) == ("budget.changed", "dana", "month end")
    now.seconds = until
    assert await timed.ledger.overrides() == []


async def test_two_hundred_calls_at_once_never_overspend_any_unit(store: Store):
    calls, money = Budget("agent:a", 40, "", Unit.CALLS), Budget("organisation:acme", 500)
    done: Counter[bool] = Counter()

    async def attempt(n: int) -> None:
        try:
            await begin(store, f"c{n}", a_quote(calls, money, amount=10))
        except BudgetExceeded:
            done[False] += 1
        else:
            await end(store, f"c{n}", Settlement(MicroUSD(n % 11)))
            done[True] += 1

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            for n in range(200):
                tasks.start_soon(attempt, n)
    assert done[True] == 40
    assert (await store.ledger.balance(calls.account)).spent == 40
    assert (await verify(store.log, keys=[])).problems == ()


# --- Any order of events against a simple reference -----------------------------------------------


@dataclass
class Reference:
    """What the books should say: one list of calls, added up anew each time."""

    cap: dict[Unit, int]
    calls: dict[str, tuple[int, dict[Unit, int]]]
    open: set[str]

    def used(self, unit: Unit, windows: range) -> int:
        return sum(amounts[unit] for window, amounts in self.calls.values() if window in windows)

    def fits(self, amounts: dict[Unit, int], window: int) -> bool:
        rolling = range(window - PARTS, window + 1)
        return all(
            not amounts[unit] or self.used(unit, rolling) + amounts[unit] <= cap
            for unit, cap in self.cap.items()
        )


events = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), st.integers(0, 60), st.integers(0, 60)),
        st.tuples(st.just("end"), st.integers(0, 60), st.integers(0, 60)),
        st.tuples(st.just("undone"), st.integers(0, 60), st.just(0)),
        st.tuples(st.just("turn"), st.integers(1, 8), st.just(0)),
        st.tuples(st.just("crash"), st.just(0), st.just(0)),
    ),
    max_size=40,
)


@pytest.mark.parametrize("name", STORES)
@settings(max_examples=40)
@given(events=events)
async def test_no_order_of_calls_windows_and_crashes_exceeds_a_cap_or_loses_or_doubles_a_charge(
    tmp_path_factory: pytest.TempPathFactory, name: str, events: list[tuple[str, int, int]]
):
    backend = STORES[name](tmp_path_factory.mktemp("ledger"))
    reference = Reference({Unit.USD: 100, Unit.CALLS: 5, Unit.TOKENS: 120, Unit.OPEN: 3}, {}, set())
    window, pending = PARTS + 1, list(enumerate(events))
    while pending:
        async with backend.open() as store:
            for left in await store.journal.abandoned():
                await end(store, left.call, Settlement(left.held, estimated=True))
                reference.open.discard(left.call)
                reference.calls[left.call][1][Unit.OPEN] = 0
            while pending:
                n, (event, one, two) = pending.pop(0)
                if event == "crash":
                    break
                if event == "turn":
                    window += one
                    continue
                await _step(store, reference, (n, event, one, two), window)
            for unit in Unit:
                accounts = [_budget(reference, unit, w) for w in range(window + 1)]
                balances = [await store.ledger.balance(b.account) for b in accounts]
                used = reference.used(unit, range(window + 1))
                assert sum(b.spent + b.held for b in balances) == used
            assert (await verify(store.log, keys=[])).problems == ()


async def _step(store: Store, reference: Reference, event: tuple[int, str, int, int], window: int) -> None:
    n, kind, one, two = event
    if kind == "begin":
        amounts = {Unit.USD: one, Unit.CALLS: 1, Unit.TOKENS: two, Unit.OPEN: 1}
        quote = a_quote(*(_budget(reference, u, window) for u in Unit), amount=one, tokens=two)
        try:
            await begin(store, f"c{n}", quote)
        except Refused:
            assert not reference.fits(amounts, window)
        else:
            assert reference.fits(amounts, window)
            reference.calls[f"c{n}"] = window, amounts
            reference.open.add(f"c{n}")
    elif reference.open:
        call = sorted(reference.open)[one % len(reference.open)]
        reference.open.discard(call)
        began, held = reference.calls[call]
        if kind == "undone":
            reference.calls[call] = began, dict.fromkeys(Unit, 0)
            await end(store, call, NOTHING)
        else:
            cost, tokens = min(one, held[Unit.USD]), min(two, held[Unit.TOKENS])
            charged = {Unit.USD: cost, Unit.CALLS: 1, Unit.TOKENS: tokens, Unit.OPEN: 0}
            reference.calls[call] = began, charged
            await end(store, call, Settlement(MicroUSD(cost), tokens=tokens))
            await end(store, call, Settlement(MicroUSD(cost), tokens=tokens))


def _budget(reference: Reference, unit: Unit, window: int) -> Budget:
    return Budget("agent:a", reference.cap[unit], f"24h:{window}", unit, PARTS + 1)


async def test_windows_that_are_over_are_forgotten_unless_something_is_held_in_them(backend: Backend):
    now = [1_700_000_000.0]

    def in_windows() -> Quote:
        windows = {name: window_of(name) for name in ("hour", "day", "24h", "total")}
        budgets = tuple(
            Budget("agent:a", 1000, w.at(now[0], UTC), Unit.CALLS, w.parts) for w in windows.values() if w
        )
        return Quote(MicroUSD(0), "free", budgets, rates=(Rate("agent:a", 60_000_000, 5),))

    async def accounts(store: Store) -> list[tuple[str, int, int]]:
        return [(b.account, b.spent, b.held) for b in await store.ledger.balances()]

    async with backend.open(clock=lambda: now[0]) as store:
        journal = Journal(store.journal, b"k" * 32)
        await open_call(store, "a", in_windows())
        await close_call(store, "a", 0)
        await open_call(store, "open", in_windows())
        before = await accounts(store)
        now[0] += 3600 * 25
        await journal.forget_windows()
        kept = [row for row in before if not row[0].startswith("rate:")]  # the rate holds nobody back
        assert await accounts(store) == kept
        now[0] += 86400 * 40
        await journal.forget_windows()
        assert await accounts(store) == kept  # held
        await close_call(store, "open", 0)
        await journal.forget_windows()
        assert await accounts(store) == [("agent:a##calls", 2, 0)]
        await open_call(store, "b", in_windows())
        assert len(await accounts(store)) == 5
