"""On which terms is a call permitted? Obligations as people write them, and several of them as one."""

from collections.abc import Callable, Iterable
from decimal import ROUND_FLOOR, Decimal, InvalidOperation

from broker.errors import ConfigurationError
from broker.model import MicroUSD
from broker.policy.interface import Obligations

_DEAREST_USD = 1_000_000

Mistake = Callable[[str, str], ConfigurationError]
"""Makes the error at the place of what is read, of a message and a hint."""


def read_max_cost(text: str, mistake: Mistake) -> MicroUSD:
    """US dollars as text to micro-USD, rounded down: a limit is never widened.

    Raises:
        ConfigurationError: it is no amount of money.
    """
    try:
        usd = Decimal(text)
    except InvalidOperation:
        usd = Decimal("NaN")
    if not usd.is_finite() or not 0 <= usd <= _DEAREST_USD:
        raise mistake(f"`{text}` is not an amount of money", 'write dollars, e.g. "0.05"')
    return MicroUSD(int((usd * 1_000_000).to_integral_value(ROUND_FLOOR)))


def read_paths(text: str, mistake: Mistake) -> frozenset[str]:
    """Paths in dots, several with commas between them.

    Raises:
        ConfigurationError: one has an empty part.
    """
    paths = [path.strip() for path in text.split(",")]
    if not all(part for path in paths for part in path.split(".")):
        raise mistake(f"`{text}` is not a path", "names joined by dots: `customer.email`; `*` is any name")
    return frozenset(paths)


def strictest(terms: Iterable[Obligations]) -> Obligations:
    """What keeps to all of them."""
    met = Obligations()
    for one in terms:
        costs = [cost for cost in (met.max_cost, one.max_cost) if cost is not None]
        met = Obligations(min(costs, default=None), met.redact | one.redact, met.watermark or one.watermark)
    return met
