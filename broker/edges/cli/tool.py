"""What does an agent see? `broker tool list --as AGENT` asks the running broker as that agent."""

import typer

from broker.edges.cli.app import noun
from broker.edges.cli.composition import Office, configured, on_the_state
from broker.edges.cli.options import As, AsJson, Config, Url
from broker.edges.cli.output import Output
from broker.model import Json

app = noun("Tools, as an agent sees them.")


@app.command("list")
def list_(
    ctx: typer.Context, agent: As, url: Url = None, config: Config = None, as_json: AsJson = False
) -> None:
    """The tools that exist for an agent."""
    from broker.edges.cli.acting import acting_as

    settings = configured(config).settings

    async def listed(office: Office) -> list[Json]:
        async with acting_as(office, settings, agent, url) as client:
            return await client.tools()

    tools = on_the_state(ctx, settings, listed)
    output = Output(as_json=as_json)
    if as_json:
        output.item(tools, "")
        return
    rows = [{"tool": tool["name"], "description": _first_line(tool)} for tool in tools]
    output.rows(("tool", "description"), rows, empty=f"no role of `{agent}` permits any tool")


def _first_line(tool: Json) -> str:
    return str(tool.get("description") or "").strip().partition("\n")[0][:100]
