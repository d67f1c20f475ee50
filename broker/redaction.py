"""What may a caller not read of a result? Values are taken out by path, and wherever they are repeated.

A tool's result is often there twice: as structured content, and as a text with the same JSON in it. Paths
are followed in both. Text that is not JSON, pictures, sounds and files have no paths, so nobody can say
what is in them: they are withheld as a whole. Other places that repeat a value lose it too.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any, cast

from broker.errors import NotDeclared
from broker.model import Caller, Json

REDACTED = "[redacted]"
WITHHELD = (
    "[withheld: a rule takes values out of this result, and this part has no structure to find them in]"
)
ASKS_BACK = "a rule takes values out of this result, so its tool cannot ask back"

_SHORTEST = 4
_WRAPPER = "result"
"""Where SDKs put a structured result that is no object; the text beside it lacks this step."""

_PARTS = frozenset({"structuredContent", "content", "contents", "messages"})
_MEANT = frozenset({"type", "role", "mimeType", "resultType"})

Paths = Collection[tuple[str, ...]]


class Redactor:
    """Takes values out of one result.

    Args:
        paths: dotted paths; each item of a list is taken by itself, `*` is any name.
    """

    def __init__(self, paths: Collection[str]) -> None:
        self._paths: Paths = [tuple(path.split(".")) for path in sorted(paths)]
        self._in_text: Paths = [
            *self._paths,
            *(path[1:] for path in self._paths if path[0] == _WRAPPER and len(path) > 1),
        ]
        self._removed: list[Any] = []
        self.withheld = 0
        """How many parts were withheld as a whole."""

    @property
    def removed(self) -> int:
        """How many values were taken out."""
        return len(self._removed)

    def released(self, body: Json) -> Json:
        """The result without the values. The object itself is not changed.

        Raises:
            NotDeclared: it asks back, and questions have no paths.
        """
        safe: Json = self._without({k: v for k, v in body.items() if k not in _PARTS}, self._paths)
        if "inputRequests" in body:
            raise NotDeclared(ASKS_BACK, required={})
        if "structuredContent" in body:
            safe["structuredContent"] = self._without(body["structuredContent"], self._paths)
        for key in ("content", "contents"):
            if key in body:
                safe[key] = self._parts(body[key])
        if "messages" in body:
            safe["messages"] = [self._message(message) for message in _items(body["messages"])]
        return self._scrubbed(safe)

    def _scrubbed(self, safe: Json) -> Json:
        """The same without what was said in the values that were taken out, wherever else it is said."""
        texts = {text for value in self._removed for text in _texts(value) if len(text) >= _SHORTEST}
        if not texts:
            return safe
        forms = {form for text in texts for form in (text, *_escaped(text))}
        scrub = _Scrub(sorted(forms, key=len, reverse=True))
        return {
            key: scrub.all(value) if key == "structuredContent" else scrub.envelope(value)
            for key, value in safe.items()
        }

    def _message(self, message: Any) -> Any:
        if not isinstance(message, dict):
            return self._withhold()
        fields = cast("Json", message)
        return {**fields, "content": self._parts(fields.get("content"))}

    def _parts(self, parts: Any) -> Any:
        if isinstance(parts, list):
            return [self._part(part) for part in _items(parts)]
        return self._part(parts)

    def _part(self, part: Any) -> Any:
        if not isinstance(part, dict):
            return self._withhold()
        fields = cast("Json", part)
        if fields.get("type") == "resource_link":
            return fields
        if isinstance(fields.get("resource"), dict):
            return {**fields, "resource": self._part(fields["resource"])}
        if isinstance(fields.get("text"), str):
            return {**fields, "text": self._text(fields["text"])}
        kept = {key: fields[key] for key in ("uri", "mimeType") if "uri" in fields and key in fields}
        return {**kept, **self._withhold()} if kept else self._withhold()

    def _withhold(self) -> Json:
        self.withheld += 1
        return {"type": "text", "text": WITHHELD}

    def _text(self, text: str) -> str:
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            document = None
        if isinstance(document, dict | list):
            return json.dumps(self._without(document, self._in_text), ensure_ascii=False)
        self.withheld += 1
        return WITHHELD

    def _without(self, value: Any, paths: Paths) -> Any:
        if isinstance(value, list):
            return [self._without(item, paths) for item in _items(value)]
        if not isinstance(value, dict) or not paths:
            return cast("Any", value)
        return {key: self._entry(key, inside, paths) for key, inside in cast("Json", value).items()}

    def _entry(self, key: str, value: Any, paths: Paths) -> Any:
        further = [path[1:] for path in paths if path[0] in (key, "*")]
        if () not in further:
            return self._without(value, further)
        self._removed.append(value)
        return REDACTED if isinstance(value, str) else None


def _items(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else [value]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in _items(value):
            yield from _texts(item)
    elif isinstance(value, dict):
        for inside in cast("Json", value).values():
            yield from _texts(inside)


def _escaped(text: str) -> tuple[str, str]:
    """How it stands inside a JSON document."""
    return json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]


class _Scrub:
    """Replaces texts wherever they stand; the longest come first."""

    def __init__(self, texts: Collection[str]) -> None:
        self._texts = texts

    def text(self, value: str) -> str:
        for text in self._texts:
            value = value.replace(text, REDACTED)
        return value

    def all(self, value: Any) -> Any:
        """In every text and name."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.all(item) for item in _items(value)]
        if isinstance(value, dict):
            return {self.text(key): self.all(item) for key, item in cast("Json", value).items()}
        return value

    def envelope(self, value: Any) -> Any:
        """In every text but those that MCP gives a meaning: a value must not be able to break a result."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.envelope(item) for item in _items(value)]
        if isinstance(value, dict):
            fields = cast("Json", value).items()
            return {key: item if key in _MEANT else self.envelope(item) for key, item in fields}
        return value


class MutedCaller:
    """A caller who hears nothing before the result: what an upstream says meanwhile has no paths."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    @property
    def capabilities(self) -> Mapping[str, Any]:
        """None: it cannot be asked."""
        return {}

    @property
    def modern(self) -> bool:
        """As the caller."""
        return self._caller.modern

    async def notify(self, method: str, params: Json) -> None:
        """Pass progress on, without its message; nothing else."""
        if method == "notifications/progress":
            await self._caller.notify(method, {k: v for k, v in params.items() if k != "message"})

    async def ask(self, method: str, params: Json) -> Json:  # noqa: ARG002 - the port's signature
        """Refuse.

        Raises:
            NotDeclared: always.
        """
        raise NotDeclared("a rule takes values out of this result, so its tool cannot ask back", required={})

    async def deliver(self, event: Json) -> bool:  # noqa: ARG002 - the port's signature
        """Pass nothing on before the result is whole."""
        return True

    async def poll(self, retry_ms: int) -> None:
        """As the caller."""
        await self._caller.poll(retry_ms)
