"""How are many calls made over one pipe? Each has a queue; what the server says is put where it belongs."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

import anyio

from broker.connector import Json, Line, UpstreamLost, UpstreamRefused, UpstreamUnreachable
from connectors.mcp_upstream.background import Background
from connectors.mcp_upstream.child import Child, Command
from connectors.mcp_upstream.dialogue import (
    CHANGES,
    MOST_QUESTIONS,
    Heard,
    addressee,
    put_question,
    until_answered,
)
from connectors.mcp_upstream.envelope import legacy_params, modern_params
from connectors.mcp_upstream.handshake import (
    discovered_capabilities,
    hello,
    rules_out_handshake,
    speaks_modern,
    understand,
)
from connectors.mcp_upstream.wire import (
    UNSUPPORTED_VERSION,
    notification_bytes,
    request_bytes,
    result_of,
)

TELL_WITHIN_S = 2.0
PROBE_WITHIN_S = 10.0
MOST_WAITING = 256


@dataclass(slots=True)
class _Open:
    """One request that waits for its answer; None in its queue is the end of the process."""

    line: Line | None
    queue: asyncio.Queue[Json | None] = field(default_factory=asyncio.Queue[Json | None])

    async def messages(self) -> AsyncIterator[Json]:
        """What is said to this request."""
        while (message := await self.queue.get()) is not None:
            yield message


class Stdio:
    """A `Link`: one process, in the era of its first request.

    Args:
        command: the program.
        ids: request ids, unique for this connector.
        heard: told what concerns the whole server.
    """

    def __init__(self, command: Command, ids: Iterator[int], heard: Heard) -> None:
        self._name = command.name
        self._ids = ids
        self._heard = heard
        self._child: Child | None = None
        self._open: dict[int, _Open] = {}
        self._lines: dict[int, Line] = {}
        self._background = Background()
        self._over = anyio.Event()
        self.modern = False
        self.capabilities: Json = {}

    @classmethod
    async def start(cls, command: Command, ids: Iterator[int], heard: Heard) -> Self:
        """Start the process. It is to be opened by `probe`, `as_modern` or `as_legacy` next.

        Raises:
            UpstreamUnreachable: it cannot be started.
        """
        link = cls(command, ids, heard)
        link._child = await Child.start(command, link._sort, link._ended)
        return link

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._child is not None and self._child.alive

    async def probe(self) -> None:
        """Find out which era it speaks, and open it in that: the modern one if it speaks both.

        Raises:
            UpstreamError: it speaks none, or has ended.
        """
        try:
            with anyio.move_on_after(PROBE_WITHIN_S):
                if await self._discovered():
                    return
        except UpstreamRefused as refused:
            if rules_out_handshake(refused):
                raise
        try:
            await self.as_legacy({})
        except UpstreamRefused as refused:
            # It was slow to start and has read the probe first after all, so it is modern.
            if refused.rpc_code != UNSUPPORTED_VERSION or not await self._discovered():
                raise

    async def _discovered(self) -> bool:
        self.modern = True
        discovered = await self.request("server/discover", {}, None)
        self.modern = speaks_modern(discovered)
        self.capabilities = discovered_capabilities(discovered)
        return self.modern

    async def as_legacy(self, declared: Json) -> None:
        """Open a session, declaring these client capabilities.

        Raises:
            UpstreamError: it refuses, or has ended.
        """
        self.modern = False
        _, self.capabilities = understand(await self.request("initialize", hello(declared), None), self._name)
        await self._send(notification_bytes("notifications/initialized"))
        if "logging" in self.capabilities:
            await self.request("logging/setLevel", {"level": "debug"}, None)

    async def request(self, method: str, params: Json, line: Line | None) -> Json:
        """Send a request; leaving this early tells the server that it is cancelled."""
        request_id = next(self._ids)
        enveloped = modern_params if self.modern else legacy_params
        waiting = self._open[request_id] = _Open(line)
        if line:
            self._lines[request_id] = line
        try:
            await self._send(request_bytes(request_id, method, enveloped(params, line, request_id)))
            reply = None if self.modern else self._tell
            message = await until_answered(waiting.messages(), request_id, line, self._heard, reply)
        except anyio.get_cancelled_exc_class():
            note = {"requestId": request_id, "reason": "the caller has cancelled"}
            self._background.start(self._tell(notification_bytes("notifications/cancelled", note)))
            raise
        finally:
            del self._open[request_id]
            self._lines.pop(request_id, None)
        if message is None:
            raise UpstreamLost(f"`{self._name}` ended while it did this")
        return result_of(message, self._name)

    async def listen(self, uris: frozenset[str]) -> None:
        """Hear of changes until the process ends, or the server ends its stream."""
        if self.modern:
            wanted: Json = dict.fromkeys(
                ("toolsListChanged", "promptsListChanged", "resourcesListChanged"), True
            )
            if uris:
                wanted["resourceSubscriptions"] = sorted(uris)
            await self.request("subscriptions/listen", {"notifications": wanted}, None)
            return
        for uri in sorted(uris):
            with suppress(UpstreamRefused):
                await self.request("resources/subscribe", {"uri": uri}, None)
        await self._over.wait()

    async def close(self) -> None:
        """End the process."""
        await self._background.close()
        if self._child is not None:
            await self._child.close()

    async def _send(self, payload: bytes) -> None:
        if self._child is None or not self._child.alive:
            raise UpstreamUnreachable(f"`{self._name}` does not run")
        try:
            await self._child.send(payload)
        except OSError as error:
            raise UpstreamLost(f"`{self._name}` ended while it did this") from error

    async def _tell(self, payload: bytes) -> None:
        """Send what has no answer; a process that does not read is not waited for."""
        with anyio.move_on_after(TELL_WITHIN_S):
            try:
                await self._send(payload)
            except UpstreamLost:
                return

    def _sort(self, message: Json) -> None:
        """Put a message where it belongs. A channel shared by several callers: see `addressee`."""
        if not isinstance(message.get("method"), str):
            waiting = self._waiting(message.get("id"))
            if waiting:
                waiting.queue.put_nowait(message)
            return
        if message["method"] in CHANGES:
            self._heard(message["method"], message.get("params") or {})
            return
        waiting = self._waiting(addressee(message, self._lines))
        is_question = "id" in message
        if waiting and not (is_question and self.modern):
            if waiting.queue.qsize() < MOST_WAITING:
                waiting.queue.put_nowait(message)
        elif is_question and len(self._background) < MOST_QUESTIONS:
            self._background.start(put_question(message, None, self._tell))

    def _waiting(self, request_id: object) -> _Open | None:
        return self._open.get(request_id) if isinstance(request_id, int) else None

    def _ended(self) -> None:
        self._over.set()
        for waiting in self._open.values():
            waiting.queue.put_nowait(None)
