"""The upstream of this example: an MCP server with a few notes. The broker starts it."""

from mcp.server.mcpserver import MCPServer
from mcp.types import ToolAnnotations

server = MCPServer("notes", log_level="WARNING")
notes = ["invoice 17 is paid", "invoice 18 is open", "lunch is at noon"]


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def find(text: str) -> list[str]:
    """Find the notes that hold a text."""
    return [note for note in notes if text in note]


@server.tool(annotations=ToolAnnotations(read_only_hint=False))
def add(text: str) -> str:
    """Add a note."""
    notes.append(text)
    return f"note {len(notes)}"


server.run("stdio")
