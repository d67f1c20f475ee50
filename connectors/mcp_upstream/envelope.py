"""What travels beside a request's own parameters? `_meta`, and the HTTP headers that mirror the body."""

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from broker.connector import Json, Line
from connectors.mcp_upstream.wire import CLIENT_INFO, MODERN

_VERSION = "io.modelcontextprotocol/protocolVersion"
_CLIENT = "io.modelcontextprotocol/clientInfo"
_CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
_DELEGATION = "io.toolbroker/delegation"
_LOG_LEVEL = "io.modelcontextprotocol/logLevel"
_NAMED_BY = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}

_PLAIN_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_ENCODED_VALUE = re.compile(r"=\?base64\?.*\?=")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_ANNOTATION = "x-mcp-header"
_MIRRORED_TYPES = ("string", "integer", "boolean")

ParamHeaders = Mapping[tuple[str, ...], str]
"""Header names by the path of the argument that they mirror."""


def modern_params(params: Json, line: Line | None, token: int) -> Json:
    """The parameters of a request of revision 2026-07-28; without a line the broker itself asks.

    Args:
        params: the request's own parameters.
        line: the open call; its caller's capabilities are declared as they are.
        token: the progress token to use if the caller wants progress.
    """
    meta: Json = {
        _VERSION: MODERN,
        _CLIENT: CLIENT_INFO,
        _CAPABILITIES: line.caller.capabilities if line else {},
    }
    if line:
        meta.update(_passed_on(line))
        if line.log_level:
            meta[_LOG_LEVEL] = line.log_level
        if line.wants_progress:
            meta["progressToken"] = token
    return {**params, "_meta": meta}


def legacy_params(params: Json, line: Line | None, token: int) -> Json:
    """The parameters of a request in a session; arguments as for `modern_params`."""
    if line is None or not (line.trace or line.wants_progress or line.delegation):
        return params
    meta = _passed_on(line)
    if line.wants_progress:
        meta["progressToken"] = token
    return {**params, "_meta": meta}


def _passed_on(line: Line) -> Json:
    """What every upstream is told about the call: its trace, and on whose behalf it is made."""
    return {**line.trace, _DELEGATION: line.delegation} if line.delegation else dict(line.trace)


def mirrored(method: str, params: Json, param_headers: Mapping[str, ParamHeaders]) -> dict[str, str]:
    """The `Mcp-*` headers of a request of revision 2026-07-28.

    Args:
        method: its method.
        params: its parameters as they are sent.
        param_headers: by tool, the arguments that are mirrored.
    """
    headers = {"Mcp-Method": method}
    key = _NAMED_BY.get(method)
    if key is None or not isinstance(name := params.get(key), str):
        return headers
    headers["Mcp-Name"] = encode_value(name)
    if method == "tools/call" and (wanted := param_headers.get(name)):
        for path, header in wanted.items():
            value = _rendered(_at(params.get("arguments"), path))
            if value is not None:
                headers[f"Mcp-Param-{header}"] = encode_value(value)
    return headers


def encode_value(value: str) -> str:
    """A value that survives an HTTP header: as it is, or wrapped as `=?base64?…?=`."""
    if _PLAIN_VALUE.fullmatch(value) and not _ENCODED_VALUE.fullmatch(value):
        return value
    return f"=?base64?{base64.b64encode(value.encode('utf-8', 'surrogatepass')).decode()}?="


def annotated_params(schema: Json) -> ParamHeaders:
    """The arguments that a tool's input schema wants mirrored.

    Raises:
        ValueError: an annotation is not one that the protocol permits; the tool must not be offered.
    """
    found: dict[tuple[str, ...], str] = {}
    for path, node in _positions(schema):
        if _ANNOTATION not in node:
            continue
        header = node[_ANNOTATION]
        if not path:
            raise ValueError(f"`{_ANNOTATION}` stands where no argument is")
        if not isinstance(header, str) or not _TOKEN.fullmatch(header):
            raise ValueError(f"`{_ANNOTATION}` of `{'.'.join(path)}` is no header name")
        if node.get("type") not in _MIRRORED_TYPES:
            raise ValueError(f"`{_ANNOTATION}` is on `{'.'.join(path)}`, which is no plain value")
        if header.lower() in (other.lower() for other in found.values()):
            raise ValueError(f"`{_ANNOTATION}` uses `{header}` twice")
        found[path] = header
    return found


def _positions(schema: Json) -> Iterator[tuple[tuple[str, ...] | None, Json]]:
    """Every object in a schema; with its path where it describes an argument, else with None."""
    stack: list[tuple[tuple[str, ...] | None, Any]] = [((), schema)]
    while stack:
        path, node = stack.pop()
        if isinstance(node, list):
            stack.extend((None, item) for item in cast("list[Any]", node))
        if not isinstance(node, dict):
            continue
        fields = cast("Json", node)
        yield path, fields
        for key, value in fields.items():
            if key == "properties" and path is not None and isinstance(value, dict):
                stack.extend(((*path, name), sub) for name, sub in cast("Json", value).items())
            elif key not in ("default", "examples", "const", "enum"):
                stack.append((None, value))


def _at(arguments: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        if not isinstance(arguments, dict):
            return None
        arguments = cast("Json", arguments).get(key)
    return arguments


def _rendered(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int) else None
