"""What does every client do? List the tools, call one, print both as one JSON object.

    python fastmcp_client.py <url> <issuer> <tool> <arguments as JSON>

The credentials are read from BROKER_CLIENT_ID and BROKER_CLIENT_SECRET. Each of these programs runs in
an environment of its own, with the client as its makers publish it.
"""

import json
import os
import sys
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Task:
    url: str
    issuer: str
    tool: str
    arguments: dict[str, Any]
    client_id: str
    client_secret: str


def task() -> Task:
    url, issuer, tool, arguments = sys.argv[1:]
    credentials = os.environ["BROKER_CLIENT_ID"], os.environ["BROKER_CLIENT_SECRET"]
    return Task(url, issuer, tool, json.loads(arguments), *credentials)


def report(tools: list[str], text: str) -> None:
    print(json.dumps({"tools": tools, "text": text}))


class Memory:
    """Token storage of the mcp package: for the life of the process."""

    def __init__(self) -> None:
        self._tokens: Any = None
        self._client: Any = None

    async def get_tokens(self) -> Any:
        return self._tokens

    async def set_tokens(self, tokens: Any) -> None:
        self._tokens = tokens

    async def get_client_info(self) -> Any:
        return self._client

    async def set_client_info(self, client_info: Any) -> None:
        self._client = client_info
