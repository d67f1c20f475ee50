"""How does an answer reach the client? Whole, or as a stream that ends as its format says it ends."""

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from typing import Any, Final

import anyio
import orjson
from starlette.types import Receive, Send

from broker.edges.models import told
from broker.edges.models.events import KEEP_ALIVE
from broker.edges.models.failures import Failure
from broker.edges.models.formats import Format
from broker.errors import BrokerError, NotDeclared
from broker.model import CLAMPED, CallId, Json
from broker.pipeline import Released

logger = logging.getLogger("broker.edges.models")

KEEP_ALIVE_S: Final = 15.0
"""Proxies close streams on which nothing moves for half a minute."""

_STREAM: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]


async def respond(send: Send, status: int, body: Json, headers: told.Headers) -> None:
    """One whole response."""
    content = orjson.dumps(body)
    fields = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": content})


async def refuse(send: Send, failure: Failure, headers: told.Headers) -> None:
    """One error, with what the SDK should do about it."""
    again = b"true" if failure.again else b"false"
    fields = [*headers, (b"x-should-retry", again)]
    if failure.retry_after_s is not None:
        fields.append((b"retry-after", b"%d" % failure.retry_after_s))
    await respond(send, failure.status, failure.body, fields)


class Reply:
    """The way back to a client of a model while its call is open (`broker.model.Caller`), and the answer.

    Args:
        receive, send: the ASGI channels; the body has been read.
        form: the format that is spoken.
        call: which call it is.
        asked: the body of the request.
    """

    def __init__(self, receive: Receive, send: Send, form: Format, call: CallId, asked: Json) -> None:
        self._receive = receive
        self._send = send
        self._form = form
        self._call = call
        self._asked = asked
        self._streams = asked.get("stream") is True
        self._scope = anyio.CancelScope()
        self._writing = anyio.Lock(fast_acquire=True)
        self._begun = False
        self._told = 0
        self._most: int | None = None
        self._gone = False

    @property
    def capabilities(self) -> Mapping[str, Any]:
        """None: the formats of models have no way to ask back."""
        return {}

    @property
    def modern(self) -> bool:
        """No: a question could not be the result."""
        return False

    async def notify(self, method: str, params: Json) -> None:
        """Keep how much the model may write; there is no place for other notifications."""
        if method == CLAMPED:
            self._most = params["max_tokens"]

    async def ask(self, method: str, params: Json) -> Json:  # noqa: ARG002 - the port's signature
        """Refuse.

        Raises:
            NotDeclared: always.
        """
        raise NotDeclared(f"a client of models cannot be asked `{method}`", required={})

    async def poll(self, retry_ms: int) -> None:
        """Nothing: these formats cannot come back for the rest."""

    async def deliver(self, event: Json) -> bool:
        """Send one event, if a stream was asked for and somebody still reads it."""
        if self._streams and not self._gone:
            await self._write(self._form.frame(event))
            self._told += 1
        return not self._gone

    async def serve(self, work: Awaitable[Released]) -> None:
        """Wait for the outcome and answer with it. If the client goes away, the work is cancelled."""
        attendant = asyncio.get_running_loop().create_task(self._attend())
        try:
            with self._scope:
                await self._answer(work)
        finally:
            attendant.cancel()
            await asyncio.wait([attendant])

    async def _answer(self, work: Awaitable[Released]) -> None:
        try:
            released = await work
        except BrokerError as error:
            await self._fail(self._form.failure(error), error)
        except Exception:
            logger.exception("call %s failed", self._call)
            error = BrokerError("the broker failed while it did this", call_id=self._call)
            await self._fail(self._form.failure(error), error)
        else:
            await self._finish(released)

    async def _finish(self, released: Released) -> None:
        outcome = told.outcome(released)
        if not self._streams:
            fields = [*told.identity(self._call), *told.headers(outcome)]
            await respond(self._send, 200, released.body, fields)
            return
        if not self._told:  # it was held back until it was whole
            for event in self._form.retold(released.body, self._asked):
                await self.deliver(event)
        ending = told.comment(outcome) + self._form.ending(released.body, self._told)
        await self._write(ending, more=False)

    async def _fail(self, failure: Failure, error: BrokerError) -> None:
        if self._begun:
            await self._write(self._form.broken(failure, self._told), more=False)
            return
        outcome: Json = {"cost_micro_usd": error.cost_micro_usd}
        if error.receipt is not None:
            outcome["receipt"] = dict(error.receipt)
        await refuse(self._send, failure, [*told.identity(self._call), *told.headers(outcome)])

    async def _attend(self) -> None:
        """Beside the work: notice when the client goes away, and keep a stream alive."""
        while True:
            with anyio.move_on_after(KEEP_ALIVE_S):
                while (await self._receive())["type"] != "http.disconnect":
                    pass
                self._gone = True
                self._scope.cancel()
                return
            if self._streams:
                await self._write(KEEP_ALIVE)

    async def _write(self, data: bytes, *, more: bool = True) -> None:
        async with self._writing:
            if not self._begun:
                self._begun = True
                fields = [*_STREAM, *told.identity(self._call), *told.limited(self._most)]
                await self._send({"type": "http.response.start", "status": 200, "headers": fields})
            await self._send({"type": "http.response.body", "body": data, "more_body": more})
