"""How are clients of 2025-03-26 to 2025-11-25 served? In sessions that begin with `initialize`."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

from broker.edges.mcp import dispatch, results
from broker.edges.mcp.caller import DEFAULT_LEGACY_LEVEL, LEVELS, OpenCaller, SessionAsks
from broker.edges.mcp.capabilities import SERVER_CAPABILITIES
from broker.edges.mcp.delegated import delegation_in, fallen
from broker.edges.mcp.exchange import Exchange, accepts
from broker.edges.mcp.generate import Generating
from broker.edges.mcp.headers import ROUTING, SESSION, VERSION
from broker.edges.mcp.lists import LISTS, Lists
from broker.edges.mcp.resumption import LAST_EVENT_ID, Resumption
from broker.edges.mcp.rounds import refuse_rounds
from broker.edges.mcp.sessions import Session, Sessions
from broker.edges.mcp.stream import Outgoing, Reply, respond
from broker.edges.mcp.subscriptions import MOST_URIS, Streams
from broker.edges.mcp.switchboard import Switchboard
from broker.edges.mcp.wire import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    INVALID_REQUEST,
    META_LOG_LEVEL,
    META_VERSION,
    METHOD_NOT_FOUND,
    REQUEST_CANCELLED,
    RESOURCE_NOT_FOUND,
    Message,
    Rejected,
    RequestId,
    encode_error,
    encode_result,
)
from broker.errors import BrokerError, Denied, Unauthenticated
from broker.model import CLIENT, MODEL_METHODS, Call, Json, Method
from broker.pipeline import Pipeline
from broker.settings import LimitSettings

logger = logging.getLogger("broker.edges.mcp")

Simple = Callable[[Exchange, Session, Json], Awaitable[Json]]
"""A method that needs no call: its result, from the session and the parameters."""

_CANCELLED: Final[Json] = {"code": REQUEST_CANCELLED, "message": "the request was cancelled"}
_OF_LATER_ROUNDS: Final = ("requestState", "inputResponses")


class Legacy:
    """Serves clients that keep a session."""

    def __init__(
        self,
        *,
        pipeline: Pipeline,
        lists: Lists,
        generating: Generating,
        sessions: Sessions,
        streams: Streams,
        resumption: Resumption,
        switchboard: Switchboard,
        limits: LimitSettings,
    ) -> None:
        self._pipeline = pipeline
        self._lists = lists
        self._generating = generating
        self._sessions = sessions
        self._streams = streams
        self._resumption = resumption
        self._switchboard = switchboard
        self._limits = limits
        self._simple: dict[str, Simple] = {
            "ping": self._ping,
            "logging/setLevel": self._set_level,
            "resources/subscribe": self._subscribe,
            "resources/unsubscribe": self._unsubscribe,
        }

    async def serve(self, exchange: Exchange) -> None:
        """Answer one HTTP request.

        Raises:
            Unauthenticated: the token was valid and no longer is.
        """
        try:
            exchange.fields.once(ROUTING)
            match exchange.method:
                case "POST":
                    await self._post(exchange)
                case "GET":
                    await self._get(exchange)
                case "DELETE":
                    await self._switchboard.end(self._session(exchange).id)
                    await respond(exchange.send, 204)
                case _:
                    await respond(exchange.send, 405, headers=[(b"allow", b"GET, POST, DELETE")])
        except Rejected as rejected:
            await exchange.reject(rejected)

    def _session(self, exchange: Exchange) -> Session:
        return self._sessions.resume(exchange.fields.get(SESSION), exchange.principal)

    async def _get(self, exchange: Exchange) -> None:
        if not accepts(exchange.fields.get(b"accept") or "", "text/event-stream"):
            raise Rejected(INVALID_REQUEST, "the Accept header has to allow text/event-stream", http=406)
        session = self._session(exchange)
        last = exchange.fields.get(LAST_EVENT_ID)
        if last and await self._resumption.serve(exchange, session.id, last):
            return
        await self._streams.push(exchange, session.id, self._switchboard.remembered(session.id).uris)

    async def _post(self, exchange: Exchange) -> None:
        message = await exchange.message(self._limits.request_bytes)
        if message.method == "initialize" and message.id is not None:
            await self._initialize(exchange, message.id, message.params)
            return
        _check_era(exchange, message)
        session = self._session(exchange)
        if message.method is None or message.id is None:
            await respond(exchange.send, 202)
            await self._heard(session, message)
            return
        try:
            await self._requested(exchange, session, message.id, message.method, message.params)
        except Rejected as rejected:
            await _answer(exchange, encode_error(message.id, rejected.as_error()))

    async def _initialize(self, exchange: Exchange, identity: RequestId, params: Json) -> None:
        try:
            token, version = self._sessions.begin(exchange.principal, params)
        except Rejected as rejected:
            await exchange.reject(rejected, identity)
            return
        result: Json = {
            "protocolVersion": version,
            "capabilities": SERVER_CAPABILITIES,
            "serverInfo": results.SERVER_INFO,
        }
        await _answer(exchange, encode_result(identity, result), (b"mcp-session-id", token.encode()))

    async def _heard(self, session: Session, message: Message) -> None:
        """A response to a question of ours, or a notification; only cancellations mean something here."""
        if message.method is None:
            if message.id is not None:
                await self._switchboard.answer(session.id, message.id, message.raw)
        elif message.method == "notifications/cancelled":
            identity: Any = message.params.get("requestId")
            if type(identity) in (str, int):
                await self._switchboard.cancel(session.id, identity)

    async def _requested(
        self, exchange: Exchange, session: Session, identity: RequestId, method: str, params: Json
    ) -> None:
        if method in dispatch.GOVERNED:
            await self._call(exchange, session, dispatch.GOVERNED[method], identity, params)
        elif method in LISTS:
            page = await self._lists.page(method, params, exchange.token)
            await _answer(exchange, encode_result(identity, page))
        elif method in self._simple:
            result = await self._simple[method](exchange, session, params)
            await _answer(exchange, encode_result(identity, result))
        else:
            raise Rejected(METHOD_NOT_FOUND, f"there is no method `{method[:100]}` in this protocol version")

    async def _ping(self, _exchange: Exchange, _session: Session, _params: Json) -> Json:
        return {}

    async def _set_level(self, _exchange: Exchange, session: Session, params: Json) -> Json:
        level: Any = params.get("level")
        if not isinstance(level, str) or level not in LEVELS:
            raise Rejected(INVALID_PARAMS, f"`level` is one of {', '.join(LEVELS)}")
        await self._switchboard.level(session.id, level)
        return {}

    async def _subscribe(self, exchange: Exchange, session: Session, params: Json) -> Json:
        uri = _uri(params)
        try:
            principal = await self._pipeline.speaker(exchange.token, delegation_in(params))
        except Denied as error:
            raise fallen(error) from error
        if self._streams.target(principal, uri) is None:
            raise Rejected(RESOURCE_NOT_FOUND, "there is no such resource here", data={"uri": uri})
        if len(self._switchboard.remembered(session.id).uris) >= MOST_URIS:
            raise Rejected(INVALID_PARAMS, f"a session subscribes to at most {MOST_URIS} resources")
        await self._switchboard.subscribe(session.id, uri)
        return {}

    async def _unsubscribe(self, _exchange: Exchange, session: Session, params: Json) -> Json:
        await self._switchboard.unsubscribe(session.id, _uri(params))
        return {}

    async def _call(
        self, exchange: Exchange, session: Session, method: Method, identity: RequestId, params: Json
    ) -> None:
        told = dispatch.asked(method, params)
        for key in _OF_LATER_ROUNDS:
            told.pop(key, None)
        reply = Reply(
            exchange.receive,
            exchange.send,
            stream_after_s=self._limits.json_answer_within_s,
            cancels=False,
            resumable=self._resumption.of(session, exchange.principal),
        )
        meta = self._meta(session, params)
        caller = OpenCaller(
            reply, session.capabilities, meta, SessionAsks(reply, self._switchboard, session.id)
        )
        call = dispatch.call(exchange, method, told, caller=caller, meta=meta)
        call = await self._generating.resolved(call)
        with self._switchboard.open_call(session.id, identity, reply.cancel):
            await reply.deliver(
                self._outcome(call, identity), if_cancelled=Outgoing(encode_error(identity, _CANCELLED))
            )

    def _meta(self, session: Session, params: Json) -> Json:
        """`_meta` of the request, with the session's log level and client where later revisions put them."""
        given = params.get("_meta")
        level = self._switchboard.remembered(session.id).level or DEFAULT_LEGACY_LEVEL
        return {
            **(cast("Json", given) if isinstance(given, dict) else {}),
            META_LOG_LEVEL: level,
            CLIENT: session.client,
        }

    async def _outcome(self, call: Call, identity: RequestId) -> Outgoing:
        try:
            released = await self._pipeline.call(call)
            if call.method not in MODEL_METHODS and released.body.get("resultType") == "input_required":
                refuse_rounds(released.body, call.caller.capabilities)
            result = results.released(released, call.method, modern=False)
            return Outgoing(encode_result(identity, result))
        except Unauthenticated:
            raise
        except BrokerError as error:
            return results.refused(error, call.method, call.params, identity, modern=False)
        except Exception:
            logger.exception("call %s failed", call.id)
            return results.failed(identity, modern=False)


def _check_era(exchange: Exchange, message: Message) -> None:
    """Tell a client of a later revision what it forgot, rather than that it has no session."""
    meta = message.params.get("_meta")
    if isinstance(meta, dict) and META_VERSION in meta and exchange.fields.get(VERSION) is None:
        raise Rejected(HEADER_MISMATCH, "the header Mcp-Protocol-Version is missing")


def _uri(params: Json) -> str:
    uri: Any = params.get("uri")
    if not isinstance(uri, str):
        raise Rejected(INVALID_PARAMS, "`uri` has to be a text")
    return uri


async def _answer(exchange: Exchange, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    await respond(exchange.send, 200, body, headers)
