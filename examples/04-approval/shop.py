"""The upstream of this example: an MCP server of a shop. The broker starts it."""

from mcp.server.mcpserver import MCPServer
from mcp.types import ToolAnnotations

server = MCPServer("shop", log_level="WARNING")


@server.tool(annotations=ToolAnnotations(read_only_hint=False))
def refund(order: int, cents: int) -> str:
    """Give money back for an order."""
    return f"{cents} cents are on their way back for order {order}"


server.run("stdio")
