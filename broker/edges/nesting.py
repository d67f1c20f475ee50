"""Is a body nested too deep? What cannot be written again is not read."""

from collections.abc import Iterable
from typing import Any, Final, cast

from broker.model import Json

DEEPEST: Final = 200
"""Nesting that can always be written again: orjson writes at most 254 levels, and a request is wrapped."""


def too_deep(body: bytes, decoded: Json) -> bool:
    """Whether an object is nested more than `DEEPEST` levels; `body` is what it was read from."""
    return body.count(b"{") + body.count(b"[") > DEEPEST and _is_deep(decoded)


def _is_deep(root: Json) -> bool:
    level: list[Any] = [root]
    for _ in range(DEEPEST):
        level = [child for node in level for child in _children(node)]
    return bool(level)


def _children(node: Any) -> Iterable[Any]:
    if isinstance(node, dict):
        return cast("Json", node).values()
    return cast("list[Any]", node) if isinstance(node, list) else ()
