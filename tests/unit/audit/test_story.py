from typing import Any

from broker.audit.offline import Story


def intent(call: str, held: int = 0, cap: int | None = None) -> dict[str, Any]:
    budgets = [{"scope": "agent:a", "cap": cap}]
    return {"type": "call.intent", "call": call, "spend": {"held": held, "budgets": budgets}}


def outcome(call: str, cost: int = 0, **more: Any) -> dict[str, Any]:
    return {"type": "call.outcome", "call": call, "cost": cost, **more}


def read(*bodies: dict[str, Any]) -> list[tuple[int, str]]:
    story = Story(whole=True)
    return [(seq, what) for seq, body in enumerate(bodies) for what in story.read(seq, body)]


def test_a_possible_story_has_no_problems():
    assert (
        read(
            {"type": "log.opened"},
            intent("a", 60, 100),
            intent("b", 40, 100),
            {"type": "call.denied", "call": "c"},
            outcome("a", 10, intent=1),
            intent("d", 50, 100),
            {"type": "call.outcome_unknown", "call": "b", "cost": 40},
        )
        == []
    )


def test_calls_without_an_end_are_listed_and_no_problem():
    story = Story(whole=True)
    for seq, body in enumerate([intent("a"), intent("b"), outcome("a")]):
        assert story.read(seq, body) == []
    assert list(story.open) == ["b"]


def test_an_end_needs_a_beginning():
    assert read(outcome("a")) == [(0, "the call `a` has no beginning")]


def test_a_call_ends_once():
    assert read(intent("a"), outcome("a"), outcome("a")) == [(2, "the call `a` already has an end")]


def test_a_call_begins_once():
    assert read(intent("a"), intent("a")) == [(1, "a second beginning of the call `a`")]
    assert read(intent("a"), outcome("a"), intent("a")) == [(2, "a second beginning of the call `a`")]


def test_a_refused_call_never_began():
    refused = {"type": "call.denied", "call": "a"}
    assert read(intent("a"), refused) == [(1, "the call `a` was refused, but it has other records")]
    assert read(refused, intent("a")) == [(1, "a second beginning of the call `a`")]


def test_an_end_names_its_own_beginning():
    assert read(intent("a"), outcome("a", intent=5)) == [(1, "the call `a` began with record 0, not 5")]


def test_money_held_above_a_cap_is_found_where_it_was_held():
    assert read(intent("a", 60, 100), intent("b", 41, 100)) == [
        (1, "`agent:a` held and had spent 101 of 100 micro-USD")
    ]
    assert read(intent("a", 60, 100), outcome("a", 30), intent("b", 71, 100))[0][0] == 2


def test_a_call_that_cost_more_than_it_held_is_no_problem_but_the_next_one_is():
    assert read(intent("a", 60, 100), outcome("a", 120)) == []
    assert read(intent("a", 60, 100), outcome("a", 120), intent("b", 1, 100))[0][0] == 2
    assert read(intent("a", 60, 100), outcome("a", 120), intent("b", 0, 100)) == []


def test_a_record_without_what_its_type_needs_is_a_problem_and_no_crash():
    lacking = "the record lacks what a record of its type has"
    assert read({"type": "call.intent", "call": "a", "spend": {"held": "x"}}) == [(0, lacking)]
    assert read({"type": "call.denied"}) == [(0, lacking)]
    assert read({"type": ["call.denied"], "call": "a"}) == [(0, lacking)]
    assert read({"type": "call.intent", "call": "a", "spend": 3}) == [(0, lacking)]
    assert read(intent("a", 1), {"type": "call.outcome", "call": "a"}) == [(1, lacking)]


def test_a_call_is_made_for_one_that_had_begun_before_it():
    story = Story(whole=True)
    begun = {"type": "call.intent", "call": "a", "cause": {"root": "a"}}
    child = {"type": "call.intent", "call": "b", "cause": {"root": "a", "parent": "a"}}
    orphan = {"type": "call.intent", "call": "c", "cause": {"root": "a", "parent": "x"}}
    assert [story.read(n, body) for n, body in enumerate((begun, child))] == [[], []]
    assert story.read(2, orphan) == ["its parent `x` is no call before it"]
