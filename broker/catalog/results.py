"""URIs inside results and definitions, mapped to their outside form. Copies only what changes."""

from collections.abc import Callable
from typing import Any, cast

from broker.model import Json

Expose = Callable[[str], str]


def expose_result(body: Json, expose: Expose) -> Json:
    """Map every resource URI that MCP puts into a result: contents, content blocks, prompt messages."""
    changed: Json = {}
    if isinstance(blocks := body.get("content"), list):
        changed["content"] = [_block(block, expose) for block in cast("list[Any]", blocks)]
    if isinstance(contents := body.get("contents"), list):
        changed["contents"] = [_with_uri(item, expose) for item in cast("list[Any]", contents)]
    if isinstance(messages := body.get("messages"), list):
        changed["messages"] = [_message(message, expose) for message in cast("list[Any]", messages)]
    return {**body, **changed} if changed else body


def expose_definition(definition: Json, expose: Expose) -> Json:
    """Map `_meta.ui.resourceUri` of a definition (MCP Apps)."""
    meta = definition.get("_meta")
    ui = cast("Json", meta).get("ui") if isinstance(meta, dict) else None
    uri = cast("Json", ui).get("resourceUri") if isinstance(ui, dict) else None
    if not isinstance(uri, str):
        return definition
    return {
        **definition,
        "_meta": {**cast("Json", meta), "ui": {**cast("Json", ui), "resourceUri": expose(uri)}},
    }


def _with_uri(item: Any, expose: Expose) -> Any:
    if isinstance(item, dict) and isinstance(uri := cast("Json", item).get("uri"), str):
        return {**cast("Json", item), "uri": expose(uri)}
    return cast("Any", item)


def _block(block: Any, expose: Expose) -> Any:
    if not isinstance(block, dict):
        return block
    fields = cast("Json", block)
    if fields.get("type") == "resource_link":
        return _with_uri(fields, expose)
    if fields.get("type") == "resource":
        return {**fields, "resource": _with_uri(fields.get("resource"), expose)}
    return fields


def _message(message: Any, expose: Expose) -> Any:
    if isinstance(message, dict) and "content" in message:
        fields = cast("Json", message)
        return {**fields, "content": _block(fields["content"], expose)}
    return cast("Any", message)
