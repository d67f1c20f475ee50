"""What has a call still to say to a client whose stream has ended? Its trail is kept for a while (SEP-1699).

Only in 2025-11-25. A trail begins when the answer to a call becomes an event stream. While a client
listens, events are only numbered. What is said after its stream has ended, and the final response in
any case, waits until it is fetched by the id of an event that the client has seen. That id names the
process and the stream, at random, and is of use in its own session alone. Another process that is
asked for it has the events sent over by signals.
"""

import re
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import anyio

from broker.model import AgentId, Json
from broker.signals import Signals

TOPIC: Final = "mcp-stream"
KEPT_S: Final = 300.0
KNOWN_WITHIN_S: Final = 2.0
"""How long another process has to say that it knows a stream."""
MOST_KEPT: Final = 1000
MOST_KEPT_OF_ONE: Final = 100
MOST_BYTES: Final = 32 << 20
MOST_BYTES_OF_ONE: Final = 8 << 20
MOST_WAITING: Final = 64
MOST_WAITING_BYTES: Final = 256 << 10
"""Of what is said before the final response; the oldest is dropped."""

_EVENT_ID: Final = re.compile(r"([0-9a-f]{16})([0-9a-f]{32})-([0-9]{1,9})", re.ASCII)

Key = tuple[str, str]
"""A session and a stream in it."""


@dataclass(frozen=True, slots=True)
class Event:
    """One message on a stream; `last` if it is the response."""

    number: int
    message: bytes
    last: bool


class Trail:
    """The numbered events of one call's stream, as far as they may not have been heard.

    Args:
        key: session and stream.
        owner: the agent whose call it is.
    """

    def __init__(self, key: Key, owner: AgentId) -> None:
        self.key = key
        self.owner = owner
        self.until = float("inf")
        self.size = 0
        self.followed_elsewhere = False
        self.over = False
        self._counted = 0
        self._heard = 0
        self._waiting: deque[Event] = deque()
        self._turn = 0
        self._awake = anyio.Event()

    def id_of(self, number: int) -> bytes:
        """The `id` of an event."""
        return b"%s-%d" % (self.key[1].encode(), number)

    def count(self) -> int:
        """The number of the next event."""
        self._counted += 1
        return self._counted

    def keep(self, event: Event) -> None:
        """Have an event wait for the client, unless that has it already."""
        if event.number > self._heard:
            self._waiting.append(event)
            self.size += len(event.message)
        while not event.last and (len(self._waiting) > MOST_WAITING or self.size > MOST_WAITING_BYTES):
            self.size -= len(self._waiting.popleft().message)
        self.over = self.over or event.last
        self._awake.set()

    def heard(self, number: int) -> None:
        """The client has all events up to this one."""
        self._heard = max(self._heard, number)
        while self._waiting and self._waiting[0].number <= number:
            self.size -= len(self._waiting.popleft().message)

    def end(self) -> None:
        """Let go of all that waits, and of whoever waits for it."""
        self.over = True
        self._waiting.clear()
        self._awake.set()

    def follow(self) -> Callable[[], bool]:
        """Begin to follow; the result says whether it goes on: until somebody else begins or all is heard."""
        self._turn += 1
        mine = self._turn
        self._awake.set()
        return lambda: mine == self._turn and not self.is_heard

    @property
    def waiting(self) -> tuple[Event, ...]:
        """What was not heard yet, in order."""
        return tuple(self._waiting)

    @property
    def is_heard(self) -> bool:
        """Whether nothing waits and nothing will."""
        return self.over and not self._waiting

    async def next(self) -> Event | None:
        """The next event; None when there is only reason to look around."""
        if not self._waiting and not self.over:
            await self._awake.wait()
        self._awake = anyio.Event()
        return self._waiting[0] if self._waiting else None


class Mirror(Trail):
    """A trail that another process keeps, as far as that has told."""

    def __init__(self, key: Key, owner: AgentId) -> None:
        super().__init__(key, owner)
        self.known = anyio.Event()


class Trails:
    """All trails of this process, and the way to those of the others.

    Args:
        signals: connects the processes of this deployment.
        monotonic: seconds that never run backwards.
    """

    def __init__(self, signals: Signals, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._signals = signals
        self._monotonic = monotonic
        self._me = secrets.token_hex(8)
        self._trails: dict[Key, Trail] = {}
        self._kept: OrderedDict[Key, Trail] = OrderedDict()
        self._mirrors: dict[Key, Mirror] = {}

    def begin(self, session: str, owner: AgentId) -> Trail:
        """A trail for a call whose answer has become a stream."""
        trail = Trail((session, self._me + secrets.token_hex(16)), owner)
        self._trails[trail.key] = trail
        return trail

    async def add(self, trail: Trail, message: bytes) -> None:
        """Keep a message that the stream can no longer take."""
        event = Event(trail.count(), message, last=False)
        trail.keep(event)
        await self._send_over(trail, (event,))

    async def finish(self, trail: Trail, message: bytes) -> int:
        """Keep the response for a while; the number of its event."""
        event = Event(trail.count(), message, last=True)
        trail.until = self._monotonic() + KEPT_S
        trail.keep(event)
        self._kept[trail.key] = trail
        self._make_room(trail.owner)
        await self._send_over(trail, (event,))
        return event.number

    def forget(self, trail: Trail) -> None:
        """Drop a trail and all that waits on it; whoever follows it is let go."""
        trail.end()
        self._trails.pop(trail.key, None)
        self._kept.pop(trail.key, None)

    @asynccontextmanager
    async def found(self, session: str, owner: AgentId, event_id: str) -> AsyncGenerator[Trail | None]:
        """What comes after an event of this session; None if nothing is known of it, here or elsewhere."""
        named = _EVENT_ID.fullmatch(event_id)
        if named is None:
            yield None
            return
        process, key, number = named[1], (session, named[1] + named[2]), int(named[3])
        self._drop_expired()
        if process == self._me:
            trail = self._trails.get(key)
            if trail is not None:
                trail.heard(number)
            yield trail if trail is not None and not trail.is_heard else None
            return
        with self._mirrored(key, owner) as mirror:
            mirror.heard(number)
            await self._tell("resume", key)
            with anyio.move_on_after(KNOWN_WITHIN_S):
                await mirror.known.wait()
            yield mirror if mirror.known.is_set() and not mirror.is_heard else None

    async def delivered(self, trail: Trail) -> None:
        """The response has reached the client."""
        self.forget(trail)
        if self._mirrors.get(trail.key) is trail:
            with anyio.CancelScope(shield=True):  # the client hangs up as soon as it has the response
                await self._tell("resumed", trail.key)

    async def hear(self, message: Json) -> None:
        """What another process tells or asks about a trail."""
        if message["from"] == self._me:
            return
        key = (message["session"], message["stream"])
        match message["what"]:
            case "resume" if (trail := self._trails.get(key)) is not None:
                trail.followed_elsewhere = True
                await self._send_over(trail, trail.waiting)
            case "resumed" if (trail := self._trails.get(key)) is not None:
                self.forget(trail)
            case "events" if (mirror := self._mirrors.get(key)) is not None:
                for number, text, last in message["events"]:
                    mirror.keep(Event(number, text.encode(), last))
                mirror.known.set()
            case _:
                pass

    @contextmanager
    def _mirrored(self, key: Key, owner: AgentId) -> Generator[Mirror]:
        """A mirror of another process's trail; the newest replaces the one before."""
        if (other := self._mirrors.get(key)) is not None:
            other.end()
        mirror = self._mirrors[key] = Mirror(key, owner)
        try:
            yield mirror
        finally:
            if self._mirrors.get(key) is mirror:
                del self._mirrors[key]

    async def _send_over(self, trail: Trail, events: tuple[Event, ...]) -> None:
        if not trail.followed_elsewhere:
            return
        told = [(event.number, event.message.decode(), event.last) for event in events]
        await self._tell("events", trail.key, events=told)

    async def _tell(self, what: str, key: Key, **more: Any) -> None:
        about = {"from": self._me, "what": what, "session": key[0], "stream": key[1]}
        await self._signals.publish(TOPIC, {**about, **more})

    def _drop_expired(self) -> None:
        now = self._monotonic()
        while self._kept and (oldest := next(iter(self._kept.values()))).until <= now:
            self.forget(oldest)

    def _make_room(self, owner: AgentId) -> None:
        """Drop what is too old, then the oldest of whoever keeps too much, then the oldest of all."""
        self._drop_expired()
        own = [trail for trail in self._kept.values() if trail.owner == owner]
        _drop_oldest(own, MOST_KEPT_OF_ONE, MOST_BYTES_OF_ONE, self.forget)
        _drop_oldest(list(self._kept.values()), MOST_KEPT, MOST_BYTES, self.forget)


def _drop_oldest(trails: list[Trail], most: int, most_bytes: int, drop: Callable[[Trail], None]) -> None:
    held = sum(trail.size for trail in trails)
    for index, trail in enumerate(trails):
        if len(trails) - index <= most and held <= most_bytes:
            return
        held -= trail.size
        drop(trail)
