"""Which link does a call use? One per era, isolation class and declared capabilities; never per token."""

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import anyio
import orjson

from broker.connector import Json, Line, UpstreamError, UpstreamRefused, UpstreamUnreachable
from connectors.mcp_upstream.background import Background
from connectors.mcp_upstream.handshake import declarable
from connectors.mcp_upstream.link import Link, LinkGone
from connectors.mcp_upstream.transports import Transport

logger = logging.getLogger("connectors.mcp_upstream")

OPEN_WITHIN_S = 15.0
LONGEST_PAUSE_S = 30.0
_NOTHING = b"{}"

Isolation = Literal["shared", "organisation", "agent"]


@dataclass(frozen=True, slots=True)
class _Key:
    """What calls must have in common to share a link. `declared` is canonical JSON."""

    modern: bool
    who: tuple[str, ...] = ()
    declared: bytes = _NOTHING

    @property
    def is_home(self) -> bool:
        """Whether this is the link of the broker itself, which lists and hears of changes."""
        return not self.who and self.declared == _NOTHING


@dataclass(slots=True)
class Held:
    """A link and its use. A context: inside, it is busy and not ended for being idle."""

    link: Link
    key: _Key
    busy: int = 0
    used_at: float = field(default_factory=time.monotonic)

    def __enter__(self) -> Link:
        self.busy += 1
        return self.link

    def __exit__(self, *_: object) -> None:
        self.busy -= 1
        self.used_at = time.monotonic()


class Links:
    """The links of one upstream.

    Args:
        name: the connector's name, for messages.
        transport: opens them.
        isolation: who may share one.
        idle_s: seconds after which an unused one is closed.
    """

    def __init__(self, name: str, transport: Transport, isolation: Isolation, idle_s: float) -> None:
        self._name = name
        self._transport = transport
        self._isolation: Isolation = isolation
        self._idle_s = idle_s
        self._held: dict[_Key, Held] = {}
        self._locks: dict[_Key, anyio.Lock] = {}
        self._probing = anyio.Lock()
        self._speaks_modern: bool | None = None
        self._speaks_legacy: bool | None = None
        self._failures = 0
        self._not_before = 0.0
        self._background = Background()

    def start(self) -> None:
        """Begin to close what is idle."""
        self._background.start(self._sweep())

    async def close(self) -> None:
        """Close all links."""
        await self._background.close()
        async with anyio.create_task_group() as tasks:
            for held in self._held.values():
                tasks.start_soon(held.link.close)
        self._held.clear()
        await self._transport.close()

    async def home(self, *, patient: bool = False) -> Held:
        """The link of the broker itself.

        Args:
            patient: whether to refuse at once while the upstream was unreachable a moment ago.

        Raises:
            UpstreamError: there is none, and none can be opened.
        """
        async with self._probing:
            if self._speaks_modern is not None:
                return await self._find(_Key(self._speaks_modern), patient=patient)
            link = await self._opened(self._transport.first, patient=patient)
            self._speaks_modern = link.modern
            self._speaks_legacy = None if link.modern else True
            key = _Key(link.modern)
            before = self._held.get(key)
            held = self._held[key] = Held(link, key)
            if before is not None and before.link is not link:
                await before.link.close()
            return held

    async def take(self, line: Line) -> Held:
        """The link for a call: of the caller's own era, if the upstream speaks it.

        Raises:
            UpstreamError: none can be opened.
        """
        if self._speaks_modern is None:
            await self.home(patient=True)
        if self._speaks_modern and not line.caller.modern and self._speaks_legacy is not False:
            try:
                held = await self._find(self._key(line, modern=False), patient=True)
            except UpstreamRefused:
                self._speaks_legacy = False
                logger.info("%s speaks no revision with sessions", self._name)
            else:
                self._speaks_legacy = True
                return held
        return await self._find(self._key(line, modern=bool(self._speaks_modern)), patient=True)

    async def drop(self, held: Held) -> None:
        """Close a link that cannot be used any more."""
        if self._held.get(held.key) is held:
            del self._held[held.key]
        await held.link.close()

    async def forget(self) -> None:
        """Close the home link and find out anew what the upstream speaks; not while calls use it."""
        for key in (_Key(modern=True), _Key(modern=False)):
            held = self._held.get(key)
            if held is not None and held.busy and held.link.alive and not self._transport.stateless:
                return
            if held is not None:
                await self.drop(held)
        self._speaks_modern = self._speaks_legacy = None

    def _key(self, line: Line, *, modern: bool) -> _Key:
        if modern and self._transport.stateless:
            return _Key(modern=True)
        match self._isolation:
            case "shared":
                who: tuple[str, ...] = ()
            case "organisation":
                who = (line.organisation,)
            case "agent":
                who = (line.organisation, line.agent)
        if modern or line.caller.modern:
            return _Key(modern, who)
        declared = orjson.dumps(declarable(line.caller.capabilities), option=orjson.OPT_SORT_KEYS)
        return _Key(modern, who, declared)

    async def _find(self, key: _Key, *, patient: bool) -> Held:
        held = self._held.get(key)
        if held is not None and held.link.alive:
            return held
        async with self._locks.setdefault(key, anyio.Lock()):
            held = self._held.get(key)
            if held is not None:
                if held.link.alive:
                    return held
                await self.drop(held)
            await self._make_room()
            link = await self._opened(partial(self._connect, key), patient=patient)
            held = self._held[key] = Held(link, key)
            return held

    async def _connect(self, key: _Key) -> Link:
        if key.modern:
            return await self._transport.modern()
        declared: Json = orjson.loads(key.declared)
        return await self._transport.legacy(declared, home=key.is_home)

    async def _opened(self, opening: Callable[[], Awaitable[Link]], *, patient: bool) -> Link:
        """Open a link in time. While one is opened no call was sent, so losing it means unreachable."""
        wait_s = self._not_before - time.monotonic()
        if patient and wait_s > 0:
            raise UpstreamUnreachable(
                f"`{self._name}` could not be reached a moment ago", hint=f"try again in {wait_s:.0f} s"
            )
        try:
            with anyio.fail_after(OPEN_WITHIN_S):
                link = await opening()
        except UpstreamRefused:
            raise
        except (UpstreamError, TimeoutError, LinkGone) as error:
            self._not_before = time.monotonic() + min(2.0**self._failures, LONGEST_PAUSE_S)
            self._failures = min(self._failures + 1, 10)
            if isinstance(error, UpstreamUnreachable):
                raise
            raise UpstreamUnreachable(f"`{self._name}` did not get ready to be used") from error
        self._failures = 0
        return link

    async def _make_room(self) -> None:
        """Close the link that was idle for longest, if there are as many as there may be."""
        if len(self._held) < self._transport.most_links:
            return
        idle = [held for held in self._held.values() if not held.busy and not held.key.is_home]
        if not idle:
            raise UpstreamUnreachable(f"`{self._name}` is used by too many at a time", hint="try again later")
        await self.drop(min(idle, key=lambda held: held.used_at))

    async def _sweep(self) -> None:
        while True:
            await anyio.sleep(self._idle_s / 2)
            since = time.monotonic() - self._idle_s
            for held in list(self._held.values()):
                idle = not held.busy and not held.key.is_home and held.used_at <= since
                if idle or not held.link.alive:
                    await self.drop(held)
            for key in [k for k, lock in self._locks.items() if k not in self._held and not lock.locked()]:
                del self._locks[key]
