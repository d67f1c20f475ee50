"""A client under test of the conformance suite: lists the tools of the server it is given.

    python conformance_client.py broker|mcp <url>

With `broker` it is `broker.client`, with `mcp` the providers of the Python SDK. Who it is, the suite
says in MCP_CONFORMANCE_CONTEXT.
"""

import asyncio
import json
import os
import sys
from typing import Any

import httpx2
from _task import Memory
from mcp import Client
from mcp.client.auth.extensions.client_credentials import (
    ClientCredentialsOAuthProvider,
    PrivateKeyJWTOAuthProvider,
    SignedJWTParameters,
)
from mcp.client.streamable_http import streamable_http_client

from broker.client import Broker


async def with_broker_client(url: str, who: dict[str, Any]) -> None:
    credential = {"client_secret": who.get("client_secret"), "private_key": who.get("private_key_pem")}
    async with Broker(url, client_id=who["client_id"], **credential) as broker:
        await broker.tools()


async def with_sdk(url: str, who: dict[str, Any]) -> None:
    async with (
        httpx2.AsyncClient(auth=_provider(url, who)) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        await client.list_tools()


def _provider(url: str, who: dict[str, Any]) -> httpx2.Auth:
    client_id = who["client_id"]
    if "client_secret" in who:
        return ClientCredentialsOAuthProvider(url, Memory(), client_id, who["client_secret"])
    signing = SignedJWTParameters(
        issuer=client_id,
        subject=client_id,
        signing_key=who["private_key_pem"],
        signing_algorithm=who["signing_algorithm"],
    )
    return PrivateKeyJWTOAuthProvider(url, Memory(), client_id, signing.create_assertion_provider())


NOBODY = '{"client_id": "nobody", "client_secret": "none"}'
"""Who it is where the suite does not say: its scenario is about what is not done."""


if __name__ == "__main__":
    _, kind, address = sys.argv
    clients = {"broker": with_broker_client, "mcp": with_sdk}
    asyncio.run(clients[kind](address, json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or NOBODY)))
