"""Who here waits for something that another request, or another broker process, hears first?

Before 2026-07-28 a client answers, cancels and subscribes in requests of their own, which may arrive
at any process. Whoever hears one and does not know the call passes it on; a message is a hint, and
one that is missed means late or not at all, never wrong.
"""

import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import anyio

from broker.edges.mcp.trails import TOPIC as TRAILS
from broker.edges.mcp.trails import Trails
from broker.edges.mcp.wire import INVALID_REQUEST, Rejected, RequestId
from broker.model import AgentId, Json
from broker.signals import Signals

logger = logging.getLogger("broker.edges.mcp")

TOPIC: Final = "mcp-session"
LIST_CHANGED: Final = {
    "tool": "notifications/tools/list_changed",
    "resource": "notifications/resources/list_changed",
    "template": "notifications/resources/list_changed",
    "prompt": "notifications/prompts/list_changed",
    "model": "notifications/tools/list_changed",  # they are arguments of a tool
}
RESOURCE_UPDATED: Final = "notifications/resources/updated"
MOST_STREAMS: Final = 1000
MOST_STREAMS_OF_ONE: Final = 100
REMEMBERED: Final = 10_000
"""How many sessions with an ending, a log level or subscriptions are kept in mind."""

Push = tuple[str, str | None]
"""A notification's method, and the URI it is about (only `RESOURCE_UPDATED`)."""


class Feed:
    """What one open stream has still to say. A change is said once, however often it happened meanwhile.

    Args:
        wanted: the list-changed notifications to pass on.
        uris: the resources whose updates to pass on; may change while the stream is open.
        owner: the agent whose stream it is.
        session: the session it belongs to; None since 2026-07-28.
    """

    def __init__(
        self, wanted: Iterable[str], uris: set[str], owner: AgentId, session: str | None = None
    ) -> None:
        self.wanted = frozenset(wanted)
        self.uris = uris
        self.owner = owner
        self.session = session
        self.ended = False
        self._pending: dict[Push, None] = {}
        self._awake = anyio.Event()

    def offer(self, push: Push) -> None:
        """Note a change, if this stream is to hear of it."""
        method, uri = push
        if method in self.wanted if uri is None else uri in self.uris:
            self._pending[push] = None
            self.wake()

    def wake(self) -> None:
        """Have the stream look around: who it belongs to or what it watches may have changed."""
        self._awake.set()

    def end(self) -> None:
        """Have the stream end in good order."""
        self.ended = True
        self.wake()

    async def next(self) -> Push | None:
        """Wait for the next change; None when there is only reason to look around."""
        if not self._pending:
            await self._awake.wait()
        self._awake = anyio.Event()
        push = next(iter(self._pending), None)
        if push is not None:
            del self._pending[push]
        return push


class Question:
    """A request to the client whose answer arrives by another way."""

    def __init__(self) -> None:
        self.id = f"broker-{secrets.token_hex(8)}"
        self._answer: Json | None = None
        self._answered = anyio.Event()

    def resolve(self, answer: Json) -> None:
        """Hand over the client's response message; only the first counts."""
        if self._answer is None:
            self._answer = answer
            self._answered.set()

    async def answer(self) -> Json:
        """Wait for the client's response message."""
        await self._answered.wait()
        return self._answer or {}


@dataclass(slots=True)
class Remembered:
    """What a session said that its id, which is sealed once, cannot hold."""

    ended: bool = False
    level: str | None = None
    uris: set[str] = field(default_factory=set[str])


class Switchboard:
    """All open calls, questions and streams of this process, and the connection to the others."""

    def __init__(self, signals: Signals, trails: Trails) -> None:
        self._signals = signals
        self._trails = trails
        self._me = secrets.token_hex(8)
        self._calls: dict[tuple[str, RequestId], Callable[[], None]] = {}
        self._questions: dict[tuple[str, RequestId], Question] = {}
        self._feeds: set[Feed] = set()
        self._sessions: OrderedDict[str, Remembered] = OrderedDict()

    async def run(self) -> None:
        """Hear what other parts and other processes say, until cancelled."""
        topics = ("catalog", "resource-updated", "agents", "policy", "trust", TOPIC, TRAILS)
        async with self._signals.subscribe(*topics) as heard:
            async for topic, message in heard:
                try:
                    if topic == TRAILS:
                        await self._trails.hear(message)
                    else:
                        self._hear(topic, message)
                except (KeyError, TypeError):
                    logger.warning("a signal of another version was ignored: %s", topic)

    def close(self) -> None:
        """End every stream in good order."""
        for feed in self._feeds:
            feed.end()

    @contextmanager
    def open_call(self, session: str, identity: RequestId, cancel: Callable[[], None]) -> Generator[None]:
        """Let the client cancel a call while it is open.

        Raises:
            Rejected: the session has a call of this id open.
        """
        key = (session, identity)
        if key in self._calls:
            raise Rejected(INVALID_REQUEST, "a request with this `id` is still open in this session")
        self._calls[key] = cancel
        try:
            yield
        finally:
            del self._calls[key]

    @contextmanager
    def ask(self, session: str) -> Generator[Question]:
        """A question that is open for the client's answer."""
        question = Question()
        self._questions[(session, question.id)] = question
        try:
            yield question
        finally:
            del self._questions[(session, question.id)]

    @contextmanager
    def attached(self, feed: Feed) -> Generator[None]:
        """Tell a stream what it wants to hear. The newest stream of a session replaces the one before."""
        for other in self._feeds:
            if feed.session is not None and other.session == feed.session:
                other.end()
        self._feeds.add(feed)
        try:
            yield
        finally:
            self._feeds.discard(feed)

    def has_room_for(self, agent: AgentId) -> bool:
        """Whether one more stream may be opened here, by this agent."""
        own = sum(feed.owner == agent for feed in self._feeds)
        return own < MOST_STREAMS_OF_ONE and len(self._feeds) < MOST_STREAMS

    def remembered(self, session: str) -> Remembered:
        """What is known of a session besides its id."""
        return self._sessions.get(session) or Remembered()

    async def answer(self, session: str, identity: RequestId, message: Json) -> None:
        """A client's response to a question, wherever that was asked."""
        if not self._resolve(session, identity, message):
            await self._tell("answer", session, id=identity, message=message)

    async def cancel(self, session: str, identity: RequestId) -> None:
        """A client's wish to stop a call, wherever that runs."""
        if not self._cancel(session, identity):
            await self._tell("cancel", session, id=identity)

    async def end(self, session: str) -> None:
        """The client has ended its session."""
        self._note("end", session, None)
        await self._tell("end", session)

    async def level(self, session: str, level: str) -> None:
        """The least severity of log messages that a session wants."""
        self._note("level", session, level)
        await self._tell("level", session, value=level)

    async def subscribe(self, session: str, uri: str) -> None:
        """A session wants to hear of updates of a resource."""
        self._note("subscribe", session, uri)
        await self._tell("subscribe", session, value=uri)

    async def unsubscribe(self, session: str, uri: str) -> None:
        """A session no longer wants to hear of updates of a resource."""
        self._note("unsubscribe", session, uri)
        await self._tell("unsubscribe", session, value=uri)

    async def _tell(self, what: str, session: str, **more: Any) -> None:
        await self._signals.publish(TOPIC, {"from": self._me, "what": what, "session": session, **more})

    def _hear(self, topic: str, message: Json) -> None:
        match topic:
            case "catalog":
                self._offer((LIST_CHANGED[message["kind"]], None))
            case "resource-updated":
                self._offer((RESOURCE_UPDATED, message["uri"]))
            case "agents" | "policy" | "trust":
                for method in LIST_CHANGED.values():
                    self._offer((method, None))
                for feed in self._feeds:
                    feed.wake()
            case _ if message["from"] != self._me:
                self._hear_session(message)
            case _:
                pass

    def _hear_session(self, message: Json) -> None:
        what, session = message["what"], message["session"]
        match what:
            case "answer":
                self._resolve(session, message["id"], message["message"])
            case "cancel":
                self._cancel(session, message["id"])
            case _:
                self._note(what, session, message.get("value"))

    def _offer(self, push: Push) -> None:
        for feed in self._feeds:
            feed.offer(push)

    def _resolve(self, session: str, identity: RequestId, message: Json) -> bool:
        question = self._questions.get((session, identity))
        if question is not None:
            question.resolve(message)
        return question is not None

    def _cancel(self, session: str, identity: RequestId) -> bool:
        cancel = self._calls.get((session, identity))
        if cancel is not None:
            cancel()
        return cancel is not None

    def _note(self, what: str, session: str, value: str | None) -> None:
        known = self._sessions.setdefault(session, Remembered())
        self._sessions.move_to_end(session)
        if len(self._sessions) > REMEMBERED:
            self._sessions.popitem(last=False)
        match what, value:
            case "end", _:
                known.ended = True
            case "level", str():
                known.level = value
            case "subscribe", str():
                known.uris.add(value)
            case "unsubscribe", str():
                known.uris.discard(value)
            case _:
                pass
        for feed in self._feeds:
            if feed.session == session:
                feed.ended = known.ended
                feed.uris = set(known.uris)
                feed.wake()
