"""Which upstream asks back and knows only sessions? This one, built on the mcp package 1.x, on stdio.

It runs in the environment of `tests/requirements/mcp1.txt`, not in the broker's.
"""

from mcp.server.fastmcp import Context, FastMCP
from pydantic import BaseModel

server = FastMCP("asking", log_level="WARNING")


class Name(BaseModel):
    name: str


@server.tool()
async def greet(ctx: Context) -> str:
    """Ask the user for a name and greet."""
    answer = await ctx.elicit("What is your name?", Name)
    return f"Hello, {answer.data.name}!" if answer.action == "accept" else f"Not answered: {answer.action}"


server.run("stdio")
