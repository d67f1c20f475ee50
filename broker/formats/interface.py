"""What does one wire format of models say? The same questions, answered for each of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from broker.model import Json, Method, Usage

Slot = tuple[str | int, ...]
"""Which of the texts that a model writes at the same time: of a choice, a content block, a tool call."""

Path = tuple[str | int, ...]

LONGEST_TOKEN = 16
"""Bytes that a token has at most over any length of text; some have more, but not many in a row."""


@dataclass(frozen=True, slots=True)
class Delta:
    """The next piece of a text: which text, and where in the event the piece stands."""

    slot: Slot
    path: Path
    text: str


class Assembly(Protocol):
    """The whole answer, put together from the events of its stream."""

    @property
    def ended(self) -> bool:
        """Whether the event that ends it has come, or all that comes before `[DONE]`."""
        ...

    @property
    def usage(self) -> Usage | None:
        """What the provider has said of it so far."""
        ...

    @property
    def wrote(self) -> int:
        """How many tokens have come at least."""
        ...

    def add(self, event: Json) -> None:
        """Take the next event."""
        ...

    def cut(self) -> Sequence[Json]:
        """The events that end it here as if it had come to the limit of its length; it is ended then."""
        ...

    def body(self) -> Json:
        """The answer, as it would have come without a stream."""
        ...


class Format(Protocol):
    """One wire format: what a request asks for, and what an answer and its stream are made of."""

    @property
    def method(self) -> Method:
        """Which one."""
        ...

    def limit(self, params: Json) -> int | None:
        """How many tokens each answer may have at most, if the request says so."""
        ...

    def limited(self, params: Json, tokens: int, key: str) -> Json:
        """The request with this limit; `key` is what the upstream calls it where the request has none."""
        ...

    def answers(self, params: Json) -> int:
        """How many answers it asks for."""
        ...

    def least(self, params: Json) -> int:
        """With fewer tokens than this an answer is of no use."""
        ...

    def objection(self, params: Json) -> str | None:
        """Why the request cannot be governed: something in it would not pass the broker."""
        ...

    def beyond(self, params: Json) -> bool:
        """Whether it holds something that may have more tokens than bytes: pictures, sounds, files."""
        ...

    def prompt(self, params: Json) -> str:
        """The system prompt, as one text; empty if there is none."""
        ...

    def tools(self, params: Json) -> list[tuple[str, Any]]:
        """Name and schema of the tools that the model is offered."""
        ...

    def deltas(self, event: Json) -> Sequence[Delta]:
        """The pieces of text in an event of a stream."""
        ...

    def ends(self, event: Json) -> Sequence[Slot]:
        """Beginnings of the slots whose texts end with this event."""
        ...

    def bare(self, event: Json) -> bool:
        """Whether it holds nothing but pieces of text."""
        ...

    def piece(self, event: Json, delta: Delta, text: str) -> Json:
        """An event like this one that holds nothing but a text in the place of one of its pieces."""
        ...

    def usage(self, body: Json) -> Usage | None:
        """What an answer says that it has used."""
        ...

    def assembly(self) -> Assembly:
        """For one stream."""
        ...


@dataclass(slots=True)
class Counter:
    """How many tokens have been written at least: one in every piece, and none is longer than so much."""

    pieces: int = 0
    bytes: int = field(default=0)

    def add(self, deltas: Sequence[Delta]) -> None:
        """Count some pieces."""
        self.pieces += len(deltas)
        self.bytes += sum(len(delta.text.encode(errors="replace")) for delta in deltas)

    @property
    def tokens(self) -> int:
        """So many at least."""
        return max(self.pieces, self.bytes // LONGEST_TOKEN)


def objects(value: object) -> list[Json]:
    """The objects in a list, whatever else may be there."""
    if not isinstance(value, list):
        return []
    return [cast("Json", item) for item in cast("list[Any]", value) if isinstance(item, dict)]


def nested(value: Mapping[str, Any], *keys: str) -> Json:
    """The object at the end of some keys; an empty one where there is none."""
    for key in keys:
        inside: Any = value.get(key)
        value = cast("Json", inside) if isinstance(inside, dict) else {}
    return dict(value)


def count(value: object) -> int:
    """A number of tokens; 0 for what is none."""
    return value if type(value) is int and value > 0 else 0


def texts_of(content: object) -> str:
    """The texts of a message's content, which is a text or a list of parts."""
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in objects(content) if isinstance(part.get("text"), str))
