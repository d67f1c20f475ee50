"""How is a JSON-RPC message written and read? Raw JSON both ways: nothing is re-typed or removed."""

from collections.abc import Iterable
from importlib.metadata import version
from typing import Any, cast

import orjson

from broker.connector import Json, UpstreamLost, UpstreamRefused

MODERN = "2026-07-28"
"""The revision without sessions: every request carries its own envelope."""
LEGACY = "2025-11-25"
"""The newest revision that begins with `initialize`."""
HANDSHAKES = frozenset({LEGACY, "2025-06-18", "2025-03-26", "2024-11-05"})

CLIENT_INFO: Json = {"name": "mcp-tool-broker", "version": version("mcp-tool-broker")}
MESSAGE_LIMIT = 32 << 20
"""Bytes of the largest message that is read."""

UNSUPPORTED_VERSION = -32022
METHOD_NOT_FOUND = -32601
INTERNAL_ERROR = -32603
SERVER_ERROR = -32000

_LONGEST_MESSAGE = 2000
_SHORTEST_SECRET = 8


def request_bytes(request_id: int, method: str, params: Json) -> bytes:
    """A request."""
    return orjson.dumps({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params})


def notification_bytes(method: str, params: Json | None = None) -> bytes:
    """A notification."""
    message: Json = {"jsonrpc": "2.0", "method": method}
    if params is not None:
        message["params"] = params
    return orjson.dumps(message)


def result_bytes(request_id: Any, result: Json) -> bytes:
    """The answer to a request of the upstream."""
    return orjson.dumps({"jsonrpc": "2.0", "id": request_id, "result": result})


def error_bytes(request_id: Any, code: int, message: str, data: object = None) -> bytes:
    """The refusal of a request of the upstream."""
    error: Json = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return orjson.dumps({"jsonrpc": "2.0", "id": request_id, "error": error})


def parse(data: bytes | bytearray) -> Json | None:
    """One message; None if it is not a JSON object."""
    try:
        message = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return cast("Json", message) if isinstance(message, dict) else None


def result_of(message: Json, name: str) -> Json:
    """The result in a response.

    Args:
        message: the response as it came.
        name: the connector's name, for messages.

    Raises:
        UpstreamRefused: it is a JSON-RPC error, relayed with its code and data.
        UpstreamLost: it is neither a result nor an error.
    """
    result = message.get("result")
    if isinstance(result, dict):
        return cast("Json", result)
    error = message.get("error")
    if not isinstance(error, dict):
        raise UpstreamLost(f"`{name}` answered something that is no answer")
    fields = cast("Json", error)
    code, text = fields.get("code"), fields.get("message")
    raise UpstreamRefused(
        text[:_LONGEST_MESSAGE] if isinstance(text, str) and text else f"`{name}` refused the request",
        rpc_code=code if isinstance(code, int) else INTERNAL_ERROR,
        data=fields.get("data"),
    )


class Scrub:
    """Takes the connector's own credentials out of what the upstream says, should it echo them."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = [s.encode() for s in secrets if len(s) >= _SHORTEST_SECRET]

    def __call__(self, data: bytes) -> bytes:
        """The data without the secrets; the same object if none is in it."""
        for secret in self._secrets:
            if secret in data:
                data = data.replace(secret, b"[secret]")
        return data
