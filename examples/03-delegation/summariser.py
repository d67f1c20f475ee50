"""The summariser: shortens notes. It would keep what it wrote, but only where everybody above it might."""

import anyio
from mcp.server.mcpserver import Context, MCPServer

from broker.client import Broker, Refused, acting_on

broker = Broker.from_env()
server = MCPServer("summariser", log_level="WARNING")


@server.tool()
async def shorten(numbers: list[int], ctx: Context) -> str:
    """The gist of some notes, one a line."""
    with acting_on(ctx.request_context.meta):
        notes = [await broker.call("notes__read", {"number": number}) for number in numbers]
        gist = "\n".join(f"- {note.text.partition(',')[0]}" for note in notes)
        try:
            await broker.call("notes__add", {"text": gist})
        except Refused as refusal:
            return f"{gist}\n(not kept: {refusal.message})"
    return gist


async def main() -> None:
    async with broker:
        await server.run_stdio_async()


anyio.run(main)
