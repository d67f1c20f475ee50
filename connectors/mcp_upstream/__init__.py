"""Connects any MCP server, over stdio or HTTP, in whichever protocol revision it speaks."""

from connectors.mcp_upstream.upstream import McpUpstream

__all__ = ["McpUpstream"]
