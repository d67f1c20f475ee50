"""How does an error read on each wire? The only mapping from the error tree to MCP, HTTP and exit codes.

The audience is one question: could a smarter model have avoided this? Then the model reads it, as a
tool result with `isError`; otherwise the host does, as a JSON-RPC error or an HTTP status.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Final

from broker import errors
from broker.model import Json

INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
MISSING_CLIENT_CAPABILITY: Final = -32021
"""MCP 2026-07-28: the request did not declare a capability that is needed."""

_NEVER_RELAYED: Final = frozenset({-32700, -32600, -32020, -32022})
"""Codes about the transport of one hop: an upstream's complaint about ours says nothing to our caller."""


class Audience(StrEnum):
    """Who can do something about it."""

    HOST = "host"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class Wire:
    """One error on every wire: who reads it, HTTP status, JSON-RPC code, exit code of the command."""

    audience: Audience
    http: int
    rpc: int
    exit_code: int


_TABLE: Final[dict[type[errors.BrokerError], Wire]] = {
    errors.BrokerError: Wire(Audience.HOST, 500, INTERNAL_ERROR, 1),
    errors.Unauthenticated: Wire(Audience.HOST, 401, INVALID_PARAMS, 4),
    errors.InvalidRequest: Wire(Audience.HOST, 400, INVALID_PARAMS, 2),
    errors.Conflict: Wire(Audience.HOST, 409, INVALID_PARAMS, 2),
    errors.Refused: Wire(Audience.MODEL, 403, INVALID_PARAMS, 3),
    errors.UnknownTarget: Wire(Audience.HOST, 404, INVALID_PARAMS, 5),
    errors.Denied: Wire(Audience.MODEL, 403, INVALID_PARAMS, 3),
    errors.PendingApproval: Wire(Audience.MODEL, 403, INVALID_PARAMS, 3),
    errors.Blocked: Wire(Audience.MODEL, 422, INVALID_PARAMS, 3),
    errors.BudgetExceeded: Wire(Audience.MODEL, 429, INVALID_PARAMS, 3),
    errors.RateLimited: Wire(Audience.MODEL, 429, INVALID_PARAMS, 3),
    errors.NotDeclared: Wire(Audience.HOST, 400, MISSING_CLIENT_CAPABILITY, 3),
    errors.UpstreamError: Wire(Audience.MODEL, 502, INTERNAL_ERROR, 1),
    errors.UpstreamUnreachable: Wire(Audience.MODEL, 502, INTERNAL_ERROR, 1),
    errors.UpstreamRefused: Wire(Audience.HOST, 502, INTERNAL_ERROR, 1),
    errors.UpstreamLost: Wire(Audience.MODEL, 504, INTERNAL_ERROR, 1),
    errors.StorageUnavailable: Wire(Audience.HOST, 503, INTERNAL_ERROR, 1),
    errors.ConfigurationError: Wire(Audience.HOST, 500, INTERNAL_ERROR, 2),
}


def wire(error: errors.BrokerError) -> Wire:
    """The row of an error: that of its nearest ancestor in the table."""
    return _row(type(error))


@cache
def _row(kind: type[errors.BrokerError]) -> Wire:
    return next(_TABLE[ancestor] for ancestor in kind.__mro__ if ancestor in _TABLE)


def text(error: errors.BrokerError) -> str:
    """What a person or a model reads: what happened, which rule, and what to do next on a line of its own."""
    rules = " · ".join(f"rule `{b.rule}`" + (f" ({b.text})" if b.text else "") for b in error.because)
    said = f"{error.code.replace('_', ' ')}: {error.message}"
    lines = [f"{said} — {rules}" if rules else said]
    if error.hint:
        lines.append(f"hint: {error.hint}")
    return "\n".join(lines)


def tool_result(error: errors.BrokerError) -> Json:
    """An error that the model reads, as a `CallToolResult`."""
    return {
        "content": [{"type": "text", "text": text(error)}],
        "structuredContent": error.as_object(),
        "isError": True,
    }


def rpc_error(error: errors.BrokerError) -> Json:
    """An error that the host reads, as the `error` member of a JSON-RPC response.

    What an upstream refused is relayed with its own code and data; everything else carries the
    error's one shape in `data`.
    """
    data = error.as_object()
    if isinstance(error, errors.UpstreamRefused):
        code = INTERNAL_ERROR if error.rpc_code in _NEVER_RELAYED else error.rpc_code
        return {"code": code, "message": error.message, "data": data if error.data is None else error.data}
    if isinstance(error, errors.NotDeclared):
        data["requiredCapabilities"] = error.required
    return {"code": wire(error).rpc, "message": error.message, "data": data}
