"""What did the broker answer? The result of a request, or the error that it stands for."""

from typing import cast

import orjson

from broker.errors import BrokerError, Unauthenticated, UpstreamRefused
from broker.messages.refusals import from_object
from broker.model import Json


def decoded(data: bytes) -> Json:
    """One JSON object; empty if it is something else."""
    try:
        message: object = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return cast("Json", message) if isinstance(message, dict) else {}


def ends_request(message: Json) -> bool:
    """Whether a message answers a request, rather than being said while it is open."""
    return "id" in message and "method" not in message


def result_of(status: int, answer: Json) -> Json:
    """The result in an answer.

    Args:
        status: HTTP status.
        answer: the JSON-RPC message, or the body of an error.

    Raises:
        Unauthenticated: the token is not accepted.
        BrokerError: whatever else the answer says went wrong.
    """
    result = answer.get("result")
    if status == 200 and isinstance(result, dict):
        return cast("Json", result)
    error = answer.get("error")
    raise _failure(status, cast("Json", error) if isinstance(error, dict) else {})


def _failure(status: int, error: Json) -> BrokerError:
    """The broker's own error again, from the wire."""
    known = from_object(error.get("data")) or from_object({"error": error})
    if known is not None:
        return known
    message = str(error.get("message") or f"the broker answered HTTP {status}")
    return Unauthenticated(message) if status == 401 else UpstreamRefused(message)
