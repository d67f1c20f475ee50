"""What stands on the wire? JSON-RPC messages of MCP as raw JSON, in and out, and how a bad one is refused."""

from dataclasses import dataclass
from typing import Any, Final, cast

import orjson

from broker.edges.nesting import DEEPEST, too_deep
from broker.model import Json

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
RESOURCE_NOT_FOUND: Final = -32002
"""Before 2026-07-28; since then it is `INVALID_PARAMS`."""
REQUEST_CANCELLED: Final = -32800
HEADER_MISMATCH: Final = -32020
UNSUPPORTED_VERSION: Final = -32022

MODERN_VERSIONS: Final = ("2026-07-28",)
"""Revisions without sessions: every request carries its envelope."""
LEGACY_VERSIONS: Final = ("2025-03-26", "2025-06-18", "2025-11-25")
"""Revisions that begin with `initialize`, oldest first."""
RESUMABLE_VERSIONS: Final = ("2025-11-25",)
"""Revisions whose streams begin with an event without data (SEP-1699)."""

META_VERSION: Final = "io.modelcontextprotocol/protocolVersion"
META_CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"
META_SERVER: Final = "io.modelcontextprotocol/serverInfo"
META_LOG_LEVEL: Final = "io.modelcontextprotocol/logLevel"
META_SUBSCRIPTION: Final = "io.modelcontextprotocol/subscriptionId"

RequestId = str | int

_HTTP_OF: Final = {
    PARSE_ERROR: 400,
    INVALID_REQUEST: 400,
    INVALID_PARAMS: 400,
    HEADER_MISMATCH: 400,
    -32021: 400,
    UNSUPPORTED_VERSION: 400,
    METHOD_NOT_FOUND: 404,
}


def http_status(code: int) -> int:
    """The HTTP status under which a modern client gets a JSON-RPC error (2026-07-28, transports)."""
    return _HTTP_OF.get(code, 200)


class Rejected(Exception):
    """A message that breaks the protocol; nothing was asked of anybody.

    Args:
        code: JSON-RPC error code.
        message: one sentence for whoever wrote the client.
        http: HTTP status; default: the one that belongs to the code.
        data: JSON-RPC error data.
    """

    def __init__(self, code: int, message: str, *, http: int | None = None, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.http = http if http is not None else http_status(code)
        self.data = data

    def as_error(self) -> Json:
        """The `error` member of a JSON-RPC response."""
        error: Json = {"code": self.code, "message": self.message}
        if self.data is not None:
            error["data"] = self.data
        return error


@dataclass(frozen=True, slots=True)
class Message:
    """One JSON-RPC message: a notification has no `id`, a response has no `method`."""

    id: RequestId | None
    method: str | None
    params: Json
    raw: Json


def parse(body: bytes) -> Message:
    """Read one message.

    Raises:
        Rejected: not JSON (-32700), or not one JSON-RPC message (-32600, -32602).
    """
    try:
        decoded = cast("object", orjson.loads(body))
    except orjson.JSONDecodeError as error:
        raise Rejected(PARSE_ERROR, f"the body is not JSON: {error.msg}") from None
    if isinstance(decoded, list):
        raise Rejected(INVALID_PARAMS, "the body is a batch: send one JSON-RPC message at a time")
    if not isinstance(decoded, dict):
        raise Rejected(INVALID_REQUEST, "the body is not a JSON-RPC message")
    if too_deep(body, cast("Json", decoded)):
        raise Rejected(INVALID_REQUEST, f"the body is nested more than {DEEPEST} deep")
    return _message(cast("Json", decoded))


def _message(raw: Json) -> Message:
    if raw.get("jsonrpc") != "2.0":
        raise Rejected(INVALID_REQUEST, 'a message has `"jsonrpc": "2.0"`')
    identity = raw.get("id")
    if "id" in raw and type(identity) is not str and type(identity) is not int:
        raise Rejected(INVALID_REQUEST, "the `id` of a message is a string or an integer")
    method = raw.get("method")
    if method is None and identity is not None and ("result" in raw or "error" in raw):
        return Message(identity, None, {}, raw)
    if type(method) is not str:
        raise Rejected(INVALID_REQUEST, "a message has a `method`, or a `result` or `error`")
    params: Any = raw.get("params")
    if params is None:
        params = {}
    if not isinstance(params, dict):
        raise Rejected(INVALID_REQUEST, "the `params` of a message are an object")
    return Message(identity, method, cast("Json", params), raw)


def encode_result(identity: RequestId | None, result: Json) -> bytes:
    """A response with a result."""
    return orjson.dumps({"jsonrpc": "2.0", "id": identity, "result": result})


def encode_error(identity: RequestId | None, error: Json) -> bytes:
    """A response with an error; `identity` is None where the request's id could not be read."""
    return orjson.dumps({"jsonrpc": "2.0", "id": identity, "error": error})


def encode_notification(method: str, params: Json) -> bytes:
    """A notification to the client."""
    return orjson.dumps({"jsonrpc": "2.0", "method": method, "params": params})


def encode_request(identity: RequestId, method: str, params: Json) -> bytes:
    """A request to the client (only before 2026-07-28)."""
    return orjson.dumps({"jsonrpc": "2.0", "id": identity, "method": method, "params": params})
