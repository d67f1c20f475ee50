"""Where is something spoken of? A concept is a list of words and phrases, in many languages.

Phrases are in lower case; `*` at the end stands for any ending. A phrase that begins or ends with a
letter of a script that separates words does so at the edge of a word.
"""

from collections.abc import Iterable, Iterator
from typing import Protocol, cast

import ahocorasick

_UNSPACED = "\u2e80"
"""From here on (CJK, Hangul) words follow each other without a space."""


class _Automaton(Protocol):
    """The part of `ahocorasick.Automaton` that is used here; the library has no types."""

    def add_word(self, word: str, value: str) -> bool: ...
    def make_automaton(self) -> None: ...
    def iter(self, text: str, start: int, end: int) -> Iterator[tuple[int, str]]: ...


class Concept:
    """All phrases of one concept, found in one pass."""

    def __init__(self, phrases: Iterable[str]) -> None:
        self._open_end = {phrase.removesuffix("*"): phrase.endswith("*") for phrase in phrases}
        self._automaton = cast("_Automaton", ahocorasick.Automaton())  # pyright: ignore[reportUnknownMemberType]
        for phrase in self._open_end:
            self._automaton.add_word(phrase, phrase)
        self._automaton.make_automaton()

    @property
    def phrases(self) -> Iterable[str]:
        """Its phrases, without stars."""
        return self._open_end.keys()

    def within(self, lower: str, start: int, end: int) -> list[tuple[int, int]]:
        """Its places between two offsets, in order of their ends."""
        return [
            (last + 1 - len(phrase), last + 1)
            for last, phrase in self._automaton.iter(lower, start, end)
            if self.stands(phrase, lower, last + 1)
        ]

    def stands(self, phrase: str, lower: str, end: int) -> bool:
        """Whether a phrase that ends at an offset is whole words."""
        start = end - len(phrase)
        if start and _joined(lower[start - 1], phrase[0]):
            return False
        return self._open_end[phrase] or end == len(lower) or not _joined(phrase[-1], lower[end])


def _joined(a: str, b: str) -> bool:
    """Whether two characters beside each other belong to one word."""
    return (a.isalnum() or a == "_") and (b.isalnum() or b == "_") and a < _UNSPACED and b < _UNSPACED
