"""The researcher: finds what there is on a subject and has it shortened."""

import anyio
from mcp.server.mcpserver import Context, MCPServer

from broker.client import Broker, acting_on

broker = Broker.from_env()
server = MCPServer("researcher", log_level="WARNING")


@server.tool()
async def look_up(subject: str, ctx: Context) -> str:
    """What the notes say on a subject, in few words."""
    with acting_on(ctx.request_context.meta):
        found = await broker.call("notes__find", {"text": subject})
        short = await broker.call("summariser__shorten", {"numbers": found.data["result"]})
    return short.text


async def main() -> None:
    async with broker:
        await server.run_stdio_async()


anyio.run(main)
