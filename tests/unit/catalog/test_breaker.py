"""An upstream that fails again and again is left alone, and tried one call at a time."""

import pytest

from broker.catalog.breaker import FAILURES, RESTS_S, Breaker, Resting, State


class Watch:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def broken(watch: Watch) -> Breaker:
    breaker = Breaker("web", watch)
    for _ in range(FAILURES):
        breaker.admit()
        breaker.failed()
    return breaker


def test_an_upstream_that_answers_now_and_then_is_asked_on():
    breaker = Breaker("web")
    for _ in range(10):
        for _ in range(FAILURES - 1):
            breaker.admit()
            breaker.failed()
        breaker.succeeded()
    breaker.admit()


def test_after_so_many_failures_in_a_row_it_is_not_asked(broken: Breaker):
    with pytest.raises(Resting, match="`web` has failed 5 times in a row and is left alone") as refused:
        broken.admit()
    assert refused.value.hint == "try again in 1 s"


def test_after_a_rest_one_call_is_let_through_and_its_success_lets_all_through(broken: Breaker, watch: Watch):
    watch.now += RESTS_S[0]
    broken.admit()
    with pytest.raises(Resting):
        broken.admit()
    broken.succeeded()
    broken.admit()
    broken.admit()
    assert broken.state is State.CLOSED


def test_a_probe_that_fails_makes_the_rest_longer_up_to_a_limit(broken: Breaker, watch: Watch):
    for rest in (*RESTS_S, RESTS_S[-1]):
        watch.now += rest - 0.001
        with pytest.raises(Resting):
            broken.admit()
        watch.now += 0.001
        broken.admit()
        broken.failed()


def test_a_probe_that_says_nothing_leaves_room_for_the_next(broken: Breaker, watch: Watch):
    watch.now += RESTS_S[0]
    broken.admit()
    broken.undecided()
    broken.admit()
    assert broken.state is State.PROBING
