"""Where does a message hold a secret? Known forms, and values given to telling names."""

import sys
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import pairwise

from broker.documents import Node
from broker.guardrails.interface import Hits, Span, Stage
from broker.guardrails.message import Message
from broker.guardrails.secrets.assignments import MARKS, find_assigned, is_secret, names_secret
from broker.guardrails.secrets.formats import Format, SecretKind, load_formats

ASSIGNED = "assigned-secret"
"""The type of a value that only its name makes a secret."""

_MOST_NAMES = 10_000

_Found = tuple[int, int, str]
"""Start and end in bytes, and type."""


class Secrets:
    """The detector `secrets`."""

    name = "secrets"
    version = 2
    always = True  # a value may be a secret because of the key it stands under
    stages = frozenset(Stage)

    def __init__(self) -> None:
        formats = load_formats()
        self.literals = frozenset({k for f in formats for k in f.keywords} | set(MARKS))
        self._of_keyword: Mapping[str, tuple[Format, ...]] = {
            keyword: tuple(f for f in formats if keyword in f.keywords) for keyword in self.literals
        }
        self._marks = frozenset(MARKS)
        self._telling: dict[str, bool] = {}
        self.types: Mapping[str, str] = {**{f.id: f.kind for f in formats}, ASSIGNED: SecretKind.ASSIGNED}

    def detect(self, message: Message, hits: Hits) -> Sequence[Span]:
        """All secrets; see `Detector.detect`."""
        spans = self._by_form(message, hits) if hits else []
        for number, passage in enumerate(message.passages):
            if passage.name and self._tells(passage.name) and is_secret(passage.value):
                start, end = message.bounds(number)
                if not any(s.start < end and start < s.end for s in spans):
                    spans.append(Span(start, end, ASSIGNED))
        return spans

    def _by_form(self, message: Message, hits: Hits) -> list[Span]:
        """RE2 reads bytes; offsets are turned into code points in the end."""
        data = message.text.encode()
        found: list[_Found] = []
        for tried in {f.id: f for keyword in hits for f in self._of_keyword[keyword]}.values():
            places: Iterable[tuple[int, int]] = ()
            if tried.kind is SecretKind.KEY:
                places = _holding(message, [end for k in tried.keywords for end in hits.get(k, ())])
            found += [(start, end, tried.id) for start, end in tried.find(data, places)]
        marks = _marks(message, hits, self._marks)
        found += [(start, end, ASSIGNED) for start, end in find_assigned(data, marks)]
        return _spans(message.text, data, self._most_telling(found)) if found else []

    def _most_telling(self, found: list[_Found]) -> list[_Found]:
        """A web token remains one, whatever name it is given to."""
        tokens = sorted(span for span in found if self.types[span[2]] is SecretKind.SESSION)
        if not tokens:
            return found
        return [
            span
            for span in found
            if self.types[span[2]] is not SecretKind.ASSIGNED or not _is_inside(span, tokens)
        ]

    def _tells(self, name: str) -> bool:
        known = self._telling.get(name)
        if known is None:
            if len(self._telling) >= _MOST_NAMES:
                self._telling.clear()
            known = self._telling[name] = len(name) <= 64 and names_secret(name)
        return known


def _is_inside(span: _Found, tokens: list[_Found]) -> bool:
    before = bisect_right(tokens, (span[0], sys.maxsize, ""))
    return before > 0 and span[1] <= tokens[before - 1][1]


def _spans(text: str, data: bytes, found: Iterable[_Found]) -> list[Span]:
    """Spans in code points, in order."""
    ordered = sorted(found)
    if len(text) == len(data):
        return [Span(*span) for span in ordered]
    places = {0: 0}
    for earlier, later in pairwise(sorted({0, *(edge for span in ordered for edge in span[:2])})):
        places[later] = places[earlier] + len(data[earlier:later].decode())
    return [Span(places[start], places[end], kind) for start, end, kind in ordered]


def _marks(message: Message, hits: Hits, marks: frozenset[str]) -> list[tuple[int, int]]:
    """The places of the marks, in bytes; of two that overlap the first."""
    places: list[tuple[int, int]] = []
    for start, end in sorted((end - len(mark), end) for mark in hits.keys() & marks for end in hits[mark]):
        if not places or start >= places[-1][1]:
            places.append((start, end))
    return _in_bytes(message.text, places)


def _holding(message: Message, ends: Iterable[int]) -> list[tuple[int, int]]:
    """The passages that hold some offsets, in bytes."""
    numbers = {message.number_at(end - 1) for end in ends}
    return _in_bytes(message.text, [message.bounds(number) for number in sorted(numbers)])


def _in_bytes(text: str, places: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Places in code points, in order, as places in UTF-8."""
    if text.isascii():
        return list(places)
    at = size = 0
    found: list[tuple[int, int]] = []
    for start, end in places:
        size += len(text[at:start].encode())
        length = len(text[start:end].encode())
        found.append((size, size + length))
        at, size = (end, size + length) if end > start else (start, size)
    return found


@cache
def _secrets() -> Secrets:
    return Secrets()


def make_secrets(settings: Node | None) -> Secrets:
    """The guard `secrets`; it has no settings.

    Raises:
        ConfigurationError: there are some.
    """
    if settings is not None:
        settings.mapping(())
    return _secrets()
