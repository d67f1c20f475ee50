"""Which bytes are sent? The requests of every cell, as templates that the load client fills in."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

MARK = "@@@@@@@@"
"""Replaced by the eight-digit number of the call, so that no two calls are the same."""

REVISION = "2026-07-28"

SENTENCES = (
    "The quarterly review of the northern depot found that deliveries arrive on time in most weeks. "
    "Two routes were late because a bridge was closed, and one because the driver waited for papers. "
    "The team suggests moving the early shift to half past five and keeping a spare van at the depot. "
    "Costs would rise slightly, while the number of complaints should fall by about a third. "
)


@dataclass(frozen=True)
class Template:
    """One kind of request. `expect` must be in every answer, besides the number of the call."""

    path: str
    headers: dict[str, str]
    body: str
    expect: str
    echoes: bool = True

    def as_job(self, port: int, calls: int, concurrency: int) -> dict[str, Any]:
        return {
            "port": port,
            "path": self.path,
            "headers": self.headers,
            "body": self.body,
            "expect": self.expect,
            "echoes": self.echoes,
            "calls": calls,
            "concurrency": concurrency,
        }


def call_tool(name: str, *, size: int = 1024, token: str | None = None) -> Template:
    """A `tools/call` of the current revision whose one argument is `size` bytes of prose."""
    text = f"Note {MARK}: " + SENTENCES * (size // len(SENTENCES) + 1)
    params = {"name": name, "arguments": {"text": text[:size]}}
    return _request("tools/call", params, token, expect='"isError":false', name=name)


def list_tools(last: str, *, token: str | None = None) -> Template:
    """A `tools/list` whose one answer has to hold all tools, up to the one named `last`."""
    return _request("tools/list", {}, token, expect=f'"{last}"')


def token_request(client_id: str, secret: str, resource: str) -> Template:
    """RFC 6749 §4.4 with client_secret_post and RFC 8707 `resource`."""
    form = {
        "grant_type": "client_credentials",
        "client_id": client_id,
        "client_secret": secret,
        "resource": resource,
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    return Template("/oauth/token", headers, urlencode(form), expect='"access_token"', echoes=False)


def _request(
    method: str, params: dict[str, Any], token: str | None, *, expect: str, name: str | None = None
) -> Template:
    meta = {
        "io.modelcontextprotocol/protocolVersion": REVISION,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "benchmark", "version": "1"},
    }
    message = {"jsonrpc": "2.0", "id": MARK, "method": method, "params": {**params, "_meta": meta}}
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": REVISION,
        "Mcp-Method": method,
    }
    if name:
        headers["Mcp-Name"] = name
    if token:
        headers["Authorization"] = f"Bearer {token}"
    return Template("/mcp", headers, json.dumps(message), expect)
