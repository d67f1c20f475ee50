"""How does an operator act as an agent? With a token of one minute, signed by the state's own key."""

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from broker.edges.cli.composition import Office
from broker.edges.cli.remote.client import Client, http_session
from broker.edges.cli.remote.credentials import base_url
from broker.errors import UnknownTarget
from broker.identity.tokens import DEFAULT_SCOPES, AccessTokens
from broker.model import AgentId
from broker.settings import Settings

LIFETIME_S = 60


@asynccontextmanager
async def acting_as(
    office: Office, settings: Settings, agent_id: str, url: str | None
) -> AsyncGenerator[Client]:
    """A client of the running broker, authenticated as an agent. Every call it makes is a real call.

    Raises:
        UnknownTarget: there is no such agent.
    """
    agent = await office.store.agents.agent(AgentId(agent_id))
    if agent is None:
        raise UnknownTarget(f"there is no agent `{agent_id}`", hint="`broker agent list` shows all")
    tokens = AccessTokens(
        office.keys.tokens,
        issuer=settings.issuer,
        resource=settings.resource,
        lifetime_s=LIFETIME_S,
        clock=time.time,
    )
    token = tokens.mint(agent, DEFAULT_SCOPES).compact
    async with http_session() as http:
        yield Client(http, base_url(url or settings.public_url), token)
