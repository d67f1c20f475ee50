"""The planner: takes a question apart and gives the work to others."""

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError

from broker.client import Broker, Refused, acting_on

broker = Broker.from_env()
server = MCPServer("planner", log_level="WARNING")


@server.tool()
async def report(subject: str, ctx: Context) -> str:
    """A short report on a subject."""
    with acting_on(ctx.request_context.meta):
        try:
            found = await broker.call("researcher__look_up", {"subject": subject})
        except Refused as refusal:
            raise ToolError(f"no report: {refusal.message}") from refusal
    return f"Report on {subject}\n{found.text}"


async def main() -> None:
    async with broker:
        await server.run_stdio_async()


anyio.run(main)
