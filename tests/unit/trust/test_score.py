"""The score: the same on every machine, never better for a bad event."""

from hypothesis import given
from hypothesis import strategies as st

from broker.policy.load import shipped_policies
from broker.trust.bands import FLOORS, Standing, band_of, within
from broker.trust.interface import DAY_US, Band, Sign
from broker.trust.score import History, decayed, reckon
from broker.trust.weights import load_weights

WEIGHTS = load_weights(shipped_policies(), shipped_policies())
NOW = 1_800_000_000_000_000
TEN_YEARS = 3653 * DAY_US

SIGNS = st.builds(
    Sign,
    rule=st.sampled_from(sorted(WEIGHTS.rules)),
    agent=st.just("a"),
    at=st.integers(NOW - TEN_YEARS, NOW),
    seq=st.integers(0, 10_000),
)
LISTS = st.lists(SIGNS, max_size=40)


def history(signs: list[Sign], level: int = 2) -> History:
    found = History(level)
    for sign in signs:
        found.add(sign)
    return found


@given(LISTS, SIGNS, st.integers(0, TEN_YEARS))
def test_one_more_bad_event_never_raises_a_score(signs: list[Sign], more: Sign, later: int) -> None:
    before, after = history(signs), history([*signs, more])
    assert reckon(after, WEIGHTS, NOW + later).score <= reckon(before, WEIGHTS, NOW + later).score


@given(LISTS, st.randoms(use_true_random=False))
def test_the_order_of_events_does_not_matter(signs: list[Sign], random: object) -> None:
    mixed = list(signs)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert reckon(history(mixed), WEIGHTS, NOW) == reckon(history(signs), WEIGHTS, NOW)


@given(LISTS, st.integers(0, TEN_YEARS))
def test_over_ten_years_a_score_stays_within_its_bounds(signs: list[Sign], later: int) -> None:
    found = reckon(history(signs), WEIGHTS, NOW + later)
    assert 0 <= found.score <= found.ceiling <= 1000
    assert all(0 < one.points <= WEIGHTS.rules[one.rule].cap for one in found.contributions)


def test_points_halve_with_each_half_life_and_are_gone_after_sixteen() -> None:
    assert [decayed(100, n * 3600 * 1_000_000, 3600) >> 16 for n in (0, 1, 2)] == [100, 50, 25]
    assert decayed(1000, 16 * 3600 * 1_000_000, 3600) == 0


def test_one_refusal_does_not_drop_a_new_attested_agent() -> None:
    found = reckon(history([Sign("denied", "a", NOW, 1)]), WEIGHTS, NOW)
    assert (found.score, band_of(found.score)) == (690, Band.STANDARD)


def test_every_band_can_be_reached() -> None:
    good = History(2)
    for day in range(1, 11):
        good.worked(NOW - day * DAY_US)
    blocked = [Sign("content-blocked", "a", NOW, seq) for seq in range(5)]
    scores = [reckon(good, WEIGHTS, NOW).score]
    scores += [reckon(history(blocked[:n]), WEIGHTS, NOW).score for n in (0, 1, 3, 5)]
    assert [band_of(score) for score in scores] == [band for band, _ in FLOORS]


def test_a_day_with_a_sign_earns_nothing() -> None:
    kept = history([Sign("malformed", "a", NOW - 3 * DAY_US, 1)])
    for day in (3, 4):
        kept.worked(NOW - day * DAY_US)
    assert reckon(kept, WEIGHTS, NOW).earned == 20


def test_a_score_falls_at_once_and_rises_after_quiet_and_clean_calls() -> None:
    watched = Standing(Band.WATCH, quiet_since=NOW, clean=20)
    minute = 60_000_000
    assert Standing(Band.STANDARD).now(399, NOW) is Band.RESTRICTED
    assert watched.now(700, NOW + 14 * minute) is Band.WATCH
    assert watched.now(649, NOW + 15 * minute) is Band.WATCH
    assert watched.now(650, NOW + 15 * minute) is Band.STANDARD
    assert Standing(Band.QUARANTINED, 0, 1000).now(1000, NOW) is Band.QUARANTINED


def test_rules_never_see_a_score_above_the_band() -> None:
    assert within(900, Band.WATCH) == 599
    assert within(450, Band.WATCH) == 450
    assert within(1000, Band.TRUSTED) == 1000
