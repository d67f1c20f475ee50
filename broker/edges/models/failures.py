"""What does an SDK make of an error? The exception its users expect: status, type and code say which.

The broker's own words (code, because, hint, call id) go along, where each format has room for more.
"""

from dataclasses import dataclass
from typing import Any, Final, cast

from broker import errors
from broker.edges import translate
from broker.edges.http import TooLarge
from broker.errors import BrokerError
from broker.model import Json

MOST_SAID: Final = 4000
"""Characters of an upstream's message that are passed on."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as a provider would answer it.

    `again` says whether the SDK may repeat the request by itself. The SDKs do so for 408, 409, 429 and all
    of 5xx unless they are told not to, and what may have had an effect must not happen twice.
    """

    status: int
    body: Json
    again: bool
    retry_after_s: int | None = None


_OPENAI: Final[dict[type[BrokerError], tuple[str, str]]] = {
    errors.Unauthenticated: ("authentication_error", "invalid_api_key"),
    errors.UnknownTarget: ("invalid_request_error", "model_not_found"),
    errors.Blocked: ("invalid_request_error", "content_filter"),
    errors.BudgetExceeded: ("insufficient_quota", "insufficient_quota"),
    errors.RateLimited: ("rate_limit_error", "rate_limit_exceeded"),
}
"""Type and code of what OpenAI has words for; the rest has a type by status and the broker's own code."""

_OPENAI_TYPES: Final = {403: "permission_error", 429: "rate_limit_error"}

_ANTHROPIC_TYPES: Final = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}

_AGAIN: Final = (errors.RateLimited, errors.UpstreamUnreachable, errors.StorageUnavailable)
"""Nothing has happened, and it may go better soon."""

_OURS: Final = frozenset({401, 402, 403, 407})
"""What a provider says about the broker's own credential is not about the caller's."""


def for_openai(error: BrokerError) -> Failure:
    """An error in OpenAI's format: `{"error": {message, type, param, code}}`, and under `broker` our own."""
    status = _status(error)
    kind, code = _entry(error) or (_openai_type(status), error.code)
    told = {"message": translate.text(error), "type": kind, "param": None, "code": code}
    if isinstance(error, errors.UpstreamRefused):
        told |= {"message": error.message[:MOST_SAID], **_said(error, ("type", "param", "code"))}
    return _failure(error, status, {"error": {**told, "broker": error.as_object()["error"]}})


def for_anthropic(error: BrokerError) -> Failure:
    """An error in Anthropic's format: `{"type": "error", "error": {type, message, details}}`."""
    status = 402 if isinstance(error, errors.BudgetExceeded) else _status(error)
    default = "api_error" if status >= 500 else "invalid_request_error"
    told = {"type": _ANTHROPIC_TYPES.get(status, default), "message": translate.text(error)}
    if isinstance(error, errors.UpstreamRefused):
        told |= {"message": error.message[:MOST_SAID], **_said(error, ("type",))}
    details = {"error_code": error.code, "broker": error.as_object()["error"]}
    body = {"type": "error", "error": {**told, "details": details}, "request_id": error.call_id}
    return _failure(error, status, body)


def _failure(error: BrokerError, status: int, body: Json) -> Failure:
    retry = error.retry_after_s if isinstance(error, errors.RateLimited | errors.BudgetExceeded) else None
    refused = isinstance(error, errors.UpstreamRefused) and status in {408, 409, 429, 503, 529}
    return Failure(status, body, refused or isinstance(error, _AGAIN), retry)


def _status(error: BrokerError) -> int:
    """The HTTP status; one of a provider is passed on if it is about the request."""
    if isinstance(error, errors.UpstreamRefused) and error.status is not None:
        return 502 if error.status in _OURS or not 400 <= error.status < 600 else error.status
    if isinstance(error, TooLarge):
        return 413
    # What OpenAI and Azure answer to filtered content, and what libraries look for.
    return 400 if isinstance(error, errors.Blocked) else translate.wire(error).http


def _entry(error: BrokerError) -> tuple[str, str] | None:
    return next((_OPENAI[kind] for kind in type(error).__mro__ if kind in _OPENAI), None)  # pyright: ignore[reportArgumentType] - every class has an MRO of classes


def _openai_type(status: int) -> str:
    return _OPENAI_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")


def _said(error: errors.UpstreamRefused, keys: tuple[str, ...]) -> Json:
    """What a provider called its refusal; about the broker's own credential it says nothing."""
    if error.status in _OURS or not isinstance(data := cast("Any", error.data), dict):
        return {}
    said: Any = cast("Json", data).get("error")
    if not isinstance(said, dict):
        return {}
    said = cast("Json", said)
    return {key: said[key] for key in keys if isinstance(said.get(key), str)}
