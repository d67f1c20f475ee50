"""How does a caller with a session use an upstream without? The upstream's questions are put to it in place.

An upstream of revision 2026-07-28 does not ask: it answers `input_required` with its questions, and
wants the request repeated with the answers. A caller of that revision gets to do so itself.
"""

from collections.abc import Awaitable, Callable
from typing import Any, cast

import anyio

from broker.connector import Json, Line, UpstreamLost
from connectors.mcp_upstream.dialogue import MOST_QUESTIONS, QUESTIONS

MOST_ROUNDS = 10
_PAUSE_S = 0.1


async def ask_until_complete(send: Callable[[Json], Awaitable[Json]], params: Json, line: Line) -> Json:
    """Send a request, put what the upstream asks to the caller, and repeat until it is complete.

    Args:
        send: sends the request with these parameters and gives its result.
        params: the caller's own parameters.
        line: the open call.

    Raises:
        NotDeclared: the caller cannot be asked this. UpstreamRefused: it answered with an error.
        UpstreamLost: the upstream asks without end, or something that nobody can answer.
    """
    result = await send(params)
    for _ in range(MOST_ROUNDS):
        if result.get("resultType") != "input_required":
            return result
        answers = await _answers(result.get("inputRequests"), line)
        repeated = dict(params)
        if answers:
            repeated["inputResponses"] = answers
        else:
            await anyio.sleep(_PAUSE_S)
        if "requestState" in result:
            repeated["requestState"] = result["requestState"]
        result = await send(repeated)
    raise UpstreamLost(f"the upstream asked for input more than {MOST_ROUNDS} times")


async def _answers(requests: Any, line: Line) -> Json:
    questions = cast("Json", requests) if isinstance(requests, dict) else {}
    if len(questions) > MOST_QUESTIONS:
        raise UpstreamLost(f"the upstream asked more than {MOST_QUESTIONS} questions at once")
    answers: Json = {}
    for key, question in questions.items():
        fields = cast("Json", question) if isinstance(question, dict) else {}
        method, params = fields.get("method"), fields.get("params")
        if not isinstance(method, str) or method not in QUESTIONS:
            raise UpstreamLost("the upstream asked something that nobody here can answer")
        answers[key] = await line.caller.ask(method, cast("Json", params) if isinstance(params, dict) else {})
    return answers
