"""Counters say what was done, this call included, and stay small whatever is done."""

from dataclasses import replace

import orjson
from hypothesis import given
from hypothesis import strategies as st

from broker.flow.step import Step
from broker.flow.tally import MOST_TARGETS, Tally

START = 1_700_000_000
STEP = Step("x", "r", 0, (), START, "mail__send", frozenset({"external-sink"}), True, b"1" * 16)


def after(*steps: Step) -> Tally:
    tally = Tally()
    for step in steps:
        tally.take(step)
    return tally


def counted(tally: Tally, step: Step = STEP) -> dict[str, int]:
    return tally.counters(step.target, step.fingerprint, step.at, writes=step.writes)


def test_the_first_call_counts_itself():
    assert counted(Tally()) == {
        "calls": 1,
        "target_calls": 1,
        "identical": 1,
        "writes": 1,
        "calls_hour": 1,
        "writes_hour": 1,
    }


def test_asking_for_the_counters_counts_nothing():
    tally = after(STEP)
    assert counted(tally) == counted(tally)


def test_identical_calls_count_only_in_a_row():
    other = replace(STEP, fingerprint=b"2" * 16)
    assert counted(after(STEP, STEP))["identical"] == 3
    assert counted(after(STEP, STEP, other))["identical"] == 1


def test_what_is_longer_ago_than_an_hour_is_not_in_the_last_hour():
    later = replace(STEP, at=START + 3600 + 60)
    tally = after(STEP, STEP, replace(STEP, at=START + 120))
    assert counted(tally, later)["calls_hour"] == 2
    assert counted(tally, later)["calls"] == 4


def test_a_clock_that_goes_back_loses_no_call():
    tally = after(STEP, replace(STEP, at=START - 600))
    assert counted(tally)["calls_hour"] == 3


def test_targets_beyond_the_number_that_is_remembered_share_a_counter_that_is_never_too_low():
    many = [replace(STEP, target=f"tool-{number}") for number in range(MOST_TARGETS + 50)]
    tally = after(*many)
    assert len(tally.targets) == MOST_TARGETS + 1
    assert counted(tally, many[0])["target_calls"] == 2
    assert counted(tally, many[-1])["target_calls"] > 2


@given(
    st.lists(
        st.builds(
            Step,
            transaction=st.just("x"),
            reading=st.just("r"),
            known=st.just(0),
            names=st.just(()),
            at=st.integers(START, START + 20_000),
            target=st.sampled_from(["a", "b", "c"]),
            labels=st.frozensets(st.sampled_from(["private-data", "money", "pii"])),
            writes=st.booleans(),
            fingerprint=st.sampled_from([b"1" * 16, b"2" * 16]),
            sums=st.just((("sum.amount", 3),)),
        ),
        max_size=30,
    )
)
def test_what_is_kept_says_all_that_counts(steps):
    tally = after(*steps)
    kept = Tally.of(orjson.loads(orjson.dumps(tally.facts())))
    last = replace(STEP, at=START + 20_000)
    assert (kept.labels, counted(kept, last)) == (tally.labels, counted(tally, last))
    assert kept.labels == frozenset().union(*(step.labels for step in steps))
    assert counted(kept, last)["writes"] == 1 + sum(step.writes for step in steps)
