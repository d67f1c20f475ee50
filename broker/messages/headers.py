"""Which HTTP headers mirror an MCP request? Revision 2026-07-28, transports: standard and custom headers."""

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from broker.model import Json

VERSION = "io.modelcontextprotocol/protocolVersion"
ACCEPT = "application/json, text/event-stream"

_NAMED_BY = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
_PLAIN = re.compile(r"(?!=\?base64\?)[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")

ParameterHeaders = Mapping[tuple[str, ...], str]
"""The header token of each annotated parameter, by its path in the arguments."""


def modern_version(message: Json) -> str | None:
    """The revision a request names in its own `_meta`; None for the revisions with sessions."""
    params = message.get("params")
    meta = cast("Json", params).get("_meta") if isinstance(params, dict) else None
    version = cast("Json", meta).get(VERSION) if isinstance(meta, dict) else None
    return version if isinstance(version, str) else None


def mirrored(message: Json, version: str, parameters: ParameterHeaders) -> dict[str, str]:
    """The headers of a request of revision 2026-07-28 or later."""
    method = str(message.get("method"))
    params = cast("Json", message.get("params"))
    headers = {"MCP-Protocol-Version": version, "Mcp-Method": method}
    name = params.get(_NAMED_BY.get(method, ""))
    if isinstance(name, str):
        headers["Mcp-Name"] = encoded(name)
    for path, token in parameters.items():
        text = _text(_at(params.get("arguments"), path))
        if text is not None:
            headers[f"Mcp-Param-{token}"] = encoded(text)
    return headers


def encoded(value: str) -> str:
    """A header value, in base64 where it would not arrive as it is."""
    if not value or _PLAIN.fullmatch(value):
        return value
    return f"=?base64?{base64.b64encode(value.encode()).decode()}?="


def parameter_headers(schema: object) -> ParameterHeaders:
    """Which arguments a tool's input schema wants mirrored (`x-mcp-header`)."""
    return dict(_annotated(schema, ()))


def _annotated(schema: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    properties = cast("Json", schema).get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict):
        return
    for name, inner in cast("Json", properties).items():
        token = cast("Json", inner).get("x-mcp-header") if isinstance(inner, dict) else None
        if isinstance(token, str):
            yield (*path, name), token
        yield from _annotated(cast("object", inner), (*path, name))


def _at(arguments: object, path: tuple[str, ...]) -> object:
    for name in path:
        arguments = cast("dict[str, Any]", arguments).get(name) if isinstance(arguments, dict) else None
    return arguments


def _text(value: object) -> str | None:
    match value:
        case bool():
            return "true" if value else "false"
        case str() | int() | float():
            return str(value)
        case _:
            return None
