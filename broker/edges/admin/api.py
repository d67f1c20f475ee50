"""Who asks, may they, and what for? Every request to the operator API takes this one way.

    authenticate → find the operation → check the right → check the shapes → serve

Whoever has no valid token learns nothing, not even what there is. What an operator may do is decided on
the operation that was found, never on a path as text. There are no cookies: a page of another site can
make a browser send a request, but not with a token in it.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from broker.edges.admin.mistakes import checked
from broker.edges.admin.openapi import document
from broker.edges.admin.operation import PREFIX, AnyOperation, Asked
from broker.edges.admin.shapes import Nothing, Query, Shape
from broker.edges.http import JsonResponse, TooLarge, bearer, peer_address, read_body
from broker.edges.translate import wire
from broker.errors import (
    BrokerError,
    Denied,
    InvalidRequest,
    StorageUnavailable,
    Unauthenticated,
    UnknownTarget,
)
from broker.identity import strict_json
from broker.identity.operators import Operator, OperatorId, OperatorTokens
from broker.model import Json
from broker.operators import Operators

logger = logging.getLogger("broker.admin")

BODY_LIMIT_BYTES = 64 << 10
MOST_PARAMETERS = 32
DOCUMENT = "/openapi.json"

NOT_STORED = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
CHALLENGE = {"www-authenticate": 'Bearer realm="operators"'}


class TooManyAttempts(Unauthenticated):
    """An operator's name was presented with wrong tokens too often from one address (HTTP 429)."""

    code = "too_many_attempts"

    def __init__(self, wait_s: int) -> None:
        super().__init__(f"too many failed attempts, wait {wait_s} s")
        self.wait_s = wait_s


class MethodNotAllowed(InvalidRequest):
    """There is such a path, but not for this method (HTTP 405)."""

    code = "method_not_allowed"

    def __init__(self, method: str, allowed: Sequence[str] = ()) -> None:
        super().__init__(f"`{method[:20]}` is not for this path", hint=f"use {' or '.join(allowed)}")
        self.allowed = allowed


@dataclass(frozen=True, slots=True)
class _Found:
    operation: AnyOperation
    path: Mapping[str, str]


class AdminApi:
    """ASGI application of the operator API.

    Args:
        operations: what it offers.
        tokens: authenticates operators.
        operators: where refused attempts are recorded.
    """

    def __init__(
        self, operations: Sequence[AnyOperation], tokens: OperatorTokens, operators: Operators
    ) -> None:
        self._operations = [(operation.pattern, operation) for operation in operations]
        self._tokens = tokens
        self._operators = operators
        self._document = document(operations)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            response = await self._respond(scope, receive)
        except BrokerError as error:
            response = _refused(error)
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    async def _respond(self, scope: Scope, receive: Receive) -> JsonResponse:
        operator = await self._admit(scope)
        if isinstance(operator, JsonResponse):
            return operator
        path = _path(scope)
        if path == DOCUMENT:
            _check_method(scope, ["GET"])
            return JsonResponse(self._document, 200, NOT_STORED)
        found = self._find(scope, path)
        _check_right(operator, found.operation)
        query: Query = checked(found.operation.query, _parameters(scope), "the query")
        body: Shape = await _body(found.operation, scope, receive)
        answer = await found.operation.serve(Asked(operator, found.path, query, body))
        return JsonResponse(answer.model_dump(mode="json"), found.operation.status, NOT_STORED)

    async def _admit(self, scope: Scope) -> Operator | JsonResponse:
        """The operator who asks, or the one refusal of everybody else."""
        address = peer_address(scope)
        admission = await self._tokens.admit(bearer(scope) or "", address)
        if admission.retry_after_s:
            raise TooManyAttempts(admission.retry_after_s)
        if admission.operator is not None:
            return admission.operator
        hint = "`broker operator add` on the machine of the broker prints a token"
        response = _refused(Unauthenticated("no valid token of an operator", hint=hint))
        if admission.named is not None:
            # After the response: what it takes to record must not tell which operators exist.
            response.background = BackgroundTask(self._record, admission.named, address)
        return response

    async def _record(self, operator: OperatorId, address: str) -> None:
        try:
            await self._operators.refused(operator, address=address)
        except StorageUnavailable as failure:
            logger.warning(
                "a refused token of the operator %s was not recorded: %s", operator, failure.message
            )

    def _find(self, scope: Scope, path: str) -> _Found:
        matches = [
            (m, operation) for pattern, operation in self._operations if (m := pattern.fullmatch(path))
        ]
        if not matches:
            raise UnknownTarget("there is no such path", hint=f"{PREFIX}{DOCUMENT} lists all")
        for match, operation in matches:
            if operation.method == scope["method"]:
                return _Found(operation, match.groupdict())
        raise MethodNotAllowed(scope["method"], sorted(operation.method for _, operation in matches))


def _path(scope: Scope) -> str:
    """The path below the prefix. No name needs percent-encoding, so nothing that has one is there."""
    if b"%" in scope.get("raw_path", b"").partition(b"?")[0]:
        raise UnknownTarget("there is no such path", hint="no path of this API is percent-encoded")
    return scope["path"].removeprefix(PREFIX)


def _check_method(scope: Scope, allowed: Sequence[str]) -> None:
    if scope["method"] not in allowed:
        raise MethodNotAllowed(scope["method"], allowed)


def _check_right(operator: Operator, operation: AnyOperation) -> None:
    if operation.right is not None and operation.right not in operator.rights:
        raise Denied(
            f"`{operator.id}` lacks the right `{operation.right}`",
            hint="`broker operator list` shows who has which rights",
        )


def _parameters(scope: Scope) -> Json:
    """The parameters of the URL, each at most once."""
    text = scope["query_string"]
    try:
        pairs = parse_qsl(
            text.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MOST_PARAMETERS
        )
    except ValueError as error:
        raise InvalidRequest("the query cannot be read") from error
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InvalidRequest("the query has a parameter twice")
    return found


async def _body(operation: AnyOperation, scope: Scope, receive: Receive) -> Shape:
    content = await read_body(scope, receive, BODY_LIMIT_BYTES)
    if not operation.takes_body:
        if content:
            raise InvalidRequest("this takes no body")
        return Nothing()
    types = [value for name, value in scope["headers"] if name == b"content-type"]
    if len(types) != 1 or types[0].partition(b";")[0].strip().lower() != b"application/json":
        raise InvalidRequest("the body has to be application/json")
    return checked(operation.body, _json(content), "the body")


def _json(content: bytes) -> dict[str, Any]:
    try:
        return strict_json.loads(content)
    except ValueError as error:
        raise InvalidRequest(f"the body is no JSON object: {error}"[:300]) from error


def _refused(error: BrokerError) -> JsonResponse:
    headers, status = dict(NOT_STORED), wire(error).http
    match error:
        case TooManyAttempts():
            status = 429
            headers["retry-after"] = str(error.wait_s)
        case Unauthenticated():
            headers |= CHALLENGE
        case MethodNotAllowed():
            status = 405
            headers["allow"] = ", ".join(error.allowed)
        case TooLarge():
            status = 413
        case _:
            pass
    return JsonResponse(error.as_object(), status, headers)
