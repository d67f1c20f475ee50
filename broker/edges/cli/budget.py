"""How much is spent? `broker budget list` reads the ledger beside the server."""

import typer

from broker.edges.cli.app import noun
from broker.edges.cli.composition import Office, configured, on_the_state
from broker.edges.cli.options import AsJson, Config
from broker.edges.cli.output import Output, dollars

app = noun("What is spent and held: list.")


@app.command("list")
def list_(ctx: typer.Context, config: Config = None, as_json: AsJson = False) -> None:
    """Every agent's spending against its cap."""
    output = Output(as_json=as_json)

    async def balances(office: Office) -> list[dict[str, object]]:
        rows: list[dict[str, object]] = []
        for agent in await office.store.agents.agents():
            balance = await office.store.ledger.balance(f"agent:{agent.id}")
            amounts = {"spent": balance.spent, "held": balance.held, "cap": agent.cap_micro_usd}
            left = None if agent.cap_micro_usd is None else agent.cap_micro_usd - balance.spent - balance.held
            rows.append({"scope": balance.scope, **amounts, "left": left})
        return rows

    rows = on_the_state(ctx, configured(config).settings, balances)
    shown = [
        {key: dollars(value) if isinstance(value, int) else value for key, value in row.items()}
        for row in rows
    ]
    exact = [
        {key if key == "scope" else f"{key}_micro_usd": value for key, value in row.items()} for row in rows
    ]
    output.rows(
        ("scope", "spent", "held", "cap", "left"), exact if as_json else shown, empty="no agents, no budgets"
    )
