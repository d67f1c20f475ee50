"""What may one call cost, and which budgets and rates have to hold it? The books are the store's."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import tzinfo

from broker.ledger.bounds import bound_of, tier_of
from broker.ledger.interface import Budget, LedgerReader, Override, Quote, Rate, Unit
from broker.ledger.rules import BudgetRule, BudgetRules
from broker.ledger.tables import PriceRule, Tables
from broker.model import Clock, Json, Kind, Method, MicroUSD, Principal, Target

Overrides = Mapping[tuple[str, str, Unit], Override]

_MOST_TURNS = 1000

COUNTING = "free: tokens are counted, none is written"


class Prices:
    """Prices of tools: a fixed amount per call, from the catalogue. Prices of models: by their tokens.

    Args:
        rules: what the operator has set.
        clock: says in which window a call pays.
        tables: what the operator says of the prices of models.
        ledger: says what budgets still hold; without it nothing is shrunk to fit.
        digest: keyed hash of an address, as which it stands in the books; None: addresses are not told apart.
    """

    def __init__(
        self,
        rules: BudgetRules | None = None,
        clock: Clock = time.time,
        *,
        tables: tuple[PriceRule, ...] = (),
        ledger: LedgerReader | None = None,
        digest: Callable[[bytes], str] | None = None,
    ) -> None:
        self._digest = digest
        self._rules = rules or BudgetRules()
        self._tables = Tables(tables, clock)
        self._ledger = ledger
        self._overrides: Overrides = {}
        self._clock = clock
        self._turns: dict[tuple[str, tzinfo, str], int | None] = {}

    @property
    def rules(self) -> BudgetRules:
        """What is in force."""
        return self._rules

    def adopt(self, rules: BudgetRules, tables: tuple[PriceRule, ...] = ()) -> None:
        """Put other rules in force. What is spent stays spent where a budget keeps its scope and window."""
        self._rules = rules
        self._tables.adopt(tables)

    def override(self, overrides: Iterable[Override]) -> None:
        """Take note of what operators have overridden."""
        self._overrides = {(o.scope, o.window, o.unit): o for o in overrides}

    def quote(
        self,
        principal: Principal,
        target: Target,
        method: Method = Method.CALL_TOOL,
        params: Json | None = None,
        address: str = "",
    ) -> Quote:
        """The worst case of a call and every budget above it: each actor's, and each slice handed on.

        Args:
            principal: who calls.
            target: what is called.
            method: how.
            params: what is asked of a model.
            address: where the call came from; "" where that is unknown.

        Raises:
            Denied: nobody knows what the model costs. InvalidRequest: what is asked of it cannot be governed.
        """
        budgets, rates = self._above(principal, target, address)
        if target.kind is not Kind.MODEL:
            return Quote(target.price, target.price_source, budgets, rates=rates)
        if method is Method.COUNT:
            return Quote(MicroUSD(0), COUNTING, budgets, rates=rates)
        request = params or {}
        tariff = self._tables.tariff(target, tier_of(request))
        bound = bound_of(method, request, target, tariff)
        return Quote(tariff.most(bound), tariff.source, budgets, bound.tokens, rates, tariff, bound)

    async def fit(self, quote: Quote, least: int) -> Quote:
        """The quote of a model, with as many tokens for each answer as all budgets still hold.

        Unchanged where it fits as it is, and where fewer than `least` would be left.

        Raises:
            StorageUnavailable: the books cannot be read.
        """
        if self._ledger is None or quote.tariff is None or quote.bound is None:
            return quote
        bound = quote.bound
        wrote = bound.wrote
        for budget in quote.budgets:
            if budget.cap is None or budget.unit not in (Unit.USD, Unit.TOKENS):
                continue
            balances = [await self._ledger.balance(account) for account in budget.accounts]
            room = budget.cap - sum(b.spent + b.held for b in balances)
            if budget.unit is Unit.USD:
                wrote = min(wrote, quote.tariff.affordable(bound, room))
            else:
                wrote = min(wrote, (room - bound.read) // bound.answers)
        if wrote == bound.wrote or wrote < least:
            return quote
        bound = replace(bound, wrote=wrote)
        return replace(quote, amount=quote.tariff.most(bound), tokens=bound.tokens, bound=bound)

    def _above(
        self, principal: Principal, target: Target, address: str
    ) -> tuple[tuple[Budget, ...], tuple[Rate, ...]]:
        budgets = [Budget(f"agent:{actor.id}", actor.cap_micro_usd) for actor in principal.actors]
        budgets += [
            Budget(f"grant:{grant.id}", grant.cap_micro_usd)
            for grant in principal.grants
            if grant.cap_micro_usd is not None
        ]
        rates: list[Rate] = []
        if self._rules.budgets or self._rules.rates:
            names = scopes(principal, target, self._known_as(address))
            now, zone = self._clock(), self._rules.zone(principal.organisation)
            for rule in self._rules.budgets:
                window = rule.window.at(now, zone)
                turns = self._turn(rule, window, now, zone)
                budgets += [
                    b for scope in rule.scope.of(names) for b in self._budgets(rule, scope, window, turns)
                ]
            for rate in self._rules.rates:
                rates += [Rate(scope, rate.interval_us, rate.burst) for scope in rate.scope.of(names)]
        return tuple(budgets), tuple(rates)

    def _known_as(self, address: str) -> str:
        """An address as it stands in the books, if any rule is about addresses; else ""."""
        if self._digest is None or not address or not self._rules.by_address:
            return ""
        return self._digest(address.encode())[:16]

    def _turn(self, rule: BudgetRule, window: str, now: float, zone: tzinfo) -> int | None:
        """When a window ends; worked out once for each, for that takes longer than all the rest."""
        key = rule.window.name, zone, window
        if key not in self._turns:
            if len(self._turns) >= _MOST_TURNS:
                self._turns.clear()
            self._turns[key] = rule.window.turns(now, zone)
        return self._turns[key]

    def _budgets(self, rule: BudgetRule, scope: str, window: str, turns: int | None) -> Iterable[Budget]:
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
                turns,
            )


def scopes(principal: Principal, target: Target, address: str = "") -> Mapping[str, Collection[str]]:
    """The names above a call, by kind of scope: of the chain, the target, the task and the address."""
    actors = principal.actors
    return {
        "organisation": (principal.organisation,),
        "team": {actor.team: None for actor in actors if actor.team}.keys(),
        "agent": {actor.id: None for actor in actors}.keys(),
        "role": {role: None for actor in actors for role in sorted(actor.roles)}.keys(),
        "connector": (target.connector,),
        "tool": () if target.kind is Kind.MODEL else (target.name,),
        "model": (target.name,) if target.kind is Kind.MODEL else (),
        "task": (principal.transaction,),
        "address": (address,) if address else (),
    }
