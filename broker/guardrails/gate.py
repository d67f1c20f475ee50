"""Which detectors have anything to look at? One automaton over the literals of all of them."""

from collections.abc import Iterator, Sequence
from typing import Protocol, cast

import ahocorasick

from broker.guardrails.interface import Detector


class _Automaton(Protocol):
    """The part of `ahocorasick.Automaton` that is used here; the library has no types."""

    def add_word(self, word: str, value: tuple[str, tuple[int, ...]]) -> bool: ...
    def make_automaton(self) -> None: ...
    def iter(self, text: str) -> Iterator[tuple[int, tuple[str, tuple[int, ...]]]]: ...


class Gate:
    """Finds the literals of all detectors in one pass over a text in lower case.

    The library holds on to the interpreter lock, on purpose: one that lets go of it for a few microseconds
    of work hands it to another thread, and getting it back costs more than the search.
    """

    def __init__(self, detectors: Sequence[Detector]) -> None:
        self._size = len(detectors)
        owners: dict[str, list[int]] = {}
        for number, detector in enumerate(detectors):
            for literal in detector.literals:
                owners.setdefault(literal, []).append(number)
        self._automaton = cast("_Automaton", ahocorasick.Automaton())  # pyright: ignore[reportUnknownMemberType]
        for literal, numbers in owners.items():
            self._automaton.add_word(literal, (literal, tuple(numbers)))
        self._automaton.make_automaton()
        self._empty = not owners

    def hits(self, lower: str) -> list[dict[str, list[int]]]:
        """For each detector its literals that occur, with the offset after each place."""
        found: list[dict[str, list[int]]] = [{} for _ in range(self._size)]
        if not self._empty:
            for last, (literal, numbers) in self._automaton.iter(lower):
                for number in numbers:
                    found[number].setdefault(literal, []).append(last + 1)
        return found
