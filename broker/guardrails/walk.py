"""Which texts does an object hold, and is it small enough to read? Iterative, in order, each place known."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from broker.model import Json

Path = tuple[str | int, ...]

_SYNTAX = 4
"""Bytes counted for the quotes and separators around a value."""

_NO_MEDIA = frozenset({"structuredContent", "_meta"})


class TooBigError(Exception):
    """The object is larger or deeper than may be read; its text says so to the caller."""


@dataclass(slots=True)
class Frame:
    """One container on the way down: `at` is where in it the walk is, `skips` a field of base64."""

    rest: Iterator[tuple[Any, Any]]
    name: str
    media: bool
    skips: str | None
    at: Any = None


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is read: bytes (estimated) and levels of nesting."""

    size: int
    depth: int


@dataclass(frozen=True, slots=True)
class Text:
    """One text: `name` is the nearest key above it, `is_key` whether it is a key itself."""

    value: str
    name: str
    is_key: bool


def texts(content: Json, limits: Limits, frames: list[Frame], *, media: bool) -> Iterator[Text]:
    """Every text in order, keys before their values. `frames` becomes the way down to the current one.

    With `media`, the base64 of image, audio and blob content is counted and not given out. MCP has
    such content outside of `structuredContent` only.

    Raises:
        TooBigError: a limit is passed; what came before has been given out.
        UnicodeEncodeError: a text holds half a surrogate pair.
    """
    frames.append(_frame(content, "", media=media))
    size = 0
    while frames:
        frame = frames[-1]
        step = next(frame.rest, None)
        if step is None:
            frames.pop()
            continue
        frame.at, value = step
        key = frame.at if isinstance(frame.at, str) else None
        size += _SYNTAX + (_bytes(key) if key else 0) + (_bytes(value) if isinstance(value, str) else 0)
        if size > limits.size:
            raise TooBigError(f"more than {limits.size} bytes")
        if key:
            yield Text(key, "", is_key=True)
        if isinstance(value, str):
            if frame.skips is None or frame.skips != key:
                yield Text(value, key or frame.name, is_key=False)
        elif isinstance(value, dict | list):
            if len(frames) >= limits.depth:
                raise TooBigError(f"nested more than {limits.depth} levels deep")
            inside = frame.media and key not in _NO_MEDIA
            frames.append(_frame(value, key or frame.name, media=inside))


def _frame(container: Any, name: str, *, media: bool) -> Frame:
    if isinstance(container, dict):
        fields = cast("Json", container)
        return Frame(iter(fields.items()), name, media, _base64_field(fields) if media else None)
    items = cast("list[Any]", container)
    return Frame(iter(enumerate(items)), name, media, None)


def _base64_field(fields: Json) -> str | None:
    """The field that MCP defines as base64: of image and audio content, and of blob resource contents."""
    if "data" in fields and fields.get("type") in ("image", "audio"):
        return "data"
    return "blob" if "blob" in fields and "uri" in fields else None


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def path_of(frames: list[Frame]) -> Path:
    """The keys and indexes that lead to the place where a walk is."""
    return tuple(frame.at for frame in frames)


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
