"""The upstream of this example: an MCP server with a few notes. The broker starts it."""

from mcp.server.mcpserver import MCPServer
from mcp.types import ToolAnnotations

server = MCPServer("notes", log_level="WARNING")
notes = [
    "invoice 17: paid by Ada on Monday, after two reminders",
    "invoice 18: open since March, Bob wants a discount",
    "lunch: at noon",
]


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def find(text: str) -> list[int]:
    """The numbers of the notes that hold a text."""
    return [number for number, note in enumerate(notes) if text in note]


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def read(number: int) -> str:
    """One note."""
    return notes[number]


@server.tool(annotations=ToolAnnotations(read_only_hint=False))
def add(text: str) -> str:
    """Add a note."""
    notes.append(text)
    return f"note {len(notes) - 1}"


server.run("stdio")
