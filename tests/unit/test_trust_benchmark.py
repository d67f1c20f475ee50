"""Does the benchmark of trust count what it says it counts?"""

import random

from benchmarks.trust import Session, noisy, roc, tables


def session(*lost: bool, injected: int | None = None, signs: int = 0) -> Session:
    calls = [{"tool": "t", "injected": n == injected} for n in range(len(lost))]
    trace = {"user": "user_task_1", "calls": calls} | ({} if injected is None else {"injection": "i"})
    made = Session("suite", trace, scores=[500 if one else 650 for one in lost], lost=list(lost))
    made.signs["strange-destination"] = signs
    return made


def test_a_session_that_ends_in_a_lower_band_loses_and_its_calls_are_counted_from_the_attack_on():
    attacked = session(False, False, False, True, injected=1, signs=1)
    assert (attacked.attacked, attacked.loses, attacked.calls_to_detect) == (True, True, 3)
    honest = session(False, False)
    assert (honest.attacked, honest.loses, honest.calls_to_detect) == (False, False, None)


def test_what_tells_all_apart_has_an_area_of_one_and_what_tells_nothing_of_a_half():
    assert roc([0] * 20, [1] * 5) == (1.0, 1.0)
    assert roc([1, 1], [1, 1]) == (0.5, 0.0)
    assert roc([0] * 19 + [2], [2, 1, 0]) == (0.8, 2 / 3)


def test_the_table_names_every_sign_and_says_how_many_lose():
    told = tables([session(False), session(True, injected=0, signs=2)])
    assert "| all | 1 | 0 (0.0 %) | 1 | 1 (100.0 %) | 1, 1 |" in told
    assert "| `strange-destination` | 0 (0.0 %) | 1 (100.0 %) | 1.00 | 100.0 % |" in told


def test_noise_is_the_same_each_time_and_keeps_nothing_that_was_not_there():
    trace = {"calls": [{"tool": str(n), "injected": False} for n in range(50)]}
    once, again = noisy(trace, random.Random(1)), noisy(trace, random.Random(1))  # noqa: S311
    assert once == again != trace
    assert {call["tool"] for call in once["calls"]} <= {call["tool"] for call in trace["calls"]}
