"""What a log makes of its agents."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from broker.policy.load import shipped_policies
from broker.trust.interface import SECOND_US, Band, Record
from broker.trust.replay import RELEASED, Replay, Update
from broker.trust.signs import watchers
from broker.trust.weights import load_weights

WEIGHTS = load_weights(shipped_policies(), shipped_policies())
NOW = 1_800_000_000 * SECOND_US


def refused(tool: str = "t", *, at: int = 0, seq: int = 1, code: str = "denied", **facts: Any) -> Record:
    error = {"code": code, "because": facts.pop("because", ["default"])}
    body = {"call": f"c{seq}", "what": {"name": tool}, "error": error, "outcome": "denied", **facts}
    return Record(seq, NOW + at * SECOND_US, "call.denied", "a", body)


def intent(seq: int = 1, *, at: int = 0, **facts: Any) -> Record:
    body = {"call": f"c{seq}", "what": {"name": "t", "side_effect": "writes"}, **facts}
    return Record(seq, NOW + at * SECOND_US, "call.intent", "a", body)


def replayed(records: list[Record]) -> tuple[Replay, list[Update]]:
    replay = Replay(WEIGHTS, watchers())
    return replay, [update for record in records for update in replay.take(record)]


def rules(replay: Replay, at: int = 0) -> list[str]:
    return [one.rule for one in replay.standing("a", 1, NOW + at * SECOND_US)[1].contributions]


RECORDS = st.lists(
    st.tuples(
        st.sampled_from("pqrs"), st.integers(0, 4), st.sampled_from(["denied", "over_budget", "blocked"])
    ),
    max_size=30,
)


@given(RECORDS)
def test_a_replay_says_the_same_again(found: list[tuple[str, int, str]]) -> None:
    ordered = sorted(found, key=lambda one: one[1])
    log = [refused(tool, at=at, seq=n, code=code) for n, (tool, at, code) in enumerate(ordered)]
    assert replayed(log)[1] == replayed(log)[1]


@given(RECORDS, st.randoms(use_true_random=False))
def test_within_a_second_the_order_does_not_matter(found: list[tuple[str, int, str]], random: Any) -> None:
    log = [refused(tool, seq=7, code=code) for tool, _, code in found]
    mixed = list(log)
    random.shuffle(mixed)
    one, other = replayed(log)[0], replayed(mixed)[0]
    assert one.standing("a", 1, NOW) == other.standing("a", 1, NOW)


def test_three_different_tools_refused_in_ten_minutes_are_probing() -> None:
    assert rules(replayed([refused(t, at=n, seq=n) for n, t in enumerate("pqq")])[0]) == ["denied"]
    assert rules(replayed([refused(t, at=n, seq=n) for n, t in enumerate("pqr")])[0], 2) == [
        "probing",
        "denied",
    ]


def test_a_write_to_where_foreign_content_said_counts_for_both_origins() -> None:
    for origin, expected in (
        ("untrusted", ["strange-destination"]),
        ("quoted", ["strange-destination"]),
        ("task", []),
    ):
        situation = {"arguments": [{"name": "to", "role": "destination"}], "provenance": {"to": origin}}
        replay, _ = replayed([intent(decision={"situation": situation})])
        assert rules(replay) == expected


def test_what_a_human_has_agreed_to_does_not_speak_against_the_agent() -> None:
    asked: dict[str, Any] = {
        "approval": "ask-1",
        "what": {"name": "t", "side_effect": "writes"},
        "decision": {
            "situation": {
                "arguments": [{"name": "to", "role": "destination"}],
                "provenance": {"to": "untrusted"},
            }
        },
    }
    held = [refused(code="pending_approval", seq=n, **asked) for n in (1, 2)]
    other = refused(code="pending_approval", seq=3, **asked | {"approval": "ask-2"})
    (counted,) = replayed(held)[0].standing("a", 1, NOW)[1].contributions
    assert (counted.rule, counted.count) == ("strange-destination", 1)
    agreed = intent(4, **asked)
    assert rules(replayed([*held, agreed])[0]) == []
    (left,) = replayed([*held, other, agreed])[0].standing("a", 1, NOW)[1].contributions
    assert left.seqs == (3,)


def test_what_guards_stop_on_the_way_out_counts_and_what_a_result_holds_does_not() -> None:
    def finding(stage: str, guard: str) -> dict[str, str]:
        return {"stage": stage, "guard": guard, "action": "block"}

    assert rules(replayed([refused(code="blocked", findings=[finding("arguments", "secrets@1")])])[0]) == [
        "leak-stopped"
    ]
    assert rules(replayed([refused(code="blocked", findings=[finding("arguments", "hidden@1")])])[0]) == [
        "content-blocked"
    ]
    assert rules(replayed([refused(code="blocked", findings=[finding("result", "secrets@1")])])[0]) == []


def test_a_refusal_because_of_trust_does_not_lower_trust_further() -> None:
    assert rules(replayed([refused(because=["trust/restricted-only-reads"])])[0]) == []


def test_far_more_calls_than_in_the_minutes_before_are_a_burst() -> None:
    calm = [intent(n, at=n * 6) for n in range(50)]
    burst = [intent(100 + n, at=300 + n // 2) for n in range(80)]
    assert rules(replayed(calm)[0]) == []
    assert rules(replayed([*calm, *burst])[0], 340) == ["burst"]


def test_a_touched_honeytool_quarantines_until_a_human_releases_the_agent() -> None:
    touched = refused(because=["trust/honeytool"])
    replay, (update,) = replayed([touched])
    assert (update.band, update.reckoning.score) == (Band.QUARANTINED, 0)
    year = 365 * 86_400 * SECOND_US
    assert replay.standing("a", 1, NOW + year)[0] is Band.QUARANTINED
    (released,) = replay.take(Record(2, NOW + SECOND_US, RELEASED, None, {"target": "a"}))
    assert (released.was, released.band) == (Band.QUARANTINED, Band.WATCH)


def test_an_agent_that_contradicts_its_manifest_falls_with_its_level() -> None:
    def call(seq: int, level: int) -> Record:
        return intent(seq, actor={"chain": ["a"]}, decision={"situation": {"actors": [{"level": level}]}})

    _, (update,) = replayed([call(1, 2), call(2, 0)])
    assert (update.was, update.band, update.as_of) == (Band.STANDARD, Band.RESTRICTED, 2)
