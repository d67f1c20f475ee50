"""How does a client get the rest of an answer whose stream broke off? By GET, with its last event's id.

Only in 2025-11-25 (SEP-1699). What is kept is in `trails.py`; here it is handed out: to the session
that the call was made in, whose agent has a valid token still, and the response once.
"""

from typing import Final

import anyio

from broker.edges.mcp.exchange import Exchange
from broker.edges.mcp.sessions import Session
from broker.edges.mcp.stream import KEEP_ALIVE_S, RETRY_MS, EventStream, Resumable, disconnected
from broker.edges.mcp.trails import Trail, Trails
from broker.edges.mcp.wire import RESUMABLE_VERSIONS
from broker.errors import Unauthenticated
from broker.identity.interface import Authenticator
from broker.model import Principal

LAST_EVENT_ID: Final = b"last-event-id"


class Resumption:
    """Hands out what broken streams have left."""

    def __init__(self, identity: Authenticator, trails: Trails) -> None:
        self._identity = identity
        self._trails = trails

    def of(self, session: Session, principal: Principal) -> Resumable | None:
        """Where the answer to a call in this session is kept; None if its client does not know how to ask."""
        if session.version not in RESUMABLE_VERSIONS:
            return None
        return Resumable(self._trails, session.id, principal.agent.id)

    async def serve(self, exchange: Exchange, session: str, last_event_id: str) -> bool:
        """Send what comes after an event, until the response; False, and nothing, if that is unknown."""
        async with self._trails.found(session, exchange.principal.agent.id, last_event_id) as trail:
            if trail is None:
                return False
            stream = EventStream(exchange.send)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_until_disconnect, exchange, tasks.cancel_scope)
                await stream.retry_after(RETRY_MS)
                await self._send(exchange, stream, trail)
                tasks.cancel_scope.cancel()
            await stream.end()
        return True

    async def _send(self, exchange: Exchange, stream: EventStream, trail: Trail) -> None:
        goes_on = trail.follow()
        while goes_on():
            event = None
            with anyio.move_on_after(KEEP_ALIVE_S) as waited:
                event = await trail.next()
            try:
                await self._identity.authenticate(exchange.token)
            except Unauthenticated:
                return
            if waited.cancelled_caught:
                await stream.keep_alive()
            elif event is not None and goes_on():
                await stream.event(event.message, trail.id_of(event.number))
                trail.heard(event.number)
                if event.last:
                    await self._trails.delivered(trail)


async def _until_disconnect(exchange: Exchange, scope: anyio.CancelScope) -> None:
    await disconnected(exchange.receive)
    scope.cancel()
