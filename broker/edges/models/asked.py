"""What does a request for a model ask? Its token, its body and the headers that speak to the broker."""

import re
from typing import Final, cast

import orjson
from starlette.types import Receive, Scope

from broker.edges.http import bearer, read_body
from broker.edges.nesting import DEEPEST, too_deep
from broker.errors import InvalidRequest, Unauthenticated
from broker.model import BETAS, DELEGATION, TASK, Json

HEADERS: Final = {
    b"toolbroker-delegation": DELEGATION,
    b"toolbroker-parent-call": "io.toolbroker/parent_call",
    b"toolbroker-task": TASK,
    b"anthropic-beta": BETAS,
    b"openai-beta": BETAS,
    b"traceparent": "traceparent",
    b"tracestate": "tracestate",
}
"""What MCP clients say in `_meta`, clients of models say in these headers."""

LONGEST_NAME: Final = 256

_PLAIN = re.compile(rb"[\x20-\x7e]*")


def presented(scope: Scope) -> str | None:
    """The token of a request as the providers' SDKs send it: as a bearer token, or as `x-api-key`.

    Raises:
        Unauthenticated: there are two of them, and they differ.
    """
    keys = {value.strip(b" \t") for name, value in scope["headers"] if name == b"x-api-key"}
    if not keys:
        return bearer(scope)
    authorized = any(name == b"authorization" for name, _ in scope["headers"])
    token = keys.pop().decode("latin-1")
    if keys or (authorized and bearer(scope) != token):
        raise Unauthenticated(
            "the request presents two credentials", hint="send the access token as the API key, nothing else"
        )
    return token or None


def meta(scope: Scope) -> Json:
    """What the headers of a request say to the broker, under the keys that `_meta` has for it.

    Raises:
        InvalidRequest: one of them is there twice, or is not plain ASCII.
    """
    said: Json = {}
    for name, value in scope["headers"]:
        key = HEADERS.get(name)
        if key is None:
            continue
        if key in said or not _PLAIN.fullmatch(value):
            raise InvalidRequest(f"the header {name.decode().title()} has to be there once, in plain ASCII")
        said[key] = value.decode("ascii")
    return said


async def read(scope: Scope, receive: Receive, limit: int) -> Json:
    """The body of a request: one JSON object that names a model.

    Args:
        scope: the request.
        receive: its ASGI channel.
        limit: the most bytes that are read.

    Raises:
        InvalidRequest: it is something else. TooLarge: it is larger.
        ClientDisconnect: the client went away meanwhile.
    """
    body = await read_body(scope, receive, limit)
    if not _is_json(scope):
        raise InvalidRequest("the Content-Type has to be application/json")
    try:
        decoded = cast("object", orjson.loads(body))
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"the body is not JSON: {error.msg}") from None
    if not isinstance(decoded, dict):
        raise InvalidRequest("the body has to be a JSON object")
    asked = cast("Json", decoded)
    if too_deep(body, asked):
        raise InvalidRequest(f"the body is nested more than {DEEPEST} deep")
    name = asked.get("model")
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
        raise InvalidRequest("`model` has to name a model", hint="`GET /v1/models` lists those you may use")
    if type(asked.get("stream", False)) is not bool and asked["stream"] is not None:
        raise InvalidRequest("`stream` is true or false")
    if not isinstance(asked.get("stream_options"), dict | None):
        raise InvalidRequest("`stream_options` is an object")
    return asked


def _is_json(scope: Scope) -> bool:
    kinds = [value for name, value in scope["headers"] if name == b"content-type"]
    return len(kinds) == 1 and kinds[0].partition(b";")[0].strip().lower() == b"application/json"
