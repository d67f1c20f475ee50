"""How does a host that speaks only stdio reach the broker? Lines go out over HTTP, answers come back.

Messages are passed on byte for byte in both directions; what is read of them is only what HTTP needs:
method, id and revision. Both eras work: requests that carry their revision in `_meta` (2026-07-28)
and sessions that begin with `initialize` (2025-11-25 and before). Every request gets exactly one
answer, if need be an error of the bridge's own; a cancelled one gets none.
"""

from collections.abc import AsyncIterable, Awaitable, Callable
from dataclasses import dataclass, field
from typing import cast

import aiohttp
import anyio
import anyio.abc
import orjson

from broker.edges.cli.remote.exchange import Exchange, messages
from broker.errors import BrokerError
from broker.messages.events import Position
from broker.messages.headers import ParameterHeaders, mirrored, modern_version, parameter_headers
from broker.model import Json

PARSE_ERROR, INVALID_REQUEST, INTERNAL_ERROR, HEADER_MISMATCH = -32700, -32600, -32603, -32020
GRACE_S = 1.5
"""How long calls may go on after the host has closed our input; hosts kill a server after 2 s."""

Write = Callable[[bytes], Awaitable[None]]
Id = str | int


@dataclass(slots=True)
class _Request:
    """A request that has not been answered."""

    line: bytes
    message: Json
    id: Id
    version: str | None
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    answered: bool = False

    @property
    def method(self) -> str:
        return str(self.message["method"])


class Bridge:
    """One host's connection to one broker.

    Args:
        exchange: the HTTP side.
        write: hands one message to the host.
        complain: tells the operator what goes wrong.
    """

    def __init__(self, exchange: Exchange, write: Write, complain: Callable[[str], None]) -> None:
        self._exchange = exchange
        self._write_line = write
        self._complain = complain
        self._open: dict[Id, _Request] = {}
        self._parameters: dict[str, ParameterHeaders] = {}

    async def run(self, lines: AsyncIterable[bytes]) -> None:
        """Pass messages both ways until the host closes its side."""
        async with anyio.create_task_group() as background:
            async with anyio.create_task_group() as requests:
                async for line in lines:
                    await self._accept(line.strip(), requests, background)
                for request in self._open.values():
                    if request.method == "subscriptions/listen":
                        request.scope.cancel()
                requests.cancel_scope.deadline = anyio.current_time() + GRACE_S
            background.cancel_scope.cancel()
        await self._exchange.close()

    async def _accept(
        self, line: bytes, requests: anyio.abc.TaskGroup, background: anyio.abc.TaskGroup
    ) -> None:
        """Take one line from the host. Only requests run beside each other; all else keeps its order."""
        if not line:
            return
        try:
            message: object = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            await self._error(None, PARSE_ERROR, f"not JSON: {error}")
            return
        if not isinstance(message, dict):
            await self._error(None, INVALID_REQUEST, "one JSON-RPC message per line; batches are not taken")
            return
        message = cast("Json", message)
        if "method" in message and isinstance(message.get("id"), str | int):
            request = _Request(line, message, message["id"], modern_version(message))
            self._open[request.id] = request
            if request.method == "initialize":
                await self._ask(request)
            else:
                requests.start_soon(self._ask, request)
            return
        if message.get("method") == "notifications/cancelled" and self._hung_up(message):
            return
        await self._tell(line)
        if message.get("method") == "notifications/initialized":
            background.start_soon(self._listen)

    def _hung_up(self, message: Json) -> bool:
        """Cancel a request. Without a session that means to end its response stream: nothing else is sent."""
        params = message.get("params")
        request = (
            self._open.get(cast("Json", params).get("requestId", "")) if isinstance(params, dict) else None
        )
        if request is None:
            return False
        request.answered = True
        if request.version is not None:
            request.scope.cancel()
        return request.version is not None

    async def _ask(self, request: _Request) -> None:
        """Put one request to the broker and see to it that it is answered."""
        try:
            with request.scope:
                await self._exchanged(request)
                if not request.answered:
                    await self._fail(request, "the broker ended the connection without an answer")
        except BrokerError as error:
            await self._fail(request, error.message, error.as_object())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            await self._fail(request, f"the connection to the broker failed: {error}")
        finally:
            self._open.pop(request.id, None)

    async def _exchanged(self, request: _Request, *, again: bool = False) -> None:
        position = Position()
        async with self._exchange.posted(request.line, self._headers(request)) as response:
            async for data in messages(response, position):
                answer = _answer(data)
                if answer is None:
                    await self._write(data)
                elif not again and _code(answer) == HEADER_MISMATCH and request.method == "tools/call":
                    break
                else:
                    if request.method == "initialize" and isinstance(answer.get("result"), dict):
                        self._exchange.opened(request.line, response, answer["result"])
                    await self._answer(request, response.status, data, answer)
            else:
                if not response.ok and not request.answered:
                    await self._fail(request, f"the broker answered HTTP {response.status}")
                if not request.answered and position.last_id:
                    await self._fetch_rest(request, position)
                return
        await self._learn_parameters(request)
        await self._exchanged(request, again=True)

    async def _fetch_rest(self, request: _Request, position: Position) -> None:
        """Come back for an answer whose stream the broker has ended early."""
        async for data in self._exchange.resumed(position):
            answer = _answer(data)
            if answer is None:
                await self._write(data)
                continue
            await self._answer(request, 200, data, answer)
            return

    async def _answer(self, request: _Request, status: int, data: bytes, answer: Json) -> None:
        if request.answered:
            return
        if "jsonrpc" not in answer:
            await self._fail(request, f"the broker answered HTTP {status}", answer)
            return
        request.answered = True
        await self._write(
            data if answer.get("id") == request.id else orjson.dumps({**answer, "id": request.id})
        )

    def _headers(self, request: _Request) -> dict[str, str] | None:
        if request.version is None:
            return None
        params = cast("Json", request.message["params"])
        return mirrored(request.message, request.version, self._parameters.get(str(params.get("name")), {}))

    async def _learn_parameters(self, request: _Request) -> None:
        """Some tools want arguments repeated in headers. Stdio hosts do not do that, so look it up."""
        envelope = {"_meta": cast("Json", request.message["params"])["_meta"]}
        cursor: object = None
        while True:
            params = envelope | ({"cursor": cursor} if cursor else {})
            message: Json = {"jsonrpc": "2.0", "id": 0, "method": "tools/list", "params": params}
            page = _Request(orjson.dumps(message), message, 0, request.version)
            async with self._exchange.posted(page.line, self._headers(page)) as response:
                answers = [_answer(data) async for data in messages(response)]
            result = cast("Json", (answers[-1] or {} if answers else {}).get("result") or {})
            for tool in cast("list[Json]", result.get("tools", [])):
                self._parameters[str(tool.get("name"))] = parameter_headers(tool.get("inputSchema"))
            cursor = result.get("nextCursor")
            if not cursor:
                return

    async def _tell(self, line: bytes) -> None:
        """Pass on a notification, or the host's answer to a question of the broker."""
        try:
            async with self._exchange.posted(line) as response:
                if not response.ok:
                    self._complain(f"the broker answered HTTP {response.status} to a notification")
        except BrokerError as error:
            self._complain(error.message)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._complain(f"the connection to the broker failed: {error}")

    async def _listen(self) -> None:
        try:
            async for data in self._exchange.listen():
                await self._write(data)
        except BrokerError as error:
            self._complain(error.message)

    async def _fail(self, request: _Request, message: str, data: Json | None = None) -> None:
        self._complain(message)
        if not request.answered:
            request.answered = True
            await self._error(request.id, INTERNAL_ERROR, message, data)

    async def _error(self, request_id: Id | None, code: int, message: str, data: Json | None = None) -> None:
        error = {"code": code, "message": message} | ({"data": data} if data else {})
        await self._write(orjson.dumps({"jsonrpc": "2.0", "id": request_id, "error": error}))

    async def _write(self, data: bytes) -> None:
        # Inside JSON a line break can only stand between tokens.
        await self._write_line(data.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n")


def _answer(data: bytes) -> Json | None:
    """A message, if it ends the request; None for what the broker says meanwhile."""
    try:
        message: object = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(message, dict):
        return {}
    message = cast("Json", message)
    return None if "method" in message else message


def _code(answer: Json) -> object:
    error = answer.get("error")
    return cast("Json", error).get("code") if isinstance(error, dict) else None
