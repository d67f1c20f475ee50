"""MCP over Streamable HTTP, revisions 2025-03-26 to 2026-07-28."""
