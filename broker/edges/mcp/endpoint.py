"""Who gets in, and which revision do they speak? The one MCP endpoint, as an ASGI application."""

import logging

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from broker.edges.admission import Admission
from broker.edges.http import TooLarge, bearer, refusal, too_large
from broker.edges.mcp.exchange import Exchange
from broker.edges.mcp.generate import Generating
from broker.edges.mcp.headers import VERSION, Fields
from broker.edges.mcp.legacy import Legacy
from broker.edges.mcp.lists import Lists
from broker.edges.mcp.modern import Modern
from broker.edges.mcp.resumption import Resumption
from broker.edges.mcp.rounds import Rounds
from broker.edges.mcp.sessions import Sealer, Sessions
from broker.edges.mcp.subscriptions import Changes, Streams
from broker.edges.mcp.switchboard import Switchboard
from broker.edges.mcp.trails import Trails
from broker.edges.mcp.wire import LEGACY_VERSIONS
from broker.errors import Unauthenticated
from broker.pipeline import Pipeline
from broker.settings import Settings
from broker.signals import Signals

logger = logging.getLogger("broker.edges.mcp")


class McpEndpoint:
    """MCP Streamable HTTP, revisions 2025-03-26 to 2026-07-28. Any process serves any request.

    Args:
        pipeline: judges and makes every call.
        changes: tells about updates of resources (the catalogue).
        signals: connects the processes of this deployment.
        sealer: seals session ids and the state of questions.
        settings: the endpoint's own address and limits.
        admission: lets in whoever shows a valid token.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        changes: Changes,
        signals: Signals,
        sealer: Sealer,
        settings: Settings,
        *,
        admission: Admission,
    ) -> None:
        self._admission = admission
        self._resource = settings.resource
        trails = Trails(signals)
        self._switchboard = Switchboard(signals, trails)
        generating = Generating(pipeline)
        lists = Lists(pipeline, generating)
        streams = Streams(pipeline, changes, self._switchboard)
        self._modern = Modern(
            pipeline=pipeline,
            lists=lists,
            rounds=Rounds(sealer),
            streams=streams,
            generating=generating,
            limits=settings.limits,
        )
        sessions = Sessions(sealer, self._switchboard)
        self._legacy = Legacy(
            pipeline=pipeline,
            lists=lists,
            generating=generating,
            sessions=sessions,
            streams=streams,
            resumption=Resumption(pipeline.identity, trails),
            switchboard=self._switchboard,
            limits=settings.limits,
        )

    async def run(self) -> None:
        """Hear what changes and what other processes say, until cancelled. Streams are silent without it."""
        await self._switchboard.run()

    def close(self) -> None:
        """End all open streams in good order, so that the server can stop."""
        self._switchboard.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check the token before anything is read, then serve the revision that the client speaks."""
        token = bearer(scope)
        try:
            admitted = await self._admission.admit(scope, self._resource, token)
            exchange = Exchange(scope, receive, send, Fields(scope["headers"]), *admitted)
            version = exchange.fields.get(VERSION)
            era = self._legacy if version is None or version in LEGACY_VERSIONS else self._modern
            await era.serve(exchange)
        except Unauthenticated as error:
            told = self._admission.challenge(scope, error, presented=token is not None)
            await refusal(401, error, {"www-authenticate": told})(scope, receive, send)
        except TooLarge as error:
            await too_large(error)(scope, receive, send)
        except ClientDisconnect:
            logger.debug("a client went away before its request was complete")
