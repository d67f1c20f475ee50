"""Do all budgets above a call hold its worst case? The same answer and the same sentence in every backend."""

from collections.abc import Callable
from typing import NamedTuple

from broker.errors import Because, BudgetExceeded, RateLimited
from broker.ledger.interface import Balance, Budget, Notice, Quote, Rate, Unit
from broker.ledger.rates import wait_us

_MICRO = 1_000_000
_ALL = 100
SLOWEST_MS = 5_000
"""How long a call waits before a budget that is all but used up, in milliseconds."""


class Use(NamedTuple):
    """How much of a cap is spent and held."""

    spent: int
    held: int


def used(budget: Budget, balance_of: Callable[[str], Balance]) -> int:
    """What of a budget is spent and held together in its window."""
    accounts = budget.accounts
    if len(accounts) == 1:
        _, spent, held = balance_of(accounts[0])
        return spent + held
    return sum([balance.spent + balance.held for balance in map(balance_of, accounts)])


def use_of(budget: Budget, balance_of: Callable[[str], Balance]) -> Use:
    """What of a budget is spent and held in its window, apart."""
    balances = [balance_of(account) for account in budget.accounts]
    return Use(sum(balance.spent for balance in balances), sum(balance.held for balance in balances))


def check(quote: Quote, balance_of: Callable[[str], Balance], now: int) -> None:
    """Refuse a quote that does not fit under every cap. What a call does not cost always fits; `now` is in
    Unix microseconds.

    Raises:
        BudgetExceeded: some `spent + held + amount` would exceed its cap.
    """
    for budget in quote.budgets:
        amount = quote.of(budget.unit)
        if budget.cap is None or amount <= 0:
            continue
        if used(budget, balance_of) + amount > budget.cap:
            raise _exceeded(budget, budget.cap, use_of(budget, balance_of), amount, now)


def check_rates(quote: Quote, on_time: Callable[[str], int], now: int) -> None:
    """Refuse a call that comes too soon; `now` and what `on_time` says are Unix microseconds.

    Raises:
        RateLimited: a rate does not let it through yet.
    """
    for rate in quote.rates:
        wait = wait_us(rate, on_time(rate.account), now)
        if wait:
            raise _too_soon(rate, wait)


def notice(budget: Budget, used: int) -> Notice | None:
    """What is to be said of a budget of which so much is used; None below its lowest threshold."""
    if not budget.cap:
        return None
    percent = used * _ALL // budget.cap
    slow_from = budget.slow_from
    slow = slow_from is not None and percent >= slow_from
    if not slow and not (budget.warn and percent >= budget.warn[0]):
        return None
    wait = 0
    if slow_from is not None and slow:
        beyond, room = used * _ALL - slow_from * budget.cap, budget.cap * (_ALL - slow_from)
        wait = min(SLOWEST_MS, SLOWEST_MS * beyond // room)
    return Notice(budget.scope, budget.window, budget.unit, percent, wait)


def level(budget: Budget, used: int) -> int:
    """The highest of a budget's warning percentages that is reached; 0 below all."""
    if not budget.cap:
        return 0
    return max((w for w in budget.warn if used * _ALL >= w * budget.cap), default=0)


def _exceeded(budget: Budget, cap: int, use: Use, amount: int, now: int) -> BudgetExceeded:
    kind, _, name = budget.scope.partition(":")
    during = f" in this {budget.window.partition(':')[0]}" if budget.window else ""
    waiting_helps = use.spent + amount <= cap
    again: int | None = None
    if waiting_helps:
        again = 1
        hint = "try again when calls in flight have ended"
    elif budget.window:
        again = None if budget.turns is None else max(1, budget.turns - now // _MICRO)
        hint = f"wait for the next window, or ask an operator to raise the cap of {kind} `{name}`"
    else:
        hint = f"ask an operator to raise the cap of {kind} `{name}`"
    say, noun = _say(budget.unit), _noun(budget.unit)
    return BudgetExceeded(
        f"{kind} `{name}` has spent {say(use.spent)} and holds {say(use.held)} of {say(cap)} {noun}{during};"
        f" this call may cost {say(amount)}",
        hint=hint,
        retry_after_s=again,
        because=(Because(f"budget/{budget.account}", f"a cap of {say(cap)} {noun}"),),
    )


def _too_soon(rate: Rate, wait: int) -> RateLimited:
    kind, _, name = rate.scope.partition(":")
    seconds = -(-wait // _MICRO)
    said = f"one call every {rate.interval_us / _MICRO:g} s, {rate.burst} at once"
    return RateLimited(
        f"{kind} `{name}` makes calls faster than it may",
        hint=f"wait {seconds} s and call again",
        because=(Because(f"rate/{rate.scope}", said),),
        retry_after_s=seconds,
    )


def _say(unit: Unit) -> Callable[[int], str]:
    return usd if unit is Unit.USD else str


def _noun(unit: Unit) -> str:
    match unit:
        case Unit.USD:
            return "USD"
        case Unit.OPEN:
            return "calls at a time"
        case _:
            return unit.value


def usd(micro: int) -> str:
    """Micro-USD as US dollars, with two to six decimals."""
    whole, rest = divmod(abs(micro), _MICRO)
    decimals = f"{rest:06d}".rstrip("0").ljust(2, "0")
    return f"{'-' if micro < 0 else ''}{whole}.{decimals}"
