"""What the contract tests say, in few words."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from broker.audit.interface import Entry, Event, Filter, Receipt
from broker.journal import Closing, Opening
from broker.ledger.interface import Budget, Quote, Settlement
from broker.model import Agent, AgentId, AgentStatus, MicroUSD, OrganisationId, Principal
from broker.storage.store import Store

ORG = "acme"
ALL = Filter()
NOBODY = Principal(
    Agent(AgentId("nobody"), OrganisationId(ORG), frozenset()),
    AgentId("nobody"),
    (),
    frozenset(),
    "jti",
    "txn",
    0,
)
"""A chain without actors: nobody whom a call would have to wait for leave of."""


def intent(call: str, log: str = ORG, agent: str = "researcher", **facts: Any) -> Entry:
    return Entry(log, Event.CALL_INTENT, facts, call, agent)


def outcome(call: str, cost: int = 0, log: str = ORG, agent: str = "researcher") -> Entry:
    return Entry(log, Event.CALL_OUTCOME, {"outcome": "ok", "cost": cost}, call, agent)


def denial(call: str, log: str = ORG, agent: str = "researcher", **facts: Any) -> Entry:
    return Entry(log, Event.CALL_DENIED, facts, call, agent)


def quote(amount: int, **caps: int | None) -> Quote:
    """E.g. `quote(5, researcher=100)`; without any cap it is counted for nobody."""
    budgets = tuple(
        Budget(f"agent:{name}", None if cap is None else MicroUSD(cap)) for name, cap in caps.items()
    )
    return Quote(MicroUSD(amount), "fixed", budgets)


async def open_call(store: Store, call: str, quoted: Quote, principal: Principal = NOBODY) -> Receipt:
    spend = {
        "held": quoted.amount,
        "price": quoted.price,
        "budgets": [{"scope": b.scope, "cap": b.cap} for b in quoted.budgets],
    }
    opened = await store.journal.open(Opening(call, quoted, intent(call, spend=spend), principal))
    return opened.receipt


async def close_call(store: Store, call: str, cost: int) -> Receipt:
    return await store.journal.close(Closing(call, Settlement(MicroUSD(cost)), outcome(call, cost)))


async def money(store: Store, name: str) -> tuple[int, int]:
    """What is spent and held by an agent."""
    balance = await store.ledger.balance(f"agent:{name}")
    return balance.spent, balance.held


async def events(store: Store, log: str = ORG, where: Filter = ALL) -> list[int]:
    return [record.seq async for record in records(store, log, where)]


def records(store: Store, log: str = ORG, where: Filter = ALL) -> AsyncIterator[Any]:
    return store.log.records(log, where)


def agent(name: str, **more: Any) -> Agent:
    return Agent(AgentId(name), OrganisationId(ORG), frozenset({"analyst", "writer"}), **more)


async def set_status(store: Store, name: str, status: AgentStatus) -> bool:
    return await store.journal.change_agent(
        AgentId(name),
        lambda before: replace(before, status=status),
        lambda _, after: Entry("system", Event.AGENT_CHANGED, {"by": "dana"}, agent=after.id),
    )


async def enrol(store: Store, who: Agent, digest: bytes = b"d" * 32) -> None:
    await store.journal.enrol(who, digest, Entry("system", Event.AGENT_CREATED, {"by": "dana"}, agent=who.id))
