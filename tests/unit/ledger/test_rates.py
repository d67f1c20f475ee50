"""Calls come evenly, but for a burst after a rest. The oracle keeps the times of all calls."""

import hypothesis.strategies as st
from hypothesis import given

from broker.ledger.interface import Rate
from broker.ledger.rates import after, wait_us


def admitted(rate: Rate, arrivals: list[int]) -> list[int]:
    on_time, let_in = 0, []
    for now in arrivals:
        if wait_us(rate, on_time, now) == 0:
            on_time = after(rate, on_time, now)
            let_in.append(now)
    return let_in


times = st.lists(st.integers(0, 10_000), max_size=60).map(sorted)


@given(times, st.integers(1, 500), st.integers(1, 8))
def test_no_stretch_of_time_sees_more_calls_than_its_length_and_the_burst_allow(arrivals, interval, burst):
    let_in = admitted(Rate("agent:a", interval, burst), arrivals)
    for first, start in enumerate(let_in):
        for last, end in enumerate(let_in[first:], first):
            assert last - first + 1 <= burst + (end - start) // interval


@given(times, st.integers(1, 500), st.integers(1, 8))
def test_who_waits_as_long_as_was_said_is_let_in(arrivals, interval, burst):
    rate, on_time = Rate("agent:a", interval, burst), 0
    for now in arrivals:
        moment = now + wait_us(rate, on_time, now)
        assert wait_us(rate, on_time, moment) == 0
        if moment > now:
            assert wait_us(rate, on_time, moment - 1) == 1
        on_time = after(rate, on_time, moment)


def test_after_a_rest_a_burst_goes_at_once_and_then_one_an_interval():
    assert admitted(Rate("agent:a", 100, 3), [1000] * 5 + [1099, 1100, 1100]) == [1000] * 3 + [1100]
