"""Which budgets have to hold a call."""

from broker.ledger.interface import Budget
from broker.ledger.prices import Prices
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
