"""When is each cap reached if things go on as they did? A straight line, and nothing cleverer.

The pace of a budget is what calls that ended in a stretch of time before now cost it, divided by the
length of that stretch; calls that were refused cost nothing and are not in it. At that pace what is left
is used up in `left / pace` seconds. If the window turns before, the cap is not reached. Of a rolling window
old spending stops to count meanwhile, so its cap is reached then at the earliest.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from broker.ledger.interface import Unit
from broker.ledger.report import Standing
from broker.ledger.windows import window_of

LEAST = 2
"""From so many calls on there is a pace."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What one call that has ended cost one scope, in one unit."""

    scope: str
    unit: Unit
    amount: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """One budget: how fast it is used, and when nothing is left (Unix seconds; None: not in this window).

    `per_hour` is in the unit of the budget, rounded down; None where too few calls were made to tell.
    """

    standing: Standing
    calls: int
    per_hour: int | None
    reached_at: int | None
    earliest: bool
    """It is a rolling window: not before that time."""


def forecasts(
    standings: Sequence[Standing], spent: Iterable[Spent], *, seconds: int, now: float
) -> list[Forecast]:
    """A forecast for each budget.

    Args:
        standings: the budgets as they are now.
        spent: what calls that ended in the last `seconds` cost.
        seconds: the length of the stretch of time that was looked at.
        now: Unix time in seconds.
    """
    sums: dict[tuple[str, Unit], tuple[int, int]] = {}
    for one in spent:
        calls, amount = sums.get((one.scope, one.unit), (0, 0))
        sums[one.scope, one.unit] = calls + 1, amount + one.amount
    return [
        _forecast(standing, *sums.get((standing.scope, standing.unit), (0, 0)), seconds, now)
        for standing in standings
        if standing.unit is not Unit.OPEN
    ]


def _forecast(standing: Standing, calls: int, amount: int, seconds: int, now: float) -> Forecast:
    window = window_of(standing.window)
    rolls = window is not None and window.seconds is not None
    if calls < LEAST:
        return Forecast(standing, calls, None, None, rolls)
    per_hour = amount * 3600 // seconds
    reached: int | None = None
    if standing.left <= 0:
        reached = int(now)
    elif amount:
        at = int(now) + standing.left * seconds // amount
        turns = None if rolls else standing.turns_at
        reached = at if turns is None or at < turns else None
    return Forecast(standing, calls, per_hour, reached, rolls)
