"""How does an open call reach its caller? Progress and log messages go out on its own stream, and so
do questions where they may be asked.
"""

from collections.abc import Mapping
from typing import Any, Final, Protocol, cast

import anyio

from broker.edges.mcp.capabilities import missing, needed
from broker.edges.mcp.stream import Reply
from broker.edges.mcp.switchboard import Switchboard
from broker.edges.mcp.wire import META_LOG_LEVEL, encode_notification, encode_request
from broker.errors import NotDeclared, UpstreamRefused
from broker.model import Json

LEVELS: Final = {
    name: rank
    for rank, name in enumerate(
        ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
    )
}
"""RFC 5424 severities, the least severe first."""

DEFAULT_LEGACY_LEVEL: Final = "info"
ANSWER_WITHIN_S: Final = 300.0
REQUEST_TIMED_OUT: Final = -32001


class Asks(Protocol):
    """A way to put a request to the client while its call is open."""

    async def __call__(self, method: str, params: Json) -> Json:
        """The client's response message."""
        ...


class OpenCaller:
    """The caller of one open call.

    Args:
        reply: the answer under way.
        capabilities: what the client declared.
        meta: `_meta` of the request: its progress token, and the level of log messages it wants.
        asks: how it is asked; None since 2026-07-28, where questions are results.
    """

    def __init__(self, reply: Reply, capabilities: Mapping[str, Any], meta: Json, asks: Asks | None) -> None:
        self._reply = reply
        self._capabilities = capabilities
        self._asks = asks
        self._progress_token: object = meta.get("progressToken")
        self._progress = float("-inf")
        self._least = LEVELS.get(str(meta.get(META_LOG_LEVEL)))

    @property
    def capabilities(self) -> Mapping[str, Any]:
        """What the client declared."""
        return self._capabilities

    @property
    def modern(self) -> bool:
        """Whether it speaks a revision without sessions."""
        return self._asks is None

    async def notify(self, method: str, params: Json) -> None:
        """Pass on progress that was asked for and log messages that are severe enough; drop all else."""
        match method:
            case "notifications/progress":
                told = self._progressed(params)
            case "notifications/message":
                told = params if self._wants(params) else None
            case "notifications/elicitation/complete" if not self.modern:
                told = params
            case _:
                told = None
        if told is not None:
            await self._reply.say(encode_notification(method, told))

    async def ask(self, method: str, params: Json) -> Json:
        """Put a request to the client on the open stream and wait for its result."""
        if lacks := missing(self._capabilities, needed(method, params)):
            raise NotDeclared(f"the caller did not declare what `{method}` needs", required=lacks)
        if self._asks is None or self._reply.gone:
            raise NotDeclared("the caller cannot be asked while its call is open", required={})
        response = await self._asks(method, params)
        if isinstance(result := response.get("result"), dict):
            return cast("Json", result)
        raise _refused(response.get("error"))

    async def deliver(self, event: Json) -> bool:  # noqa: ARG002 - the port's signature
        """Drop it: MCP has no streams of models. The whole answer is the result."""
        return not self._reply.gone

    async def poll(self, retry_ms: int) -> None:
        """End the stream and have the client fetch the rest, where it knows how to."""
        await self._reply.poll(retry_ms)

    def _progressed(self, params: Json) -> Json | None:
        """Under the caller's own token; what does not grow is dropped (MCP, progress)."""
        progress: Any = params.get("progress")
        if self._progress_token is None or type(progress) not in (int, float) or progress <= self._progress:
            return None
        self._progress = progress
        return {**params, "progressToken": self._progress_token}

    def _wants(self, params: Json) -> bool:
        return self._least is not None and LEVELS.get(str(params.get("level")), -1) >= self._least


class SessionAsks:
    """Asks on the stream of the open call; the answer is a request of its own (before 2026-07-28)."""

    def __init__(self, reply: Reply, switchboard: Switchboard, session: str) -> None:
        self._reply = reply
        self._switchboard = switchboard
        self._session = session

    async def __call__(self, method: str, params: Json) -> Json:
        """Send the request and wait for the response message.

        Raises:
            UpstreamRefused: no answer came in time.
        """
        with self._switchboard.ask(self._session) as question:
            await self._reply.say(encode_request(question.id, method, params))
            with anyio.move_on_after(ANSWER_WITHIN_S):
                return await question.answer()
        raise UpstreamRefused(
            f"the caller did not answer `{method}` within {ANSWER_WITHIN_S:g} s", rpc_code=REQUEST_TIMED_OUT
        )


def _refused(error: object) -> UpstreamRefused:
    fields = cast("Json", error) if isinstance(error, dict) else {}
    code = fields.get("code")
    message = fields.get("message")
    return UpstreamRefused(
        message if isinstance(message, str) else "the caller refused to answer",
        rpc_code=code if type(code) is int else -32603,
        data=fields.get("data"),
    )
