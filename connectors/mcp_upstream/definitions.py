"""Is this definition fit to be offered? Each is judged by itself, so that a broken one is left out alone."""

import logging
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

import orjson

from broker.connector import Json
from connectors.mcp_upstream.envelope import ParamHeaders, annotated_params

logger = logging.getLogger("connectors.mcp_upstream")

MOST_BYTES = 256 << 10
DEEPEST = 32
_TOOL_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:.+", re.DOTALL)
_LONGEST_URI = 4096
_LONGEST_NAME = 256


class Unfit(ValueError):
    """Why a definition cannot be offered."""


Check = Callable[[Json], str]
"""Gives what identifies a definition; raises `ValueError` with the reason if it is not fit."""


def fit(kind: str, definitions: list[Any], check: Check, name: str) -> list[Json]:
    """The definitions that may be offered, as they came and in their order. The others are logged.

    Args:
        kind: what they are, for the log.
        definitions: what the upstream listed.
        check: judges one.
        name: the connector's name, for the log.
    """
    fit_for_use: list[Json] = []
    seen: set[str] = set()
    for definition in definitions:
        try:
            identity = _unseen(check(_sized(definition)), seen)
        except ValueError as error:
            logger.warning("%s: %s %s is quarantined: %s", name, kind, _label(definition), error)
            continue
        seen.add(identity)
        fit_for_use.append(definition)
    return fit_for_use


def check_tool(tool: Json) -> str:
    """A tool: its name, input and output schema, and what hosts read."""
    name = tool.get("name")
    if not isinstance(name, str) or not _TOOL_NAME.fullmatch(name):
        raise Unfit("its name is not 1 to 128 letters, digits, `_`, `-` and `.`")
    _types(tool, title=str, description=str, annotations=dict, icons=list, _meta=dict)
    schema = tool.get("inputSchema")
    if not isinstance(schema, dict):
        raise Unfit("it has no inputSchema")
    _check_schema("inputSchema", cast("Json", schema))
    annotated_params(cast("Json", schema))
    if tool.get("outputSchema") is not None:
        _types(tool, outputSchema=dict)
        _check_references("outputSchema", tool["outputSchema"])
    return name


def check_resource(resource: Json) -> str:
    """A resource: its URI and name."""
    return _check_located(resource, "uri")


def check_template(template: Json) -> str:
    """A resource template: its URI template and name."""
    return _check_located(template, "uriTemplate")


def check_prompt(prompt: Json) -> str:
    """A prompt: its name and arguments."""
    name = prompt.get("name")
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME:
        raise Unfit("it has no name")
    _types(prompt, title=str, description=str, arguments=list, icons=list, _meta=dict)
    for argument in cast("list[Any]", prompt.get("arguments") or []):
        if not isinstance(argument, dict) or not isinstance(cast("Json", argument).get("name"), str):
            raise Unfit("an argument has no name")
    return name


def mirrored_params(tools: list[Json]) -> Mapping[str, ParamHeaders]:
    """By tool, the arguments that are mirrored in headers; only tools that want any."""
    found = ((tool["name"], annotated_params(tool["inputSchema"])) for tool in tools)
    return {name: params for name, params in found if params}


def _check_located(definition: Json, key: str) -> str:
    uri = definition.get(key)
    if not isinstance(uri, str) or not _URI.fullmatch(uri) or len(uri) > _LONGEST_URI:
        raise Unfit(f"its {key} is not one")
    if not isinstance(definition.get("name"), str):
        raise Unfit("it has no name")
    _types(definition, title=str, description=str, mimeType=str, annotations=dict, icons=list, _meta=dict)
    return uri


def _check_schema(key: str, schema: Json) -> None:
    if schema.get("type") != "object":
        raise Unfit(f'its {key} is not of type "object"')
    properties = schema.get("properties", {})
    if not isinstance(properties, dict) or not all(
        isinstance(sub, dict | bool) for sub in cast("Json", properties).values()
    ):
        raise Unfit(f"the properties of its {key} are not schemas")
    required = schema.get("required", [])
    if not isinstance(required, list) or not all(isinstance(n, str) for n in cast("list[Any]", required)):
        raise Unfit(f"what its {key} requires is not a list of names")
    _check_references(key, schema)


def _check_references(key: str, schema: Json) -> None:
    """Only references within the schema itself: nothing is ever fetched to understand a tool."""
    stack: list[Any] = [schema]
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack.extend(cast("list[Any]", node))
        elif isinstance(node, dict):
            fields = cast("Json", node)
            for keyword in ("$ref", "$dynamicRef"):
                target = fields.get(keyword, "#")
                if isinstance(target, str) and not target.startswith("#"):
                    raise Unfit(f"its {key} refers to something outside itself")
            stack.extend(fields.values())


def _unseen(identity: str, seen: set[str]) -> str:
    if identity in seen:
        raise Unfit("an earlier one is called the same")
    return identity


def _sized(definition: Any) -> Json:
    if not isinstance(definition, dict):
        raise Unfit("it is no object")
    if _depth(definition) > DEEPEST:
        raise Unfit(f"it is nested deeper than {DEEPEST}")
    if len(orjson.dumps(definition)) > MOST_BYTES:
        raise Unfit(f"it is larger than {MOST_BYTES} bytes")
    return cast("Json", definition)


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level and depth <= DEEPEST:
        depth += 1
        level = [
            inner
            for node in level
            if isinstance(node, dict | list)
            for inner in cast(
                "list[Any]", list(cast("Json", node).values()) if isinstance(node, dict) else node
            )
        ]
    return depth


def _types(definition: Json, **expected: type) -> None:
    for key, kind in expected.items():
        value = definition.get(key)
        if value is not None and not isinstance(value, kind):
            raise Unfit(f"its {key} is of the wrong type")


def _label(definition: Any) -> str:
    """The name for the log: escaped and cut, since the upstream chose it."""
    fields = cast("Json", definition) if isinstance(definition, dict) else {}
    found = fields.get("name") or fields.get("uri") or fields.get("uriTemplate") or "without a name"
    return repr(found)[:80]
