"""The filter language of `broker calls tail` and the operator API."""

import pytest

from broker.audit.interface import CallFilter, Outcome
from broker.edges.call_filter import Wanted, parse_filter
from broker.errors import InvalidRequest

NOW = 1_700_000_000


def parsed(*conditions: str) -> Wanted:
    return parse_filter(conditions, now=NOW)


def test_all_conditions_of_a_filter_hold_together():
    wanted = parsed("agent=a tool=notes__add", "log=acme outcome=denied,blocked", "since=2h", "cost>0.01")
    assert wanted == Wanted(
        CallFilter(
            agent="a",
            tool="notes__add",
            outcomes=frozenset({Outcome.DENIED, Outcome.BLOCKED}),
            since=(NOW - 7200) * 1_000_000,
            least_cost=10_001,
        ),
        "acme",
    )


def test_nothing_given_asks_for_everything():
    assert parsed() == Wanted()


def test_a_negated_outcome_means_all_others():
    assert parsed("outcome!=ok").calls.outcomes == frozenset(Outcome) - {Outcome.OK}


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("cost=0.5", 500_000, 500_000),
        ("cost>0.5", 500_001, None),
        ("cost>=0.5", 500_000, None),
        ("cost<0.5", None, 499_999),
        ("cost<=0.5", None, 500_000),
        ("cost>1 cost<=2", 1_000_001, 2_000_000),
    ],
)
def test_costs_are_exact_to_the_millionth(text: str, least: int | None, most: int | None):
    calls = parsed(text).calls
    assert (calls.least_cost, calls.most_cost) == (least, most)


@pytest.mark.parametrize(
    ("text", "until"),
    [
        ("until=90s", NOW - 90),
        ("until=2026-01-31T12:00:00Z", 1_769_860_800),
        ("until=2026-01-31T13:00:00+01:00", 1_769_860_800),
        ("until=2026-01-31", 1_769_817_600),
    ],
)
def test_times_are_durations_before_now_or_dates(text: str, until: int):
    assert parsed(text).calls.until == until * 1_000_000


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("agnet=a", "calls cannot be filtered by `agnet`", "did you mean `agent`?"),
        ("colour=red", "calls cannot be filtered by `colour`", "calls are filtered by agent, tool"),
        ("outcome=denyed", "no call ends as `denyed`", "did you mean `denied`?"),
        ("outcome=weather", "no call ends as `weather`", "calls end as ok, tool_error"),
        ("agent>a", "`agent` cannot be compared with `>`", "it knows ="),
        ("agent", "`agent` is no condition", "write e.g. agent=researcher"),
        ("agent=", "`agent=` has no value", "write e.g."),
        ("agent=a agent=b", "`agent` is given twice", "all conditions have to hold"),
        ("cost>1 cost>2", "`cost` is given twice", "all conditions have to hold"),
        ("since=yesterday", "`since` is neither a duration nor a time: `yesterday`", "write 30m"),
        ("cost>1e3", "`cost` is no amount: `1e3`", "US dollars"),
        ("cost>0.0000001", "`cost` is no amount: `0.0000001`", "at most six decimals"),
    ],
)
def test_a_mistake_is_named_and_says_what_to_write_instead(text: str, said: str, hint: str):
    with pytest.raises(InvalidRequest) as refused:
        parsed(text)
    assert refused.value.message == said
    assert hint in (refused.value.hint or "")
