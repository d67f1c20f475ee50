"""How is a stream passed on, metered, and ended? What has been used is known at every moment."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, cast

import anyio
import orjson

from broker.connector import Assembly, Format, Json, Line, Method, UpstreamLost, Usage

DRAIN_S = 10.0
"""Seconds for which a stream that nobody listens to any more is read on, for what it says of its usage."""
_END = frozenset({"message_stop", "response.completed", "response.incomplete", "response.failed"})


def with_usage(method: Method, params: Json) -> Json:
    """The request, made to say at the end of its stream what it has used."""
    if method is not Method.CHAT or not params.get("stream"):
        return params
    return {**params, "stream_options": {**(params.get("stream_options") or {}), "include_usage": True}}


class Relay:
    """One stream on its way from a provider to the caller.

    Args:
        form: the wire format.
        params: the request, as the caller made it.
        line: the way back.
    """

    def __init__(self, form: Format, params: Json, line: Line) -> None:
        self._form = form
        self._line = line
        self._assembly: Assembly = form.assembly()
        options = params.get("stream_options")
        self._shows_usage = isinstance(options, dict) and cast("Json", options).get("include_usage") is True
        limit = form.limit(params)
        self._most = None if limit is None else limit * form.answers(params)
        self._unknown = Usage(read=len(orjson.dumps(params)), wrote=0, exact=False)
        """As long as the provider has not said it: no token is shorter than a byte."""

    @property
    def usage(self) -> Usage:
        """What has been used so far."""
        known = self._assembly.usage
        if known is None:
            return replace(self._unknown, wrote=self._assembly.wrote)
        return known if self._assembly.ended else replace(known, exact=False)

    async def run(self, events: AsyncIterator[Json]) -> Json:
        """Pass all on; returns the whole answer.

        A stream that goes on beyond its limit is ended there. One that nobody listens to any more is
        read on for a while, for what it says of its usage.

        Raises:
            UpstreamLost: the provider ended it with an error, or without an end. Blocked: a guard did.
        """
        self._line.meter.usage = self.usage
        cut = False
        with anyio.CancelScope() as scope:
            async for event in events:
                if (error := event.get("error")) and event.get("type") in (None, "error"):
                    raise _broke(error)
                self._assembly.add(event)
                self._line.meter.usage = self.usage
                listens = await self._pass_on(event)
                if not listens and scope.deadline == float("inf"):
                    scope.deadline = anyio.current_time() + DRAIN_S
                if self._most is not None and self._assembly.wrote > self._most:
                    cut = True
                    break
        if cut or (scope.cancelled_caught and not self._assembly.ended):
            usage = self.usage
            for ending in self._assembly.cut():
                await self._line.caller.deliver(ending)
            self._line.meter.usage = usage
        elif not self._assembly.ended:
            raise UpstreamLost("the answer broke off before its end")
        return self._assembly.body()

    async def _pass_on(self, event: Json) -> bool:
        if event.get("type") in _END:
            return True  # the edge ends the stream, when the outcome is recorded
        if self._form.method is Method.CHAT and not self._shows_usage and "usage" in event:
            if not event.get("choices"):
                return True
            event = {key: value for key, value in event.items() if key != "usage"}
        return await self._line.caller.deliver(event)


def _broke(error: object) -> UpstreamLost:
    message: Any = cast("Json", error).get("message") if isinstance(error, dict) else error
    return UpstreamLost(f"the answer was broken off: {str(message)[:500]}")
