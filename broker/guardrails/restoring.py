"""What is put back, and what must not come back? Pseudonyms on their way to a tool and out of a model.

Before arguments are read, so that guards and policies judge what will really be sent. After a completion has
been read, and only what its own caller has said in the same request. In results, names that look like
pseudonyms and are none of this caller's lose their brackets: nobody outside can name a value.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, cast

from broker.guardrails.interface import Writing
from broker.guardrails.pseudonyms import LONGEST_NAME, NAME, Disguise, Known, names_in
from broker.model import Json

Put = Callable[[Known, str], None]
"""Told of each value that is put back, and where (a JSON pointer)."""

_UNBOUNDED = 1 << 30
_BEGINS = re.compile(r"<(?:[A-Z][A-Z0-9_]*)?\Z")


class TooMuchError(ValueError):
    """What was put back makes the content too large."""


def texts_in(value: Any) -> Iterator[str]:
    """Every text in an object that may hold pseudonyms. Not its keys: they are not rewritten."""
    if isinstance(value, str):
        if "<" in value:
            yield value
    elif isinstance(value, list):
        for item in cast("list[Any]", value):
            yield from texts_in(item)
    elif isinstance(value, dict):
        for item in cast("Json", value).values():
            yield from texts_in(item)


def all_names(content: Json) -> set[str]:
    """Every name that stands in the texts of an object, issued or not."""
    return set[str]().union(*map(names_in, texts_in(content)))


def restored(content: Json, known: Mapping[str, Known], put: Put, room: int) -> Json:
    """A copy in which names are replaced by what they stand for; unknown ones stay as they are.

    Args:
        content: an object.
        known: by name.
        put: told of each.
        room: characters by which it may grow.

    Raises:
        TooMuchError: it would grow by more.
    """
    left = room

    def text(value: str, place: str) -> str:
        def value_of(found: re.Match[str]) -> str:
            nonlocal left
            one = known.get(found[1])
            if one is None:
                return found[0]
            left -= len(one.text)
            if left < 0:
                raise TooMuchError(f"restored values make it more than {room} characters longer")
            put(one, place)
            return one.text

        return NAME.sub(value_of, value)

    return cast("Json", _mapped(content, text, "")) if known else content


def meant(content: Json, disguise: Disguise | None) -> Json:
    """A result with the values that its pseudonyms stand for: what the transaction is to remember of it."""
    if disguise is None or not disguise.hidden:
        return content
    known = {name: Known(name, "", "", text) for name, text in disguise.hidden.items()}
    return restored(content, known, _untold, _UNBOUNDED)


def _untold(_: Known, __: str) -> None:
    """Nobody needs to know."""


def without_brackets(content: Json, strange: Collection[str], told: Callable[[str, str], None]) -> Json:
    """A copy in which these names are no pseudonyms any more: `<EMAIL_1>` becomes `[EMAIL_1]`.

    Args:
        content: an object.
        strange: the names.
        told: of each name, and where it stood.
    """

    def text(value: str, place: str) -> str:
        def other(found: re.Match[str]) -> str:
            if found[1] not in strange:
                return found[0]
            told(found[0], place)
            return f"[{found[1]}]"

        return NAME.sub(other, value)

    return cast("Json", _mapped(content, text, "")) if strange else content


def _mapped(value: Any, change: Callable[[str, str], str], place: str) -> Any:
    if isinstance(value, str):
        return change(value, place) if "<" in value else value
    if isinstance(value, list):
        items = cast("list[Any]", value)
        return [_mapped(item, change, f"{place}/{index}") for index, item in enumerate(items)]
    if isinstance(value, dict):
        fields = cast("Json", value).items()
        return {key: _mapped(item, change, f"{place}/{_step(key)}") for key, item in fields}
    return value


def _step(key: str) -> str:
    """One step of a JSON pointer; of a key that may hold anything nothing is told."""
    plain = len(key) < 32 and key.isascii() and key.replace("_", "").replace("-", "").isalpha()
    return key if plain else "*"


class RestoredText:
    """A text in the making whose pseudonyms are put back. What may become one is held back until it is.

    Args:
        inner: reads the text.
        known: by name: what may be put back.
        put: told of each.
        room: characters by which the text may grow; beyond them pseudonyms stay.
    """

    def __init__(self, inner: Writing, known: Mapping[str, Known], put: Put, room: int) -> None:
        self._inner = inner
        self._known = known
        self._put = put
        self._room = room
        self._held = ""

    def feed(self, chunk: str) -> str:
        """See `Writing.feed`."""
        return self._passed(self._inner.feed(chunk))

    def close(self) -> str:
        """See `Writing.close`."""
        out = self._passed(self._inner.close()) + self._held
        self._held = ""
        return out

    def _passed(self, text: str) -> str:
        whole = self._held + text
        begun = _BEGINS.search(whole, max(0, len(whole) - LONGEST_NAME))
        cut = begun.start() if begun else len(whole)
        self._held = whole[cut:]
        return NAME.sub(self._value, whole[:cut])

    def _value(self, found: re.Match[str]) -> str:
        one = self._known.get(found[1])
        if one is None or len(one.text) > self._room:
            return found[0]
        self._room -= len(one.text)
        self._put(one, "/text")
        return one.text
