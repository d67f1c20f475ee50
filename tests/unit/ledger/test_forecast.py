"""When a cap is reached, at the pace of calls that were really paid."""

import pytest

from broker.ledger.forecast import Spent, forecasts
from broker.ledger.interface import Unit
from broker.ledger.report import Standing

NOW = 1_700_000_000


def standing(window: str, spent: int, cap: int, turns_in: int | None) -> Standing:
    turns = None if turns_in is None else NOW + turns_in
    return Standing("agent:a", window, Unit.USD, spent, 0, cap, "x:1", turns_at=turns)


def calls(*amounts: int) -> list[Spent]:
    return [Spent("agent:a", Unit.USD, amount) for amount in amounts]


@pytest.mark.parametrize(
    ("window", "spent", "turns_in", "reached_in"),
    [
        ("total", 400, None, 3600 * 6),  # 600 left at 100 an hour
        ("day", 400, 3600 * 7, 3600 * 6),
        ("day", 400, 3600 * 6, None),  # it turns first
        ("24h", 400, 3600 * 2, 3600 * 6),  # it rolls: never all at once
        ("day", 1000, 3600, 0),
        ("day", 1200, 3600, 0),
    ],
)
def test_what_is_left_is_used_up_at_the_pace_of_the_last_hour(window, spent, turns_in, reached_in):
    (found,) = forecasts([standing(window, spent, 1000, turns_in)], calls(30, 70), seconds=3600, now=NOW)
    assert (found.calls, found.per_hour, found.earliest) == (2, 100, window == "24h")
    assert found.reached_at == (None if reached_in is None else NOW + reached_in)


def test_one_call_is_no_pace_and_calls_that_cost_nothing_reach_no_cap():
    one, free = calls(10), calls(0, 0)
    budget = [standing("total", 0, 1000, None)]
    assert forecasts(budget, one, seconds=60, now=NOW)[0].per_hour is None
    assert (forecasts(budget, free, seconds=60, now=NOW)[0].per_hour,) == (0,)
    assert forecasts(budget, free, seconds=60, now=NOW)[0].reached_at is None


def test_what_others_spent_is_not_its_pace():
    other = [Spent("agent:b", Unit.USD, 50), Spent("agent:a", Unit.CALLS, 1)] * 3
    assert forecasts([standing("total", 0, 1000, None)], other, seconds=60, now=NOW)[0].calls == 0
