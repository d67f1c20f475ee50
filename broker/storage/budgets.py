"""Do all budgets above a call hold its worst case? The same answer and the same sentence in every backend."""

from collections.abc import Callable

from broker.errors import Because, BudgetExceeded
from broker.ledger.interface import Balance, Quote

_MICRO = 1_000_000


def check(quote: Quote, balance_of: Callable[[str], Balance]) -> None:
    """Refuse a quote that does not fit under every cap. A call that costs nothing always fits.

    Raises:
        BudgetExceeded: some `spent + held + amount` would exceed its cap.
    """
    if quote.amount <= 0:
        return
    for budget in quote.budgets:
        if budget.cap is None:
            continue
        balance = balance_of(budget.scope)
        if balance.spent + balance.held + quote.amount > budget.cap:
            raise _exceeded(balance, budget.cap, quote.amount)


def _exceeded(balance: Balance, cap: int, amount: int) -> BudgetExceeded:
    kind, _, name = balance.scope.partition(":")
    waiting_helps = balance.spent + amount <= cap
    return BudgetExceeded(
        f"{kind} `{name}` has spent {usd(balance.spent)} and holds {usd(balance.held)} of {usd(cap)} USD;"
        f" this call may cost {usd(amount)}",
        hint="try again when calls in flight have ended"
        if waiting_helps
        else f"ask an operator to raise the cap of {kind} `{name}`",
        because=(Because(f"budget/{balance.scope}", f"a cap of {usd(cap)} USD"),),
    )


def usd(micro: int) -> str:
    """Micro-USD as US dollars, with two to six decimals."""
    whole, rest = divmod(abs(micro), _MICRO)
    decimals = f"{rest:06d}".rstrip("0").ljust(2, "0")
    return f"{'-' if micro < 0 else ''}{whole}.{decimals}"
