"""How is a session of the `initialize` revisions held over HTTP? Its id, its own stream, its resumption."""

import logging
from collections.abc import Iterator
from contextlib import suppress
from typing import Self, cast

import aiohttp
import anyio

from broker.connector import Json, Line, UpstreamError, UpstreamLost, UpstreamRefused
from connectors.mcp_upstream.background import Background
from connectors.mcp_upstream.dialogue import (
    MOST_QUESTIONS,
    Heard,
    addressee,
    hear,
    put_question,
    until_answered,
)
from connectors.mcp_upstream.envelope import legacy_params
from connectors.mcp_upstream.handshake import hello, understand
from connectors.mcp_upstream.http import LONGEST_PAUSE_S, Http, Tail, is_stream, refusal
from connectors.mcp_upstream.link import LinkGone
from connectors.mcp_upstream.wire import SERVER_ERROR, notification_bytes, request_bytes, result_of

logger = logging.getLogger("connectors.mcp_upstream")

_ACCEPT = "application/json, text/event-stream"
_POST = {"Accept": _ACCEPT, "Content-Type": "application/json"}
RESUME_ATTEMPTS = 5
GOODBYE_WITHIN_S = 2.0
TELL_WITHIN_S = 5.0


class LegacyHttp:
    """A `Link`: one session.

    Args:
        http: the connection.
        ids: request ids, unique for this connector.
        heard: told what concerns the whole server.
    """

    modern = False

    def __init__(self, http: Http, ids: Iterator[int], heard: Heard) -> None:
        self._http = http
        self._ids = ids
        self._heard = heard
        self._session: dict[str, str] = {}
        self._background = Background()
        self._lines: dict[int, Line] = {}
        self._over = anyio.Event()
        self.capabilities: Json = {}
        self.alive = True

    @classmethod
    async def connect(
        cls, http: Http, ids: Iterator[int], heard: Heard, *, declared: Json, streams: bool
    ) -> Self:
        """Begin a session.

        Args:
            http: the connection.
            ids: request ids, unique for this connector.
            heard: told what concerns the whole server.
            declared: the client capabilities to declare.
            streams: whether to hold the session's own stream, on which the server may ask and tell.

        Raises:
            UpstreamError: it cannot be begun.
        """
        session = cls(http, ids, heard)
        request_id = next(ids)
        response = await http.send("POST", _POST, request_bytes(request_id, "initialize", hello(declared)))
        answer = await session._finished(response, request_id, None)
        version, session.capabilities = understand(result_of(answer, http.name), http.name)
        session._session = {"MCP-Protocol-Version": version}
        if session_id := response.headers.get("Mcp-Session-Id"):
            session._session["Mcp-Session-Id"] = session_id
        await session._tell(notification_bytes("notifications/initialized"))
        if "logging" in session.capabilities:
            await session.request("logging/setLevel", {"level": "debug"}, None)
        if streams:
            session._background.start(session._hold_stream())
        return session

    async def request(self, method: str, params: Json, line: Line | None) -> Json:
        """Send a request in this session; leaving this early tells the server that it is cancelled."""
        request_id = next(self._ids)
        body = request_bytes(request_id, method, legacy_params(params, line, request_id))
        if line:
            self._lines[request_id] = line
        try:
            response = await self._http.send("POST", {**_POST, **self._session}, body)
            message = await self._finished(response, request_id, line)
        except anyio.get_cancelled_exc_class():
            note = {"requestId": request_id, "reason": "the caller has cancelled"}
            self._background.start(self._tell(notification_bytes("notifications/cancelled", note)))
            raise
        finally:
            self._lines.pop(request_id, None)
        return result_of(message, self._http.name)

    async def listen(self, uris: frozenset[str]) -> None:
        """The session's own stream is held anyway: wait until the session ends."""
        for uri in sorted(uris):
            with suppress(UpstreamRefused):
                await self.request("resources/subscribe", {"uri": uri}, None)
        await self._over.wait()

    async def close(self) -> None:
        """End the session."""
        await self._background.close()
        if self.alive and "Mcp-Session-Id" in self._session:
            with anyio.move_on_after(GOODBYE_WITHIN_S), suppress(UpstreamError):
                (await self._http.send("DELETE", self._session)).close()
        self._gone()

    def _gone(self) -> None:
        self.alive = False
        self._over.set()

    async def _tell(self, payload: bytes) -> None:
        """Post what has no answer: a notification, or the answer to a question."""
        with anyio.move_on_after(TELL_WITHIN_S):
            try:
                response = await self._http.send("POST", {**_POST, **self._session}, payload)
            except UpstreamError as error:
                logger.info("%s was not told: %s", self._http.name, error)
            else:
                self._http.finish(response)

    async def _finished(self, response: aiohttp.ClientResponse, request_id: int, line: Line | None) -> Json:
        """The answer in a response, which is let go of."""
        try:
            message = await self._answer(response, request_id, line)
        except BaseException:
            response.close()
            raise
        self._http.finish(response)
        return message

    async def _answer(self, response: aiohttp.ClientResponse, request_id: int, line: Line | None) -> Json:
        if response.status == 404 and self._session:
            self._gone()
            raise LinkGone
        if is_stream(response):
            return await self._resumed(response, request_id, line)
        message = await self._http.message(response)
        if response.status == 400 and self._session and _is_server_error(message):
            self._gone()  # how servers built on the older TypeScript kit say that they know no such session
            raise LinkGone
        return message

    async def _resumed(self, response: aiohttp.ClientResponse, request_id: int, line: Line | None) -> Json:
        """The answer in a stream, or in those that go on where it broke off (SEP-1699)."""
        tail, attempts = Tail(), 0
        message = await self._read(response, tail, request_id, line)
        while message is None:
            if tail.last_id is None or attempts >= RESUME_ATTEMPTS:
                raise UpstreamLost(f"`{self._http.name}` ended the stream without an answer")
            if line is not None:
                await line.caller.poll(round(tail.retry_s * 1000))
            await anyio.sleep(tail.retry_s)
            before = tail.last_id
            message = await self._go_on(tail, request_id, line)
            attempts = attempts + 1 if tail.last_id == before else 0
        return message

    async def _go_on(self, tail: Tail, request_id: int, line: Line | None) -> Json | None:
        try:
            response = await self._stream(tail)
        except UpstreamError:
            return None  # the request was sent long ago: not reaching the server now tells nothing about it
        try:
            return await self._read(response, tail, request_id, line)
        finally:
            response.close()

    async def _read(
        self, response: aiohttp.ClientResponse, tail: Tail, request_id: int, line: Line | None
    ) -> Json | None:
        messages = self._http.messages(response, tail)
        return await until_answered(messages, request_id, line, self._heard, self._tell)

    async def _stream(self, tail: Tail) -> aiohttp.ClientResponse:
        headers = {"Accept": "text/event-stream", **self._session}
        if tail.last_id is not None:
            headers["Last-Event-ID"] = tail.last_id
        response = await self._http.send("GET", headers)
        if response.status == 200 and is_stream(response):
            return response
        response.close()
        raise refusal(response.status, self._http.name)

    async def _hold_stream(self) -> None:
        """Hold the session's own stream for as long as the server offers one."""
        tail, failures, offered = Tail(), 0, False
        while failures <= RESUME_ATTEMPTS:
            try:
                response = await self._stream(tail)
            except UpstreamRefused:
                if not offered:
                    return  # nothing is told or asked outside of calls
                break
            except UpstreamError:
                failures += 1
            else:
                failures, offered = 0, True
                await self._follow(response, tail)
            await anyio.sleep(min(tail.retry_s * 2**failures, LONGEST_PAUSE_S))
        self._gone()

    async def _follow(self, response: aiohttp.ClientResponse, tail: Tail) -> None:
        try:
            async for message in self._http.messages(response, tail):
                if not isinstance(message.get("method"), str):
                    continue
                request_id = addressee(message, self._lines)
                line = self._lines.get(request_id) if request_id is not None else None
                if "id" in message and len(self._background) < MOST_QUESTIONS:
                    self._background.start(put_question(message, line, self._tell))
                elif "id" not in message:
                    await hear(message, request_id, line, self._heard)
        finally:
            response.close()


def _is_server_error(message: Json) -> bool:
    error = message.get("error")
    return isinstance(error, dict) and cast("Json", error).get("code") == SERVER_ERROR
