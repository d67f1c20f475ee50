"""What is above a call, and when is a cap reached? The rows of `broker budget explain` and `forecast`."""

import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import orjson

from broker.edges.cli.composition import Office, on_the_state, policies_of
from broker.edges.cli.policy_folder import known_targets, target_of
from broker.errors import InvalidRequest, UnknownTarget
from broker.model import Agent, AgentId, Kind

if TYPE_CHECKING:
    import typer

    from broker.ledger.forecast import Forecast, Spent
    from broker.ledger.report import Above, Pace, Standing
    from broker.settings import Settings

MOST_RECORDS: Final = 100_000
"""How many of the newest records of each log a pace is made of, at most."""

_MONEY = "micro_usd"
Row = dict[str, object]


def explained(
    ctx: "typer.Context", settings: "Settings", tool: str, names: Sequence[str]
) -> tuple[list[Row], bool]:
    """Every budget and rate above a call, and whether all of them hold it.

    Args:
        ctx: of the command.
        settings: what is in force.
        tool: what is called.
        names: who calls, then who delegated to it.

    Raises:
        UnknownTarget: there is no such agent. InvalidRequest: there is no such tool.
    """
    from broker.ledger.prices import Prices
    from broker.ledger.report import above
    from broker.ledger.rules import load_budgets
    from broker.policy.question import chain_of

    folder = policies_of(settings)
    known = known_targets(settings, folder)
    if known.noted_at is not None and (Kind.TOOL, tool) not in known.by_name:
        raise InvalidRequest(f"no connector offers `{tool}`", hint="`broker tool list` shows what there is")
    target = target_of(known, folder)(Kind.TOOL, tool)
    rules = load_budgets(folder)

    async def look(office: Office) -> "tuple[list[Above], list[Pace]]":
        principal = chain_of([await _agent(office, name) for name in names])
        prices = Prices(rules)
        prices.override(await office.store.ledger.overrides())
        zone = rules.zone(principal.organisation)
        quote = prices.quote(principal, target)
        return above(quote, await office.store.ledger.balances(), time.time(), zone)

    budgets, paces = on_the_state(ctx, settings, look)
    rows = [_budget_row(one) for one in budgets] + [_rate_row(one) for one in paces]
    return rows, all(b.holds for b in budgets) and not any(p.wait_us for p in paces)


async def _agent(office: Office, name: str) -> Agent:
    agent = await office.store.agents.agent(AgentId(name))
    if agent is None:
        raise UnknownTarget(f"there is no agent `{name}`", hint="`broker agent list` shows all")
    return agent


def _budget_row(one: "Above") -> Row:
    return {
        "": "ok" if one.holds else "over",
        "scope": one.scope,
        "window": one.window,
        "unit": _MONEY if one.unit == "usd" else one.unit.value,
        "needs": one.needs,
        "spent": one.spent,
        "held": one.held,
        "cap": one.cap,
        "left": one.left,
        "turns": _when(one.turns_at),
    }


def _rate_row(one: "Pace") -> Row:
    rate = one.rate
    return {
        "": "wait" if one.wait_us else "ok",
        "scope": rate.scope,
        "window": f"one every {rate.interval_us / 1e6:g} s, {rate.burst} at once",
        "unit": "rate",
        "turns": f"in {one.wait_us / 1e6:.1f} s" if one.wait_us else None,
    }


def foreseen(ctx: "typer.Context", settings: "Settings", seconds: int) -> list[Row]:
    """Every budget with its pace over the last `seconds`, and when its cap is reached.

    Raises:
        InvalidRequest: no time at all is no pace.
    """
    from broker.ledger.forecast import forecasts
    from broker.ledger.report import standings
    from broker.ledger.rules import load_budgets

    if seconds <= 0:
        raise InvalidRequest("no time at all is no pace", hint="e.g. `--over 1h`")
    rules = load_budgets(policies_of(settings))

    async def look(office: Office) -> "list[Forecast]":
        ledger, now = office.store.ledger, time.time()
        overrides = {(o.scope, o.window, o.unit): o for o in await ledger.overrides()}
        found = [*await _own_caps(office), *standings(rules, await ledger.balances(), overrides, now)]
        spent = [one async for one in _spent(office, now - seconds)]
        return forecasts(found, spent, seconds=seconds, now=now)

    return [_forecast_row(one) for one in on_the_state(ctx, settings, look)]


async def _own_caps(office: Office) -> "list[Standing]":
    """The caps that agents have of their own."""
    from broker.ledger.interface import Unit
    from broker.ledger.report import Standing

    found: list[Standing] = []
    for agent in await office.store.agents.agents():
        if agent.cap_micro_usd is not None:
            mine = await office.store.ledger.balance(f"agent:{agent.id}")
            cap = agent.cap_micro_usd
            found.append(Standing(mine.account, "total", Unit.USD, mine.spent, mine.held, cap, "agent"))
    return found


async def _spent(office: Office, since: float) -> "AsyncIterator[Spent]":
    """What calls that ended since then cost each scope above them, once in each unit, as the logs have it."""
    from broker.audit.interface import Event, Filter
    from broker.audit.offline import charged_in, held_in
    from broker.ledger.forecast import Spent
    from broker.ledger.interface import Unit

    events = frozenset({Event.CALL_INTENT, Event.CALL_OUTCOME, Event.CALL_UNKNOWN})
    for log in await office.store.log.logs():
        begun: dict[str, dict[str, Any]] = {}
        async for record in office.store.log.records(log.name, Filter(events=events, last=MOST_RECORDS)):
            body: dict[str, Any] = orjson.loads(record.body)
            if body["type"] == Event.CALL_INTENT:
                begun[body["call"]] = body.get("spend") or {"held": 0, "budgets": []}
                continue
            spend = begun.pop(body["call"], None)
            if spend is None or _at(body) < since:
                continue
            budgets = {(b["scope"], b.get("unit", "usd")): b for b in spend["budgets"]}
            for (scope, unit), budget in budgets.items():
                yield Spent(scope, Unit(unit), charged_in(body, budget, held_in(spend, budget)))


def _at(body: dict[str, Any]) -> float:
    return datetime.fromisoformat(body["ts"]).timestamp()


def _forecast_row(one: "Forecast") -> Row:
    standing = one.standing
    if one.per_hour is None:
        reached = "no pace: fewer than 2 calls"
    elif one.reached_at is None:
        reached = f"not before it turns, {_when(standing.turns_at)}" if standing.turns_at else "never"
    else:
        reached = f"{_when(one.reached_at)}{' at the earliest' if one.earliest else ''}"
    return {
        "scope": standing.scope,
        "window": standing.window,
        "unit": _MONEY if standing.unit == "usd" else standing.unit.value,
        "left": standing.left,
        "cap": standing.cap,
        "calls": one.calls,
        "per hour": one.per_hour,
        "reached": reached,
    }


def _when(at: int | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%MZ")
