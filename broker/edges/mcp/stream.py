"""How does an answer leave? As JSON if nothing has to be said before the end, otherwise as an event stream.

A call that is over within a few milliseconds, as most are, costs one response and no task.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final

import anyio
from starlette.types import Receive, Send

from broker.edges.mcp.trails import Trail, Trails
from broker.model import AgentId

logger = logging.getLogger("broker.edges.mcp")

ATTEND_AFTER_S: Final = 0.25
"""A call that is over by then is not watched for a disconnect: that would cost two tasks for each, and
under load every call takes some tens of milliseconds."""

KEEP_ALIVE_S: Final = 15.0
"""Proxies close streams on which nothing moves for half a minute."""

RETRY_MS: Final = 1000
"""When to come back, for a client whose stream breaks."""

_KEEP_ALIVE: Final = b": keep-alive\n\n"
_JSON: Final = (b"content-type", b"application/json")
_STREAM_HEADERS: Final = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]

HeaderList = Iterable[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """The last message of an exchange, and how it is framed while no stream has begun."""

    message: bytes
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()


async def respond(send: Send, status: int, body: bytes = b"", headers: HeaderList = ()) -> None:
    """One whole response; a body is JSON. A 204 has no Content-Length (RFC 9110 §8.6)."""
    fields = [*headers]
    if body:
        fields.append(_JSON)
    if status != 204:
        fields.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})


async def disconnected(receive: Receive) -> None:
    """Wait until the client has gone away (the body has been read already)."""
    while (await receive())["type"] != "http.disconnect":
        pass


class EventStream:
    """Server-sent events, one whole event at a time, whoever sends.

    Args:
        send: the ASGI channel.
        headers: further response headers.
        begin_trail: begins the trail of a stream that can be resumed, once the stream begins.
    """

    def __init__(
        self, send: Send, headers: HeaderList = (), begin_trail: Callable[[], Trail] | None = None
    ) -> None:
        self._send = send
        self._headers = headers
        self._begin_trail = begin_trail
        self.trail: Trail | None = None
        self._lock: anyio.Lock | None = None
        self.begun = False
        self.ended = False

    async def event(self, message: bytes, event_id: bytes | None = None) -> None:
        """Send one JSON-RPC message; the first begins the stream, after the end it is dropped."""
        named = b"" if event_id is None else b"id: %s\n" % event_id
        await self._write(named + b"event: message\ndata: " + message + b"\n\n")

    async def keep_alive(self) -> None:
        """Send a comment, so that nobody on the way takes the connection for dead."""
        await self._write(_KEEP_ALIVE)

    async def retry_after(self, millis: int) -> None:
        """Say when to come back once the stream has ended."""
        await self._write(b"retry: %d\n\n" % millis)

    async def begin(self) -> None:
        """Begin the stream; one that can be resumed begins with an id to come back with (SEP-1699)."""
        await self._write(b"")

    async def end(self) -> None:
        """Close the stream; what comes later is dropped."""
        await self._write(b"", more=False)

    def drop(self) -> None:
        """Let nothing more out, and do not begin if nothing was sent yet."""
        self.ended = True

    async def _write(self, data: bytes, *, more: bool = True) -> None:
        if self._lock is None:
            self._lock = anyio.Lock(fast_acquire=True)
        async with self._lock:
            if self.ended:
                return
            self.ended = not more
            try:
                if not self.begun:
                    self.begun = True
                    fields = [*_STREAM_HEADERS, *self._headers]
                    await self._send({"type": "http.response.start", "status": 200, "headers": fields})
                    data = self._prime() + data
                await self._send({"type": "http.response.body", "body": data, "more_body": more})
            except OSError:
                self.ended = True

    def _prime(self) -> bytes:
        if self._begin_trail is None:
            return b""
        self.trail = self._begin_trail()
        return b"id: %s\nretry: %d\ndata:\n\n" % (self.trail.id_of(0), RETRY_MS)


@dataclass(frozen=True, slots=True)
class Resumable:
    """Where the rest of an answer is kept if its stream ends early: on a trail of this session and agent."""

    trails: Trails
    session: str
    owner: AgentId

    def begin(self) -> Trail:
        """The trail of a stream that begins now."""
        return self.trails.begin(self.session, self.owner)


class Reply:
    """The answer to one request: JSON, unless something is said earlier or the work takes long.

    Args:
        receive, send: the ASGI channels; the body has been read.
        stream_after_s: seconds after which the answer becomes a stream, so that the connection lives.
        cancels: whether the work ends when the client goes away (2026-07-28: it must; before: it must not).
        resumable: what the client can still fetch once a stream has ended; None: nothing.
    """

    def __init__(
        self,
        receive: Receive,
        send: Send,
        *,
        stream_after_s: float,
        cancels: bool,
        resumable: Resumable | None = None,
    ) -> None:
        self._receive = receive
        self._send = send
        self._stream_after_s = stream_after_s
        self._attend_after_s = min(ATTEND_AFTER_S, stream_after_s)
        self._cancels = cancels
        self._scope = anyio.CancelScope()
        self._attendant: asyncio.Task[None] | None = None
        self._resumable = resumable
        self._stream = EventStream(send, begin_trail=resumable.begin if resumable else None)
        self._polled = False
        self.gone = False
        """The client has gone away, other than by being asked to poll."""

    def cancel(self) -> None:
        """Stop the work."""
        self._scope.cancel()

    async def say(self, message: bytes) -> None:
        """Send a message before the answer, or keep it for a client that will fetch it.

        Dropped once the answer is out, and when the client is gone and cannot fetch it.
        """
        if self._resumable is None:
            if not self.gone:
                await self._stream.event(message)
            return
        if not (self._stream.begun or self._stream.ended):
            await self._stream.begin()
        trail = self._stream.trail
        if trail is None or trail.over:
            return
        if self._stream.ended:
            await self._resumable.trails.add(trail, message)
        else:
            await self._stream.event(message, trail.id_of(trail.count()))

    async def poll(self, retry_ms: int) -> None:
        """End the stream before the answer, which the client then fetches (SEP-1699); only if it can.

        Args:
            retry_ms: when to come back.
        """
        if self._resumable is None or self._stream.ended:
            return
        await self._stream.retry_after(retry_ms)
        self._polled = True
        await self._stream.end()

    async def deliver(self, work: Awaitable[Outgoing], *, if_cancelled: Outgoing | None = None) -> None:
        """Wait for the work and send its outcome, or `if_cancelled` when it was stopped."""
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._attend_after_s, self._attend, loop)
        outcome = if_cancelled
        try:
            with self._scope:
                outcome = await work
            if outcome is not None:
                await self._finish(outcome)
        finally:
            self._stream.drop()
            self._abandon()
            timer.cancel()
            if self._attendant is not None:
                await _ended(self._attendant)

    async def _finish(self, outcome: Outgoing) -> None:
        trail = self._stream.trail
        if self._resumable is not None and trail is not None:
            # Kept also if it seems to be sent: a connection that is dead may look alive for minutes.
            number = await self._resumable.trails.finish(trail, outcome.message)
            await self._stream.event(outcome.message, trail.id_of(number))
            await self._stream.end()
        elif self._stream.begun:
            await self._stream.event(outcome.message)
            await self._stream.end()
        elif not self.gone:
            self._stream.drop()
            await respond(self._send, outcome.status, outcome.message, outcome.headers)

    def _abandon(self) -> None:
        """No outcome will come: nothing is to be waited for."""
        trail = self._stream.trail
        if self._resumable is not None and trail is not None and not trail.over:
            self._resumable.trails.forget(trail)

    def _attend(self, loop: asyncio.AbstractEventLoop) -> None:
        self._attendant = loop.create_task(self._attendance())

    async def _attendance(self) -> None:
        """Beside a call that takes longer: notice when the client goes away, keep the connection alive."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch)
            await anyio.sleep(self._stream_after_s - self._attend_after_s)
            while not self._stream.ended:
                await self._stream.keep_alive()
                await anyio.sleep(KEEP_ALIVE_S)

    async def _watch(self) -> None:
        await disconnected(self._receive)
        self._stream.drop()
        if self._polled:
            return
        self.gone = True
        if self._cancels:
            self._scope.cancel()


async def _ended(attendant: asyncio.Task[None]) -> None:
    attendant.cancel()
    await asyncio.wait([attendant])
    if not attendant.cancelled() and (error := attendant.exception()):
        logger.error("a stream could not be attended to", exc_info=error)
