"""Does this retry belong to that question? Multi-round-trip requests (MCP 2026-07-28).

An upstream may answer with questions instead of a result; the client repeats its request with the
answers and the upstream's `requestState`. That state passes through the client's hands, so it is
sealed, and bound to who asked, what was asked, and with which arguments.
"""

import base64
import hashlib
from collections.abc import Mapping
from typing import Any, Final, NoReturn, cast

import orjson

from broker.edges.mcp.capabilities import missing, needed
from broker.edges.mcp.sessions import Sealer
from broker.edges.mcp.wire import INVALID_PARAMS, Rejected
from broker.errors import InvalidRequest, NotDeclared, UpstreamRefused
from broker.model import Json, Method, Principal

PURPOSE: Final = "mrtr"
LIFETIME_S: Final = 600

_ASKING: Final = frozenset({Method.CALL_TOOL, Method.GET_PROMPT, Method.READ_RESOURCE})
_OF_THE_ROUND: Final = ("requestState", "inputResponses")


class Rounds:
    """Seals the state of a question, and opens it when the answers come."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def resume(self, principal: Principal, method: Method, params: Json) -> Json:
        """The parameters with the upstream's own `requestState` put back.

        Raises:
            Rejected: the answers have no shape, or the state is not of this call.
        """
        if not ("requestState" in params or "inputResponses" in params):
            return params
        _check_answers(params)
        if "requestState" not in params:
            return params
        try:
            claims = self._sealer.open(PURPOSE, params["requestState"])
        except InvalidRequest as error:
            raise Rejected(INVALID_PARAMS, error.message) from None
        if claims["for"] != _binding(principal, method, params):
            raise Rejected(INVALID_PARAMS, "this `requestState` belongs to another call")
        return {**params, "requestState": claims["state"]}

    def pause(
        self, principal: Principal, method: Method, params: Json, body: Json, declared: Mapping[str, Any]
    ) -> Json:
        """An upstream's questions as the caller may get them.

        Raises:
            NotDeclared: a question needs a capability that the caller did not declare.
            UpstreamRefused: this method has no rounds.
        """
        if method not in _ASKING:
            raise UpstreamRefused("the upstream asked back where that is not allowed")
        _check_questions(body, declared)
        if "requestState" not in body:
            return body
        claims: Json = {"for": _binding(principal, method, params), "state": body["requestState"]}
        return {**body, "requestState": self._sealer.seal(PURPOSE, claims, LIFETIME_S)}


def refuse_rounds(body: Json, declared: Mapping[str, Any]) -> NoReturn:
    """Refuse an upstream's questions on behalf of a caller of a revision without rounds.

    Raises:
        NotDeclared: always.
    """
    _check_questions(body, declared)
    raise NotDeclared("this is asked in rounds, which only begin with 2026-07-28", required={})


def _check_questions(body: Json, declared: Mapping[str, Any]) -> None:
    """Refuse to relay a question that the caller did not say it can answer.

    Raises:
        NotDeclared: with everything that is missing.
    """
    questions = body.get("inputRequests")
    lacks: Json = {}
    for question in cast("Json", questions).values() if isinstance(questions, dict) else ():
        asked: Json = cast("Json", question) if isinstance(question, dict) else {}
        params = asked.get("params")
        required = needed(str(asked.get("method")), cast("Json", params) if isinstance(params, dict) else {})
        lacks |= missing(declared, required)
    if lacks:
        hint = "declare the capability, or use something that asks nothing"
        raise NotDeclared("this asks what the caller did not say it can answer", required=lacks, hint=hint)


def _check_answers(params: Json) -> None:
    answers = params.get("inputResponses", {})
    if not isinstance(answers, dict) or not all(isinstance(a, dict) for a in cast("Json", answers).values()):
        raise Rejected(INVALID_PARAMS, "`inputResponses` is an object of objects, one for each question")
    if not isinstance(params.get("requestState", ""), str):
        raise Rejected(INVALID_PARAMS, "`requestState` is the text that came with the questions")


def _binding(principal: Principal, method: Method, params: Json) -> str:
    """Who asked, what, with which arguments: the same on a retry, whatever the round adds."""
    asked = {key: value for key, value in params.items() if key not in _OF_THE_ROUND}
    chain = [actor.id for actor in principal.actors]
    data = orjson.dumps([principal.subject, chain, method, asked], option=orjson.OPT_SORT_KEYS)
    return base64.b64encode(hashlib.sha256(data).digest()).decode()
