"""How much is spent? `broker budget` reads the ledger beside the server, and overrides a cap for a while."""

import getpass
import time
from typing import TYPE_CHECKING, Annotated

import typer

from broker.edges.cli.app import noun
from broker.edges.cli.composition import Office, configured, on_the_state, policies_of
from broker.edges.cli.options import AsJson, Config
from broker.edges.cli.output import Output, dollars
from broker.errors import InvalidRequest

if TYPE_CHECKING:
    from broker.ledger.interface import Override, Unit
    from broker.ledger.report import Standing
    from broker.ledger.rules import BudgetRules
    from broker.settings import Settings

app = noun("What is spent and held, and caps: list, set, explain, forecast.")

Scope = Annotated[str, typer.Argument(help="<kind>:<name> as `broker budget list` shows it.")]
Window = Annotated[str, typer.Option("--window", "-w", help="The window of the budget.")]
Usd = Annotated[str | None, typer.Option("--usd", help="The other cap, in dollars.")]
Calls = Annotated[int | None, typer.Option("--calls", min=0, help="The other cap, in calls.")]
Tokens = Annotated[int | None, typer.Option("--tokens", min=0, help="The other cap, in tokens.")]
For = Annotated[str, typer.Option("--for", metavar="DURATION", help="How long, e.g. 30m, 2h or 7d.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is recorded.")]

_MONEY = "micro_usd"
REFUSED = 3
EXPLAINED = ("scope", "window", "unit", "needs", "spent", "held", "cap", "left", "turns")
FORESEEN = ("scope", "window", "unit", "left", "cap", "calls", "per hour", "reached")
COLUMNS = ("scope", "window", "unit", "spent", "held", "cap", "left", "rule")


@app.command("list")
def list_(ctx: typer.Context, config: Config = None, as_json: AsJson = False) -> None:
    """Every agent's own cap, and every budget of `policies/budgets/` in its present window."""
    settings = configured(config).settings

    async def look(office: Office) -> list[dict[str, object]]:
        return [*await _agents(office), *await _budgets(office, settings)]

    rows = on_the_state(ctx, settings, look)
    output = Output(as_json=as_json)
    shown = rows if as_json else [_readable(row) for row in rows]
    output.rows(COLUMNS, shown, empty="no agents, no budgets")


@app.command("set")
def set_(
    ctx: typer.Context,
    scope: Scope,
    *,
    reason: Reason,
    window: Window = "total",
    usd: Usd = None,
    calls: Calls = None,
    tokens: Tokens = None,
    for_: For = "1h",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Put another cap in force for one budget, for a while. Its rule stays as it is."""
    from broker.edges.cli.durations import seconds
    from broker.ledger.interface import Override
    from broker.ledger.rules import load_budgets

    settings = configured(config).settings
    unit, cap = _cap(usd, calls, tokens)
    _known(load_budgets(policies_of(settings)), scope, window, unit)
    until = int(time.time()) + seconds(for_)
    override = Override(scope, window, unit, cap, until, reason, getpass.getuser())

    async def put(office: Office) -> None:
        await office.journal.override_budget(override)

    on_the_state(ctx, settings, put)
    text = f"{scope} may use {_amount(unit, cap)} in its {window} window for {for_}"
    Output(as_json=as_json).item(_facts(override), text)


@app.command("explain")
def explain(
    ctx: typer.Context,
    tool: Annotated[str, typer.Argument(metavar="TOOL", help="A target by its exposed name.")],
    *,
    agent: Annotated[str, typer.Option("--as", metavar="AGENT", help="Who would call it.")],
    chain: Annotated[
        list[str] | None, typer.Option("--chain", metavar="AGENT", help="Who delegated, nearest first.")
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Every budget and rate above a call, and whether it holds it. Exits with 3 if one does not."""
    from broker.edges.cli.budget_outlook import explained

    rows, fits = explained(ctx, configured(config).settings, tool, [agent, *(chain or ())])
    output = Output(as_json=as_json)
    shown = rows if as_json else [_readable(row) for row in rows]
    output.rows(("", *EXPLAINED), shown, empty="nothing is above this call")
    if not fits:
        raise typer.Exit(REFUSED)


@app.command("forecast")
def forecast(
    ctx: typer.Context,
    over: Annotated[
        str, typer.Option("--over", metavar="DURATION", help="How far back calls make the pace.")
    ] = "1h",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """When each cap is reached if things go on as in the last hour: a straight line."""
    from broker.edges.cli.budget_outlook import foreseen
    from broker.edges.cli.durations import seconds

    rows = foreseen(ctx, configured(config).settings, seconds(over))
    output = Output(as_json=as_json)
    shown = rows if as_json else [_readable(row) for row in rows]
    output.rows(FORESEEN, shown, empty="no budgets")


async def _agents(office: Office) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for agent in await office.store.agents.agents():
        balance = await office.store.ledger.balance(f"agent:{agent.id}")
        left = None if agent.cap_micro_usd is None else agent.cap_micro_usd - balance.spent - balance.held
        rows.append(
            {
                "scope": balance.account,
                "window": "total",
                "unit": _MONEY,
                "spent": balance.spent,
                "held": balance.held,
                "cap": agent.cap_micro_usd,
                "left": left,
                "rule": "agent",
            }
        )
    return rows


async def _budgets(office: Office, settings: "Settings") -> list[dict[str, object]]:
    from broker.ledger.report import standings
    from broker.ledger.rules import load_budgets

    ledger = office.store.ledger
    overrides = {(o.scope, o.window, o.unit): o for o in await ledger.overrides()}
    rules = load_budgets(policies_of(settings))
    found = standings(rules, await ledger.balances(), overrides, time.time())
    return [_row(standing) for standing in found]


def _row(standing: "Standing") -> dict[str, object]:
    return {
        "scope": standing.scope,
        "window": standing.window,
        "unit": _MONEY if standing.unit == "usd" else standing.unit.value,
        "spent": standing.spent,
        "held": standing.held,
        "cap": standing.cap,
        "left": standing.left,
        "rule": f"{standing.place}{' (overridden)' if standing.overridden else ''}",
    }


def _readable(row: dict[str, object]) -> dict[str, object]:
    if row["unit"] != _MONEY:
        return row
    shown = {
        key: dollars(value) if isinstance(value, int) and key != "calls" else value
        for key, value in row.items()
    }
    return {**shown, "unit": "usd"}


def _cap(usd: str | None, calls: int | None, tokens: int | None) -> "tuple[Unit, int]":
    from broker.identity.records import micro_usd
    from broker.ledger.interface import Unit

    given = [
        (unit, value)
        for unit, value in ((Unit.USD, usd), (Unit.CALLS, calls), (Unit.TOKENS, tokens))
        if value is not None
    ]
    if len(given) != 1:
        raise InvalidRequest("one cap is set at a time", hint="give one of --usd, --calls and --tokens")
    ((unit, value),) = given
    return unit, micro_usd(value) if isinstance(value, str) else value


def _known(rules: "BudgetRules", scope: str, window: str, unit: "Unit") -> None:
    """A cap that no rule has would never be looked at: say so instead.

    Raises:
        InvalidRequest: there is no such budget.
    """
    from broker.patterns import matches

    for rule in rules.budgets:
        pattern = f"{rule.scope.kind}:{rule.scope.glob}"
        if matches(pattern, scope) and rule.window.name == window and unit in rule.caps:
            return
    raise InvalidRequest(
        f"no budget caps the {unit} of `{scope}` in the window `{window}`",
        hint="`broker budget list` shows them; `broker agent set NAME --cap` is for an agent's own cap",
    )


def _facts(override: "Override") -> dict[str, object]:
    return {
        "scope": override.scope,
        "window": override.window,
        "unit": _MONEY if override.unit == "usd" else override.unit.value,
        "cap": override.cap,
        "until": override.until,
        "reason": override.reason,
        "by": override.by,
    }


def _amount(unit: "Unit", value: int) -> str:
    return dollars(value) if unit == "usd" else f"{value} {unit}"
