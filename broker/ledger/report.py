"""How do the budgets stand? For people: every rule that has begun to count, and what is above one call."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from broker.ledger.interface import Balance, Budget, Unit
from broker.ledger.prices import Overrides
from broker.ledger.rules import BudgetRule, BudgetRules
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
                found.append(_standing(rule, budget, known, overrides, now))
    return found


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
