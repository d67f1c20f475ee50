"""What may one call cost, and which budgets and rates have to hold it? Pure: the books are the store's."""

import time
from collections.abc import Collection, Iterable, Mapping

from broker.ledger.interface import Budget, Override, Quote, Rate, Unit
from broker.ledger.rules import BudgetRule, BudgetRules
from broker.model import Clock, Principal, Target

Overrides = Mapping[tuple[str, str, Unit], Override]


class Prices:
    """Prices of tools: a fixed amount per call, from the catalogue.

    Args:
        rules: what the operator has set.
        clock: says in which window a call pays.
    """

    def __init__(self, rules: BudgetRules | None = None, clock: Clock = time.time) -> None:
        self._rules = rules or BudgetRules()
        self._overrides: Overrides = {}
        self._clock = clock

    @property
    def rules(self) -> BudgetRules:
        """What is in force."""
        return self._rules

    def adopt(self, rules: BudgetRules) -> None:
        """Put other rules in force. What is spent stays spent where a budget keeps its scope and window."""
        self._rules = rules

    def override(self, overrides: Iterable[Override]) -> None:
        """Take note of what operators have overridden."""
        self._overrides = {(o.scope, o.window, o.unit): o for o in overrides}

    def quote(self, principal: Principal, target: Target) -> Quote:
        """The worst case of a call and every budget above it: each actor's, and each slice handed on."""
        budgets = [Budget(f"agent:{actor.id}", actor.cap_micro_usd) for actor in principal.actors]
        budgets += [
            Budget(f"grant:{grant.id}", grant.cap_micro_usd)
            for grant in principal.grants
            if grant.cap_micro_usd is not None
        ]
        rates: list[Rate] = []
        if self._rules.budgets or self._rules.rates:
            names = scopes(principal, target)
            now, zone = self._clock(), self._rules.zone(principal.organisation)
            for rule in self._rules.budgets:
                window = rule.window.at(now, zone)
                budgets += [b for scope in rule.scope.of(names) for b in self._budgets(rule, scope, window)]
            for rate in self._rules.rates:
                rates += [Rate(scope, rate.interval_us, rate.burst) for scope in rate.scope.of(names)]
        return Quote(target.price, target.price_source, tuple(budgets), rates=tuple(rates))

    def _budgets(self, rule: BudgetRule, scope: str, window: str) -> Iterable[Budget]:
        for unit, cap in rule.caps.items():
            other = self._overrides.get((scope, rule.window.name, unit))
            in_force = other is not None and self._clock() < other.until
            yield Budget(
                scope,
                other.cap if other is not None and in_force else cap,
                window,
                unit,
                rule.window.parts,
                rule.warn,
                rule.slow_from,
            )


def scopes(principal: Principal, target: Target) -> Mapping[str, Collection[str]]:
    """The names above a call, by kind of scope: of everybody in the chain, of the target and of the task."""
    actors = principal.actors
    return {
        "organisation": (principal.organisation,),
        "team": {actor.team: None for actor in actors if actor.team}.keys(),
        "agent": {actor.id: None for actor in actors}.keys(),
        "role": {role: None for actor in actors for role in sorted(actor.roles)}.keys(),
        "connector": (target.connector,),
        "tool": (target.name,),
        "task": (principal.transaction,),
    }
