"""A whole broker on loopback, in this process, for tests of what speaks to it."""

import socket
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from broker.app import App, running
from broker.audit.interface import Filter
from broker.connector import Upstream
from broker.identity.clients import digest, new_secret
from broker.identity.jwks import read_key
from broker.model import Agent, AgentId, AgentStatus, MicroUSD, OrganisationId
from broker.settings import ConnectorSettings, FederationSettings, LimitSettings, ServerSettings, Settings
from broker.testing import _installed
from tests.unit.edges.serving import served


@dataclass(frozen=True)
class Living:
    """A broker that serves. `requests` are the paths that were asked for, in order."""

    app: App
    url: str
    requests: list[str]

    async def enrol(self, name: str, *roles: str, cap: int | None = None) -> str:
        """An agent of the organisation `test`; gives its secret."""
        secret = new_secret()
        agent = Agent(
            AgentId(name),
            OrganisationId("test"),
            frozenset(roles or ("operator",)),
            cap_micro_usd=None if cap is None else MicroUSD(cap),
            created_at=int(time.time()),
        )
        await self.app.journal.enrol(agent, digest(secret), by="test")
        return secret

    async def register(self, name: str, jwk: dict[str, Any]) -> None:
        """Let an agent sign with a key."""
        await self.app.credentials.add_key(AgentId(name), read_key(jwk).stored(int(time.time())), by="test")

    async def suspend(self, name: str) -> None:
        await self.app.journal.set_status(AgentId(name), AgentStatus.SUSPENDED, by="test", reason="test")

    async def records(self, event: str) -> list[dict[str, Any]]:
        """All records of one type in the log of `test`."""
        bodies = [orjson.loads(r.body) async for r in self.app.store.log.records("test", Filter())]
        return [body for body in bodies if body["type"] == event]


@asynccontextmanager
async def living(
    connector: Upstream, *, stream_after_s: float = 15.0, federation: FederationSettings | None = None
) -> AsyncGenerator[Living]:
    """A broker with one connector, mounted as `kit`, and two roles: `operator` and `lead`, who delegates.

    Args:
        connector: what its agents can use.
        stream_after_s: when the answer to a call becomes a stream.
        federation: an issuer whose tokens authenticate agents.
    """
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as listener:
        roles = Path(folder) / "policies" / "roles"
        roles.mkdir(parents=True)
        (roles / "operator.yaml").write_text('role: operator\nallow: [{tools: ["*"]}]\n')
        (roles / "lead.yaml").write_text('role: lead\nallow: [{tools: ["*"]}]\nmay_delegate_to: ["*"]\n')
        settings = Settings(
            state_dir=Path(folder) / "state",
            policies_dir=roles.parent,
            server=ServerSettings(port=listener.getsockname()[1]),
            limits=LimitSettings(json_answer_within_s=stream_after_s),
            federation={"platform": federation} if federation else {},
            connectors={"kit": ConnectorSettings(use="kit")},
        )
        requests: list[str] = []
        with _installed("kit", connector):
            async with running(settings) as app:

                async def noting(scope, receive, send):
                    requests.append(scope["path"])
                    await app.asgi(scope, receive, send)

                async with served(noting, listener):
                    yield Living(app, settings.public_url, requests)
