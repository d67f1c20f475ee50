"""What does the upstream say while a request is open, and who hears it? Progress, questions, the answer."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, cast

from broker.connector import BrokerError, Json, Line, NotDeclared, UpstreamRefused
from connectors.mcp_upstream.background import Background
from connectors.mcp_upstream.wire import INTERNAL_ERROR, METHOD_NOT_FOUND, error_bytes, result_bytes

Heard = Callable[[str, Json], None]
"""Told every notification that is about the server rather than about one call."""
Reply = Callable[[bytes], Awaitable[None]]
"""Sends the answer to a question of the upstream back to it."""

CHANGES = frozenset(
    {
        "notifications/tools/list_changed",
        "notifications/prompts/list_changed",
        "notifications/resources/list_changed",
        "notifications/resources/updated",
    }
)
QUESTIONS = frozenset({"sampling/createMessage", "elicitation/create", "roots/list"})
MOST_QUESTIONS = 16
_LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")


async def until_answered(
    messages: AsyncIterator[Json], request_id: int, line: Line | None, heard: Heard, reply: Reply | None
) -> Json | None:
    """Read the messages of one request until its response, and give that; None if it never comes.

    Args:
        messages: what the upstream sends that belongs to this request.
        request_id: the request's id, which is its progress token as well.
        line: the open call; None if the broker itself asks.
        heard: told what concerns the whole server.
        reply: sends answers to the upstream; None where it may not ask.
    """
    questions = Background()
    try:
        async for message in messages:
            if not isinstance(message.get("method"), str):
                answered = message.get("id")
                if answered == request_id or (answered is None and "error" in message):
                    return message
            elif "id" not in message:
                await hear(message, request_id, line, heard)
            elif reply is not None and len(questions) < MOST_QUESTIONS:
                questions.start(put_question(message, line, reply))
        return None
    finally:
        if questions:
            await questions.close()


async def put_question(message: Json, line: Line | None, reply: Reply) -> None:
    """Pass a request of the upstream on to the caller, and the caller's answer back."""
    await reply(await _answer(message["id"], message["method"], _params(message), line))


async def _answer(question_id: Any, method: str, params: Json, line: Line | None) -> bytes:
    if method == "ping":
        return result_bytes(question_id, {})
    if method not in QUESTIONS:
        return error_bytes(question_id, METHOD_NOT_FOUND, "there is no such method here")
    if line is None:
        return error_bytes(
            question_id, INTERNAL_ERROR, "this belongs to no one caller, so nobody can be asked"
        )
    try:
        return result_bytes(question_id, await line.caller.ask(method, params))
    except BrokerError as error:
        return error_bytes(question_id, *_unanswered(error, method))


def _unanswered(error: BrokerError, method: str) -> tuple[int, str, object]:
    """Code, message and data for the upstream: the caller's own error, or as little as possible."""
    match error:
        case UpstreamRefused():
            return error.rpc_code, error.message, error.data
        case NotDeclared():
            return METHOD_NOT_FOUND, f"the caller does not support {method}", None
        case _:
            return INTERNAL_ERROR, "this must not be asked or answered", None


async def hear(message: Json, request_id: int | None, line: Line | None, heard: Heard) -> None:
    """Pass a notification on to whom it is for; what is for nobody is dropped."""
    method, params = message["method"], _params(message)
    if method in CHANGES:
        heard(method, params)
    elif line is None:
        return
    elif method == "notifications/progress":
        if line.wants_progress and params.get("progressToken") == request_id:
            kept = {key: params[key] for key in ("progress", "total", "message") if key in params}
            await line.caller.notify(method, kept)
    elif method == "notifications/message" and _wants(line, params.get("level")):
        await line.caller.notify(method, params)


def addressee(message: Json, lines: Mapping[int, Line]) -> int | None:
    """Which open request a message belongs to that came on a channel shared by several; None: unclear.

    Progress names its request by the token. Anything else is only attributed if there is exactly
    one call it can belong to: otherwise one agent's question could reach another.

    Args:
        message: a notification or a request of the upstream.
        lines: the open calls by request id.
    """
    if message["method"] == "notifications/progress":
        token = _params(message).get("progressToken")
        return token if isinstance(token, int) and token in lines else None
    return next(iter(lines)) if len(lines) == 1 else None


def _params(message: Json) -> Json:
    params = message.get("params")
    return cast("Json", params) if isinstance(params, dict) else {}


def _wants(line: Line, level: Any) -> bool:
    """A modern caller hears the levels it asked for; what a session's caller hears, its edge decides."""
    if line.log_level is None:
        return not line.caller.modern
    if level not in _LEVELS or line.log_level not in _LEVELS:
        return False
    return _LEVELS.index(level) >= _LEVELS.index(line.log_level)
