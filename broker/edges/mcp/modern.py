"""How is a request of MCP 2026-07-28 answered? Each stands for itself: one POST, one answer, no session."""

import logging
from typing import Final, cast

from broker.edges.mcp import dispatch, results
from broker.edges.mcp.caller import OpenCaller
from broker.edges.mcp.capabilities import EXTENSIONS, SERVER_CAPABILITIES
from broker.edges.mcp.exchange import Exchange
from broker.edges.mcp.generate import Generating
from broker.edges.mcp.headers import VERSION, ParamHeaders, check_envelope, unsupported
from broker.edges.mcp.lists import LISTS, TTL_MS, Lists
from broker.edges.mcp.rounds import Rounds
from broker.edges.mcp.stream import Outgoing, Reply, respond
from broker.edges.mcp.subscriptions import Streams
from broker.edges.mcp.wire import (
    INVALID_REQUEST,
    META_CAPABILITIES,
    METHOD_NOT_FOUND,
    MODERN_VERSIONS,
    Rejected,
    RequestId,
    encode_result,
)
from broker.errors import BrokerError, Unauthenticated
from broker.model import Call, Json, Method
from broker.pipeline import Pipeline
from broker.settings import LimitSettings

logger = logging.getLogger("broker.edges.mcp")

DISCOVER_TTL_MS: Final = 60_000
_DISCOVERED: Final = results.complete(
    {
        "supportedVersions": list(MODERN_VERSIONS),
        "capabilities": {**SERVER_CAPABILITIES, "extensions": EXTENSIONS},
    },
    ttl_ms=DISCOVER_TTL_MS,
)


class Modern:
    """Serves clients that send the envelope with every request."""

    def __init__(
        self,
        *,
        pipeline: Pipeline,
        lists: Lists,
        rounds: Rounds,
        streams: Streams,
        generating: Generating,
        limits: LimitSettings,
    ) -> None:
        self._pipeline = pipeline
        self._lists = lists
        self._rounds = rounds
        self._streams = streams
        self._generating = generating
        self._limits = limits
        self._param_headers = ParamHeaders()

    async def serve(self, exchange: Exchange) -> None:
        """Answer one HTTP request.

        Raises:
            Unauthenticated: the token was valid and no longer is.
        """
        if exchange.method != "POST":
            await respond(exchange.send, 405, headers=[(b"allow", b"POST")])
            return
        identity: RequestId | None = None
        try:
            message = await exchange.message(self._limits.request_bytes)
            identity = message.id
            if identity is None:
                await self._notified(exchange)
            else:
                await self._requested(exchange, message.method, identity, message.params)
        except Rejected as rejected:
            await exchange.reject(rejected, identity)

    async def _notified(self, exchange: Exchange) -> None:
        """Take and drop a notification: over HTTP this revision knows none, but old habits send them."""
        version = exchange.fields.get(VERSION)
        if version not in MODERN_VERSIONS:
            raise unsupported(version or "")
        await respond(exchange.send, 202)

    async def _requested(
        self, exchange: Exchange, method: str | None, identity: RequestId, params: Json
    ) -> None:
        if method is None:
            raise Rejected(INVALID_REQUEST, "a client sends requests, not responses")
        meta = check_envelope(exchange.fields, method, params)
        if method in dispatch.GOVERNED:
            await self._call(exchange, dispatch.GOVERNED[method], identity, params, meta)
        elif method in LISTS:
            page = await self._lists.page(method, params, exchange.token)
            await _answer(exchange, identity, results.complete(page, ttl_ms=TTL_MS))
        elif method == "server/discover":
            await _answer(exchange, identity, _DISCOVERED)
        elif method == "subscriptions/listen":
            await self._streams.listen(exchange, identity, params)
        else:
            raise Rejected(METHOD_NOT_FOUND, f"there is no method `{method[:100]}` in this protocol version")

    async def _call(
        self, exchange: Exchange, method: Method, identity: RequestId, params: Json, meta: Json
    ) -> None:
        reply = Reply(
            exchange.receive, exchange.send, stream_after_s=self._limits.json_answer_within_s, cancels=True
        )
        caller = OpenCaller(reply, cast("Json", meta[META_CAPABILITIES]), meta, asks=None)
        told = dispatch.asked(method, params)
        passed = self._rounds.resume(exchange.principal, method, told)
        call = dispatch.call(exchange, method, passed, caller=caller, meta=meta)
        call = await self._generating.resolved(call)
        if call.method is Method.CALL_TOOL:
            self._check_param_headers(exchange, call)
        await reply.deliver(self._outcome(exchange, call, identity, told))

    async def _outcome(self, exchange: Exchange, call: Call, identity: RequestId, told: Json) -> Outgoing:
        try:
            released = await self._pipeline.call(call)
            result = results.released(released, call.method, modern=True)
            if result["resultType"] == "input_required":
                result = self._rounds.pause(
                    exchange.principal, call.method, told, result, call.caller.capabilities
                )
            return Outgoing(encode_result(identity, result))
        except Unauthenticated:
            raise
        except BrokerError as error:
            return results.refused(error, call.method, told, identity, modern=True)
        except Exception:
            logger.exception("call %s failed", call.id)
            return results.failed(identity, modern=True)

    def _check_param_headers(self, exchange: Exchange, call: Call) -> None:
        catalog = self._pipeline.catalog
        target = catalog.find(call)
        if target is None or not (headers := self._param_headers.of(target, catalog.version)):
            return
        # A tool that does not exist for this caller must not show itself by the headers it wants.
        if self._pipeline.policy.sees(exchange.principal, target):
            for header in headers:
                header.check(exchange.fields, call.params.get("arguments", {}))


async def _answer(exchange: Exchange, identity: RequestId, result: Json) -> None:
    await respond(exchange.send, 200, encode_result(identity, result))
