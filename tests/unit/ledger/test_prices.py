"""Which budgets have to hold a call."""

import pytest

from broker.ledger.interface import Budget, Override, Quote, Rate, Unit
from broker.ledger.prices import Prices
from broker.ledger.rules import BudgetRule, BudgetRules, RateRule, ScopePattern
from broker.ledger.windows import window_of
from broker.model import Agent, AgentId, Grant, GrantId, Kind, MicroUSD, OrganisationId, Principal, Target


def hop(name: str, by: str, to: str, cap: int | None) -> Grant:
    return Grant(
        GrantId(name),
        None,
        OrganisationId("acme"),
        AgentId("a"),
        AgentId(by),
        AgentId(to),
        1,
        4,
        "txn",
        0,
        0,
        cap_micro_usd=None if cap is None else MicroUSD(cap),
    )


def test_every_actor_and_every_slice_above_a_call_has_to_hold_it():
    a, b, c = (
        Agent(AgentId(name), OrganisationId("acme"), frozenset(), cap_micro_usd=cap)
        for name, cap in (("a", MicroUSD(9)), ("b", None), ("c", MicroUSD(7)))
    )
    grants = (hop("g2", "b", "c", 3), hop("g1", "a", "b", None))
    principal = Principal(c, a.id, (c, b, a), frozenset(), "jti", "txn", 0, grants)
    quote = Prices().quote(principal, Target(Kind.TOOL, "t", "t", "t", {}, price=MicroUSD(2)))
    assert (quote.amount, quote.budgets) == (
        2,
        (
            Budget("agent:c", MicroUSD(7)),
            Budget("agent:b", None),
            Budget("agent:a", MicroUSD(9)),
            Budget("grant:g2", MicroUSD(3)),
        ),
    )


def a_call(*rules: BudgetRule, rates: tuple[RateRule, ...] = ()) -> Quote:
    alice = Agent(AgentId("alice"), OrganisationId("acme"), frozenset({"r1", "r2"}), team="red")
    bob = Agent(AgentId("bob"), OrganisationId("acme"), frozenset({"r2"}), team="red")
    principal = Principal(bob, alice.id, (bob, alice), frozenset(), "jti", "txn", 0)
    target = Target(Kind.TOOL, "web__get", "web", "get", {}, price=MicroUSD(2))
    return Prices(BudgetRules(rules, rates), clock=lambda: 1_800_000_000.0).quote(principal, target)


def rule(scope: str, window: str = "total", **caps: int) -> BudgetRule:
    kind, _, glob = scope.partition(":")
    found = window_of(window)
    assert found is not None
    return BudgetRule(ScopePattern(kind, glob), found, {Unit(k): v for k, v in caps.items()}, (), None, "f:1")


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("organisation:*", ["organisation:acme"]),
        ("organisation:other", []),
        ("team:red", ["team:red"]),
        ("agent:*", ["agent:bob", "agent:alice"]),
        ("agent:al*", ["agent:alice"]),
        ("role:*", ["role:r2", "role:r1"]),
        ("connector:web", ["connector:web"]),
        ("tool:web__*", ["tool:web__get"]),
        ("task:*", ["task:txn"]),
    ],
)
def test_a_rule_has_a_budget_for_everything_above_the_call_that_fits(scope: str, expected: list[str]):
    quote = a_call(rule(scope, calls=5))
    assert [b.scope for b in quote.budgets if b.unit is Unit.CALLS] == expected


def test_the_window_is_fixed_when_the_call_is_quoted():
    quote = a_call(rule("organisation:*", "day", usd=9))
    assert quote.budgets[-1].account == "organisation:acme#day:2027-01-15#usd"


def test_an_override_is_in_force_until_its_time():
    prices = Prices(BudgetRules((rule("organisation:*", "day", usd=9),)), clock=lambda: clock[0])
    clock = [1_800_000_000.0]
    prices.override([Override("organisation:acme", "day", Unit.USD, 50, 1_800_000_100, "sale", "dana")])
    target = Target(Kind.TOOL, "t", "t", "t", {})
    who = Agent(AgentId("a"), OrganisationId("acme"), frozenset())
    principal = Principal(who, who.id, (who,), frozenset(), "jti", "txn", 0)
    assert prices.quote(principal, target).budgets[-1].cap == 50
    clock[0] += 100
    assert prices.quote(principal, target).budgets[-1].cap == 9


def test_a_rate_is_kept_for_each_scope():
    quote = a_call(rates=(RateRule(ScopePattern("agent", "*"), 1000, 3, "f:1"),))
    assert quote.rates == (Rate("agent:bob", 1000, 3), Rate("agent:alice", 1000, 3))
