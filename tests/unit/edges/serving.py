"""A real server on loopback: the authorization server, and one resource behind the guard."""

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from broker.credentials import Credentials
from broker.edges.http import HostGuard, JsonResponse, bearer, challenge
from broker.edges.oauth import routes
from broker.edges.oauth.exchange import TokenExchange
from broker.edges.oauth.revocation import Revoker
from broker.errors import Unauthenticated
from broker.grants import Delegator, Grants
from broker.identity.authenticator import TokenAuthenticator, access_tokens
from broker.identity.chains import Chains
from broker.identity.delegation import Delegations
from broker.identity.federation import Federation
from broker.identity.interface import KeySource
from broker.identity.keys import Keys, load_keys
from broker.identity.published_keys import PublishedKeys
from broker.settings import ServerSettings, Settings
from tests.unit.identity.memory import (
    ManualClock,
    MemoryAgents,
    MemoryCredentials,
    MemoryKeys,
    MemoryReplays,
    MemorySource,
    MemoryTokenLog,
)
from tests.unit.identity.memory_grants import MemoryGrants


@asynccontextmanager
async def loopback() -> AsyncGenerator[tuple[socket.socket, Settings]]:
    """A listening socket on a free port, and the settings of a broker there. Connections queue in it."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener, Settings(server=ServerSettings(port=listener.getsockname()[1]))


@asynccontextmanager
async def served(app: ASGIApp, listener: socket.socket) -> AsyncGenerator[None]:
    """Serve an application with uvicorn until the block ends."""
    config = uvicorn.Config(app, log_level="error", lifespan="off", ws="none", server_header=False)
    server = uvicorn.Server(config)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve, [listener])
        try:
            with anyio.fail_after(60):
                yield
        finally:
            server.should_exit = True


@dataclass
class Broker:
    settings: Settings
    agents: MemoryAgents
    log: MemoryTokenLog
    clock: ManualClock
    keys: Keys
    app: ASGIApp
    paths: list[str] = field(default_factory=list)
    """Paths that were asked for, in order."""

    @property
    def url(self) -> str:
        return self.settings.public_url


class Resource:
    """The least that a resource server does: challenge strangers, name the agent."""

    def __init__(self, settings: Settings, identity: TokenAuthenticator) -> None:
        self.settings = settings
        self.identity = identity

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        token = bearer(scope)
        try:
            principal = await self.identity.authenticate(token or "")
            response = JsonResponse({"agent": principal.agent.id, "token": principal.token_id})
        except Unauthenticated as error:
            told = challenge(self.settings, error if token else None)
            response = JsonResponse(error.as_object(), 401, {"www-authenticate": told})
        await response(scope, receive, send)


async def broker_for(
    settings: Settings, clock: ManualClock | None = None, source: KeySource | None = None
) -> Broker:
    clock = clock or ManualClock()
    published = PublishedKeys(source or MemorySource(), clock)
    agents, log, keys = MemoryAgents(), MemoryTokenLog(), await load_keys(MemoryKeys(), clock)
    replays = MemoryReplays()
    grants = MemoryGrants()
    identity = TokenAuthenticator(settings, keys, agents, Chains(agents, grants, clock), clock=clock)
    delegations = Delegations(access_tokens(settings, keys, clock), agents, lambda by, to: True, clock)
    exchange = TokenExchange(settings.resource, identity, Delegator(delegations, Grants(grants)))
    served_routes = [
        Route("/mcp", Resource(settings, identity)),
        *routes(
            settings,
            keys=keys,
            agents=agents,
            replays=replays,
            federation=Federation(settings.federation, Path(), settings.issuer, clock, published=published),
            published=published,
            exchange=exchange,
            log=log,
            identity=identity,
            revoker=Revoker(grants, Credentials(MemoryCredentials(agents)), Grants(grants)),
            clock=clock,
        ),
    ]
    guarded = HostGuard(Starlette(routes=served_routes), settings)
    broker = Broker(settings, agents, log, clock, keys, guarded)

    async def noting(scope: Scope, receive: Receive, send: Send) -> None:
        broker.paths.append(scope["path"])
        await guarded(scope, receive, send)

    broker.app = noting
    return broker


@asynccontextmanager
async def live_broker() -> AsyncGenerator[Broker]:
    async with loopback() as (listener, settings):
        broker = await broker_for(settings)
        async with served(broker.app, listener):
            yield broker
