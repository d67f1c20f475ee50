"""Who hears of changes? Streams that stay open: `subscriptions/listen`, and before 2026-07-28 the GET stream.

A stream speaks for one token, and for the delegation that it was asked for with. Before everything it
says it asks again who that is, and ends when that is nobody any more; of single resources it tells only
while the whole chain may see them.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, cast

import anyio

from broker.edges.mcp.delegated import delegation_in, fallen
from broker.edges.mcp.exchange import Exchange
from broker.edges.mcp.results import complete
from broker.edges.mcp.stream import KEEP_ALIVE_S, EventStream, disconnected
from broker.edges.mcp.switchboard import LIST_CHANGED, Feed, Push, Switchboard
from broker.edges.mcp.wire import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    META_SUBSCRIPTION,
    Rejected,
    RequestId,
    encode_notification,
    encode_result,
)
from broker.errors import Denied, Unauthenticated
from broker.model import Json, Principal, Target
from broker.pipeline import Pipeline

logger = logging.getLogger("broker.edges.mcp")

MOST_URIS: Final = 1000
RETRY_MS: Final = 1000
WATCH_WITHIN_S: Final = 10.0

_WANTED: Final = {
    "toolsListChanged": LIST_CHANGED["tool"],
    "promptsListChanged": LIST_CHANGED["prompt"],
    "resourcesListChanged": LIST_CHANGED["resource"],
}


class Changes(Protocol):
    """What the catalogue does for those who want to hear of updates of single resources."""

    def find_resource(self, uri: str) -> Target | None:
        """The resource with this URI, or the template that it comes from; whoever asks."""
        ...

    async def watch(self, target: Target, uri: str, *, on: bool) -> None:
        """Begin or stop to hear of changes of a resource; they arrive as signals `resource-updated`."""
        ...


class Watches:
    """Watches each resource once, however many streams want to hear of it."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._listeners: dict[str, int] = {}

    async def add(self, target: Target, uri: str) -> None:
        """One more stream listens."""
        self._listeners[uri] = self._listeners.get(uri, 0) + 1
        if self._listeners[uri] == 1:
            await self._watch(target, uri, on=True)

    async def drop(self, target: Target, uri: str) -> None:
        """One stream less listens."""
        self._listeners[uri] -= 1
        if not self._listeners[uri]:
            del self._listeners[uri]
            await self._watch(target, uri, on=False)

    async def _watch(self, target: Target, uri: str, *, on: bool) -> None:
        try:
            with anyio.move_on_after(WATCH_WITHIN_S):
                await self._changes.watch(target, uri, on=on)
        except Exception:
            # A connector's own failure: the stream goes on without news of this resource.
            logger.exception("connector %s could not watch a resource", target.connector)


@dataclass(slots=True)
class _Open:
    """One stream at work: what it has to say, to whom, and what it watches."""

    exchange: Exchange
    feed: Feed
    frame: Callable[[Push], bytes]
    stream: EventStream
    principal: Principal
    delegation: str | None = None
    watched: dict[str, Target] = field(default_factory=dict[str, Target])


class Streams:
    """Serves all streams of this process."""

    def __init__(self, pipeline: Pipeline, changes: Changes, switchboard: Switchboard) -> None:
        self._pipeline = pipeline
        self._changes = changes
        self._watches = Watches(changes)
        self._switchboard = switchboard

    async def listen(self, exchange: Exchange, identity: RequestId, params: Json) -> None:
        """`subscriptions/listen`: acknowledge, tell what was asked for, end with a result (MCP 2026-07-28).

        Raises:
            Rejected: the filter has no shape, the delegation does not stand, or too many streams are open.
        """
        delegation = delegation_in(params)
        try:
            principal = await self._pipeline.speaker(exchange.token, delegation)
        except Denied as error:
            raise fallen(error) from error
        honoured = _honoured(params.get("notifications"))
        meta = {META_SUBSCRIPTION: identity}
        wanted = [method for key, method in _WANTED.items() if key in honoured]
        owner = exchange.principal.agent.id
        feed = Feed(wanted, set(honoured.get("resourceSubscriptions", ())), owner)
        acknowledged = {"notifications": honoured, "_meta": meta}
        stream = EventStream(exchange.send)
        work = _Open(exchange, feed, lambda push: _frame(push, meta), stream, principal, delegation)
        if await self._serve(
            work, encode_notification("notifications/subscriptions/acknowledged", acknowledged)
        ):
            await stream.event(encode_result(identity, complete({"_meta": meta})))
        await stream.end()

    async def push(self, exchange: Exchange, session: str, uris: set[str]) -> None:
        """The GET stream of a session: all changed lists, and updates of the resources it subscribed to.

        Raises:
            Rejected: too many streams are open.
        """
        feed = Feed(LIST_CHANGED.values(), set(uris), exchange.principal.agent.id, session)
        stream = EventStream(exchange.send)
        work = _Open(exchange, feed, lambda push: _frame(push, None), stream, exchange.principal)
        await self._serve(work, None)
        await work.stream.end()

    def target(self, principal: Principal, uri: str) -> Target | None:
        """The resource behind a URI, if it exists for this principal."""
        target = self._changes.find_resource(uri)
        return target if target is not None and self._pipeline.policy.sees(principal, target) else None

    async def _serve(self, work: _Open, first: bytes | None) -> bool:
        """Tell news until the stream is ended from here (True), by the client, or with its token (False)."""
        if not self._switchboard.has_room_for(work.feed.owner):
            raise Rejected(INTERNAL_ERROR, "too many streams are open: try again later", http=503)
        in_order = False
        try:
            with self._switchboard.attached(work.feed):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._until_disconnect, work.exchange, tasks.cancel_scope)
                    if first is not None:
                        await work.stream.event(first)
                    else:
                        await work.stream.retry_after(RETRY_MS)
                    in_order = await self._tell(work)
                    tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                for uri, target in work.watched.items():
                    await self._watches.drop(target, uri)
        return in_order

    async def _tell(self, work: _Open) -> bool:
        while not work.feed.ended:
            await self._watch(work)
            push, quiet = None, True
            with anyio.move_on_after(KEEP_ALIVE_S):
                push, quiet = await work.feed.next(), False
            try:
                work.principal = await self._pipeline.speaker(work.exchange.token, work.delegation)
            except (Unauthenticated, Denied):
                return False
            if quiet:
                await work.stream.keep_alive()
            elif push is not None and self._may_hear(work.principal, push):
                await work.stream.event(work.frame(push))
        return True

    def _may_hear(self, principal: Principal, push: Push) -> bool:
        uri = push[1]
        return uri is None or self.target(principal, uri) is not None

    async def _watch(self, work: _Open) -> None:
        """Watch what this stream wants to hear of and may see; stop where it no longer wants to."""
        for uri in work.feed.uris - work.watched.keys():
            if (target := self.target(work.principal, uri)) is not None:
                work.watched[uri] = target
                await self._watches.add(target, uri)
        for uri in work.watched.keys() - work.feed.uris:
            await self._watches.drop(work.watched.pop(uri), uri)

    async def _until_disconnect(self, exchange: Exchange, scope: anyio.CancelScope) -> None:
        await disconnected(exchange.receive)
        scope.cancel()


def _honoured(wanted: Any) -> Json:
    """What of a filter will be honoured. A URI that names nothing for this caller never fires."""
    if not isinstance(wanted, dict):
        raise Rejected(INVALID_PARAMS, "`notifications` has to be an object")
    asked = cast("Json", wanted)
    honoured: Json = {key: True for key in _WANTED if asked.get(key) is True}
    uris = asked.get("resourceSubscriptions")
    if uris is None:
        return honoured
    if not isinstance(uris, list) or not all(isinstance(uri, str) for uri in cast("list[Any]", uris)):
        raise Rejected(INVALID_PARAMS, "`resourceSubscriptions` is a list of URIs")
    if len(cast("list[Any]", uris)) > MOST_URIS:
        raise Rejected(INVALID_PARAMS, f"`resourceSubscriptions` has at most {MOST_URIS} URIs")
    return {**honoured, "resourceSubscriptions": uris} if uris else honoured


def _frame(push: Push, meta: Json | None) -> bytes:
    method, uri = push
    params: Json = {} if uri is None else {"uri": uri}
    if meta is not None:
        params["_meta"] = meta
    return encode_notification(method, params)
