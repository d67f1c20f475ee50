"""Which texts does an object hold, and is it small enough to read? In order, and each place is known."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from broker.guardrails.message import Blob, Message, Node, Passage, Path
from broker.guardrails.scene import Scene, Stage
from broker.model import Json

_SYNTAX = 4
"""Bytes counted for the quotes and separators around a value."""

_SHORTEST_TEXT = 4
SHORTEST_KEY = 6
_SHORTEST_NUMBER = 10**7
"""Nothing that is looked for is shorter; an identity number of eight digits may be a number in JSON."""

_NO_MEDIA = frozenset({"structuredContent", "_meta"})


class TooBigError(Exception):
    """The object is larger or deeper than may be read; its text says so to the caller."""


class TooLargeError(TooBigError):
    """It has too many bytes."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is read: bytes (estimated) and levels of nesting."""

    size: int
    depth: int


def gather(content: Json, limits: Limits, stage: Stage, scene: Scene) -> Message:
    """Every text of an object in order, keys before their values; whole numbers that may identify somebody.

    The base64 of image, audio and blob content in results is no text but a blob, in a passage without
    text. MCP has such content outside of `structuredContent` only.

    Raises:
        TooBigError: a limit is passed.
        UnicodeEncodeError: a text holds half a surrogate pair.
    """
    walk = _Walk(limits)
    walk.fields(content, "", None, 1, media=stage is Stage.RESULT)
    return Message(walk.passages, stage, scene, walk.blobs)


class _Walk:
    """One walk through an object. Recursive, because the depth is limited."""

    def __init__(self, limits: Limits) -> None:
        self.passages: list[Passage] = []
        self.blobs: list[int] = []
        self._left = limits.size
        self._limits = limits

    def fields(self, fields: Json, name: str, node: Node | None, depth: int, *, media: bool) -> None:
        skips = _base64_field(fields) if media else None
        for key, value in fields.items():
            self._left -= _SYNTAX + _bytes(key)
            if len(key) >= SHORTEST_KEY:
                self.passages.append(Passage(key, "", node, key, is_key=True))
            if key == skips:
                self._blob(fields, key, node)
            else:
                self._value(value, key or name, node, key, depth, media=media and key not in _NO_MEDIA)

    def _items(self, items: list[Any], name: str, node: Node | None, depth: int, *, media: bool) -> None:
        for index, value in enumerate(items):
            self._left -= _SYNTAX
            self._value(value, name, node, index, depth, media=media)

    def _value(
        self, value: Any, name: str, node: Node | None, step: str | int, depth: int, *, media: bool
    ) -> None:
        if isinstance(value, str):
            self._left -= _bytes(value)
            if len(value) >= _SHORTEST_TEXT:
                self.passages.append(Passage(value, name, node, step))
        elif isinstance(value, dict | list):
            if depth >= self._limits.depth:
                raise TooBigError(f"nested more than {self._limits.depth} levels deep")
            below = (node, step)
            if isinstance(value, dict):
                self.fields(cast("Json", value), name, below, depth + 1, media=media)
            else:
                self._items(cast("list[Any]", value), name, below, depth + 1, media=media)
        elif isinstance(value, int) and abs(value) >= _SHORTEST_NUMBER:
            self.passages.append(Passage(str(value), name, node, step, is_number=True))
        if self._left < 0:
            raise TooLargeError(f"more than {self._limits.size} bytes")

    def _blob(self, fields: Json, key: str, node: Node | None) -> None:
        """Base64 is counted and typed, not read."""
        data = fields[key]
        if not isinstance(data, str):
            raise TypeError("base64 that is no text")
        self._left -= len(data)
        if self._left < 0:
            raise TooLargeError(f"more than {self._limits.size} bytes")
        mime = fields.get("mimeType")
        self.blobs.append(len(self.passages))
        blob = Blob(mime if isinstance(mime, str) else "", data)
        self.passages.append(Passage("", key, node, key, blob=blob))


def _base64_field(fields: Json) -> str | None:
    """The field that MCP defines as base64: of image and audio content, and of blob resource contents."""
    if "data" in fields and fields.get("type") in ("image", "audio"):
        return "data"
    return "blob" if "blob" in fields and "uri" in fields else None


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def replaced(content: Json, changes: Mapping[Path, str]) -> Json:
    """A copy of `content` in which the texts at some paths are others. What is on no path is shared."""
    result = dict(content)
    copies: dict[Path, Any] = {(): result}
    for path, text in changes.items():
        for depth in range(1, len(path)):
            if path[:depth] not in copies:
                parent, step = copies[path[: depth - 1]], path[depth - 1]
                copies[path[:depth]] = parent[step] = parent[step].copy()
        copies[path[:-1]][path[-1]] = text
    return result
