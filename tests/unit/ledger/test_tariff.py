"""What do tokens cost? Never more than what was held for them, and exact to the last decimal."""

from decimal import Decimal
from fractions import Fraction
from math import ceil

from hypothesis import given
from hypothesis import strategies as st

from broker.ledger.tariff import Bound, Steps, Tariff
from broker.model import Usage

PRICES = st.decimals(min_value=0, max_value=500, places=9)
STEPS = st.builds(
    lambda base, steps: Steps(base, tuple(sorted(steps))),
    PRICES,
    st.lists(st.tuples(st.integers(1, 400_000), PRICES), max_size=2, unique_by=lambda step: step[0]),
)
MAYBE = st.none() | STEPS
TARIFFS = st.builds(
    Tariff,
    source=st.just("table@1"),
    read=STEPS,
    wrote=STEPS,
    cached=MAYBE,
    written=MAYBE,
    written_1h=MAYBE,
    audio_read=MAYBE,
    audio_wrote=MAYBE,
    call=st.decimals(min_value=0, max_value=1, places=6),
)
TOKENS = st.integers(0, 1_000_000)
BOUNDS = st.builds(Bound, TOKENS, TOKENS, st.integers(1, 4))


@st.composite
def used(draw: st.DrawFn) -> tuple[Tariff, Bound, Usage]:
    """A tariff, a bound and a usage within it, however odd its parts are."""
    bound = draw(BOUNDS)
    read = draw(st.integers(0, bound.read))
    usage = Usage(
        read,
        draw(st.integers(0, bound.wrote * bound.answers)),
        cached=draw(TOKENS),
        written=draw(TOKENS),
        written_1h=draw(TOKENS),
        audio_read=draw(TOKENS),
        audio_wrote=draw(TOKENS),
    )
    return draw(TARIFFS), bound, usage


@given(used())
def test_no_usage_within_the_bound_costs_more_than_is_held(case: tuple[Tariff, Bound, Usage]) -> None:
    tariff, bound, usage = case
    assert 0 <= tariff.cost(usage) <= tariff.most(bound)


@given(TARIFFS, BOUNDS, st.integers(0, 10**12))
def test_as_many_tokens_are_affordable_as_fit_and_not_one_more(
    tariff: Tariff, bound: Bound, room: int
) -> None:
    wrote = tariff.affordable(bound, room)
    if wrote < 0:
        assert tariff.most(Bound(bound.read, 0, bound.answers)) > room
        return
    assert tariff.most(Bound(bound.read, min(wrote, 10**7), bound.answers)) <= room or wrote == bound.wrote
    if max(tariff.wrote.up_to(bound.read), (tariff.audio_wrote or tariff.wrote).up_to(bound.read)) > 0:
        assert tariff.most(Bound(bound.read, wrote + 1, bound.answers)) > room


@given(st.tuples(PRICES, PRICES, PRICES), st.tuples(TOKENS, TOKENS, TOKENS))
def test_a_sum_is_exact_and_rounded_up_once(
    prices: tuple[Decimal, Decimal, Decimal], tokens: tuple[int, int, int]
) -> None:
    (read, wrote, cached), (all_read, from_cache, written) = prices, tokens
    from_cache = min(from_cache, all_read)
    tariff = Tariff("t", Steps(read), Steps(wrote), cached=Steps(cached))
    exact = (
        Fraction(read) * (all_read - from_cache) + Fraction(cached) * from_cache + Fraction(wrote) * written
    )
    assert tariff.cost(Usage(all_read, written, cached=from_cache)) == ceil(exact)


def test_above_a_step_all_tokens_cost_its_price() -> None:
    tariff = Tariff("t", Steps(Decimal(1), ((1000, Decimal(2)),)), Steps(Decimal(10), ((1000, Decimal(30)),)))
    assert tariff.cost(Usage(1000, 1)) == 1010
    assert tariff.cost(Usage(1001, 1)) == 2032


def test_thousandths_of_a_micro_dollar_add_up_before_they_are_rounded() -> None:
    tariff = Tariff("t", Steps(Decimal("0.001")), Steps(Decimal("0.001")))
    assert tariff.cost(Usage(1, 0)) == 1
    assert tariff.cost(Usage(500, 500)) == 1
    assert tariff.cost(Usage(1000, 1)) == 2
