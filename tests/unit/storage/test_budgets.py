import pytest

from broker.errors import BudgetExceeded
from broker.ledger.interface import Balance, Budget, Quote
from broker.model import MicroUSD
from broker.storage.budgets import check, usd


def quote(amount: int, *caps: int | None) -> Quote:
    budgets = tuple(
        Budget(f"agent:a{i}", None if cap is None else MicroUSD(cap)) for i, cap in enumerate(caps)
    )
    return Quote(MicroUSD(amount), "fixed", budgets)


def balance(spent: int, held: int):
    return lambda scope: Balance(scope, MicroUSD(spent), MicroUSD(held))


def test_what_fits_exactly_is_permitted():
    check(quote(40, 100), balance(50, 10), 0)


def test_one_micro_usd_too_much_is_refused():
    with pytest.raises(BudgetExceeded):
        check(quote(41, 100), balance(50, 10), 0)


def test_a_scope_without_a_cap_holds_anything():
    check(quote(10**12, None), balance(10**12, 0), 0)


def test_every_cap_has_to_hold_it():
    with pytest.raises(BudgetExceeded, match="`a1`"):
        check(quote(50, 100, 40), balance(0, 0), 0)


def test_a_call_that_costs_nothing_fits_even_where_nothing_is_left():
    check(quote(0, 100), balance(120, 0), 0)


def test_the_refusal_says_who_what_is_spent_held_and_asked():
    with pytest.raises(BudgetExceeded) as refusal:
        check(
            Quote(MicroUSD(600_000), "fixed", (Budget("team:red", MicroUSD(25_000_000)),)),
            balance(24_600_000, 300_000),
            0,
        )
    assert refusal.value.message == (
        "team `red` has spent 24.60 and holds 0.30 of 25.00 USD; this call may cost 0.60"
    )
    assert refusal.value.hint == "ask an operator to raise the cap of team `red`"
    assert [b.rule for b in refusal.value.because] == ["budget/team:red"]


def test_where_calls_in_flight_hold_the_money_the_hint_says_to_wait():
    with pytest.raises(BudgetExceeded) as refusal:
        check(quote(50, 100), balance(0, 60), 0)
    assert refusal.value.hint == "try again when calls in flight have ended"
    assert refusal.value.as_object()["error"]["retry_after_s"] == 1


@pytest.mark.parametrize(("turns", "again"), [(1000, 400), (590, 1), (None, None)])
def test_where_a_window_turns_the_refusal_says_how_long_that_takes(turns, again):
    budget = Budget("agent:a", MicroUSD(100), "day:2026-11-24", turns=turns)
    with pytest.raises(BudgetExceeded) as refusal:
        check(Quote(MicroUSD(50), "fixed", (budget,)), balance(60, 0), 600_000_000)
    assert refusal.value.retry_after_s == again


def test_what_no_waiting_changes_says_nothing_of_waiting():
    with pytest.raises(BudgetExceeded) as refusal:
        check(quote(50, 100), balance(60, 0), 0)
    assert "retry_after_s" not in refusal.value.as_object()["error"]


@pytest.mark.parametrize(
    ("micro", "text"),
    [
        (0, "0.00"),
        (1, "0.000001"),
        (1_200, "0.0012"),
        (600_000, "0.60"),
        (25_000_000, "25.00"),
        (-1_500_000, "-1.50"),
    ],
)
def test_money_is_written_in_us_dollars_with_two_to_six_decimals(micro: int, text: str):
    assert usd(micro) == text
