"""How do the budgets stand? For people: every rule that has begun to count, and what is above one call."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo

from broker.ledger.interface import Balance, Budget, Quote, Rate, Unit
from broker.ledger.prices import Overrides
from broker.ledger.rates import wait_us
from broker.ledger.rules import BudgetRule, BudgetRules
from broker.ledger.windows import window_of
from broker.patterns import matches


@dataclass(frozen=True, slots=True)
class Standing:
    """One budget now, in its own unit: micro-USD, calls or tokens. `place` is where its rule stands."""

    scope: str
    window: str
    unit: Unit
    spent: int
    held: int
    cap: int
    place: str
    overridden: bool = False
    turns_at: int | None = None
    """When there is more room again, in Unix seconds; None: never."""

    @property
    def left(self) -> int:
        """What further calls may still cost."""
        return self.cap - self.spent - self.held


def standings(
    rules: BudgetRules, balances: Sequence[Balance], overrides: Overrides, now: float, organisation: str = ""
) -> list[Standing]:
    """Every budget of every rule in its present window: of all scopes that fit and have begun to count.

    Args:
        rules: what the operator has set.
        balances: all accounts.
        overrides: caps that an operator has overridden.
        now: Unix time in seconds.
        organisation: whose days and months count.
    """
    known = {balance.account: balance for balance in balances}
    scopes = list(dict.fromkeys(balance.account.partition("#")[0] for balance in balances))
    found: list[Standing] = []
    for rule in rules.budgets:
        window = rule.window.at(now, rules.zone(organisation))
        for scope in _scopes(rule, scopes):
            for unit, cap in rule.caps.items():
                budget = Budget(scope, cap, window, unit, rule.window.parts)
                standing = _standing(rule, budget, known, overrides, now)
                found.append(replace(standing, turns_at=rule.window.turns(now, rules.zone(organisation))))
    return found


@dataclass(frozen=True, slots=True)
class Above:
    """One budget above one call: how it stands, and what the call needs of it. Amounts in its own unit."""

    scope: str
    window: str
    """The stretch of time, as it is called in the books; `total` for ever."""
    unit: Unit
    needs: int
    spent: int
    held: int
    cap: int | None
    turns_at: int | None

    @property
    def left(self) -> int | None:
        """What calls may still cost; None where nothing is capped."""
        return None if self.cap is None else self.cap - self.spent - self.held

    @property
    def holds(self) -> bool:
        """Whether the call fits. What costs nothing always does."""
        return self.left is None or self.needs <= 0 or self.needs <= self.left


@dataclass(frozen=True, slots=True)
class Pace:
    """One rate above a call, and for how long the call has to wait for it, in microseconds."""

    rate: Rate
    wait_us: int


def above(
    quote: Quote, balances: Sequence[Balance], now: float, zone: tzinfo
) -> tuple[list[Above], list[Pace]]:
    """Everything that has to hold a call: budgets and rates.

    Args:
        quote: the worst case of the call.
        balances: all accounts.
        now: Unix time in seconds.
        zone: where the days of its organisation begin.
    """
    known = {balance.account: balance for balance in balances}
    budgets: dict[tuple[str, str, Unit], Above] = {}
    for budget in quote.budgets:
        mine = [known[account] for account in budget.accounts if account in known]
        name = budget.window.partition(":")[0] or "total"
        window = window_of(name)
        budgets[budget.scope, name, budget.unit] = Above(
            budget.scope,
            budget.window or "total",
            budget.unit,
            quote.of(budget.unit),
            sum(b.spent for b in mine),
            sum(b.held for b in mine),
            budget.cap,
            window.turns(now, zone) if window else None,
        )
    paces: list[Pace] = []
    for rate in quote.rates:
        on_time = known[rate.account].spent if rate.account in known else 0
        paces.append(Pace(rate, wait_us(rate, on_time, int(now * 1_000_000))))
    return list(budgets.values()), paces


def _scopes(rule: BudgetRule, scopes: Iterable[str]) -> list[str]:
    named = [] if "*" in rule.scope.glob else [f"{rule.scope.kind}:{rule.scope.glob}"]
    pattern = f"{rule.scope.kind}:{rule.scope.glob}"
    return list(dict.fromkeys([*named, *(scope for scope in scopes if matches(pattern, scope))]))


def _standing(
    rule: BudgetRule, budget: Budget, known: Mapping[str, Balance], overrides: Overrides, now: float
) -> Standing:
    mine = [known[account] for account in budget.accounts if account in known]
    other = overrides.get((budget.scope, rule.window.name, budget.unit))
    in_force = other is not None and now < other.until
    return Standing(
        budget.scope,
        rule.window.name,
        budget.unit,
        sum(b.spent for b in mine),
        sum(b.held for b in mine),
        other.cap if other is not None and in_force else rule.caps[budget.unit],
        rule.place,
        in_force,
    )
