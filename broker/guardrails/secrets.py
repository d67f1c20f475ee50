"""Where does a text hold a secret? Known forms, and values given to telling names."""

import sys
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from itertools import pairwise

from ahocorasick_rs import BytesAhoCorasick, Implementation

from broker.guardrails.assignments import MARKS, find_assigned, is_secret, names_secret
from broker.guardrails.formats import Format, SecretKind, load_formats
from broker.guardrails.interface import Span

ASSIGNED = "assigned-secret"
"""The type of a value that only its name makes a secret."""

_MOST_NAMES = 10_000

_Found = tuple[int, int, str]
"""Start and end in bytes, and type."""


class Secrets:
    """The detector `secrets@1`."""

    name = "secrets@1"

    def __init__(self) -> None:
        self._formats = load_formats()
        keywords = sorted({k for f in self._formats for k in f.keywords} | set(MARKS))
        self._gate = BytesAhoCorasick([k.encode() for k in keywords], implementation=Implementation.DFA)
        self._of_keyword: list[tuple[Format, ...]] = [
            tuple(f for f in self._formats if keyword in f.keywords) for keyword in keywords
        ]
        self._marks = frozenset(n for n, keyword in enumerate(keywords) if keyword in MARKS)
        self._telling: dict[str, bool] = {}
        self.types: Mapping[str, SecretKind] = {
            **{f.id: f.kind for f in self._formats},
            ASSIGNED: SecretKind.ASSIGNED,
        }
        """Every type of finding and its kind."""

    def detect(self, text: str, name: str = "") -> list[Span]:
        """All secrets in one text, in order; `name` is the key the text stands under.

        Raises:
            UnicodeError: the text holds half a surrogate pair, or a rule cut a character.
        """
        data = text.encode()
        found: list[_Found] = []
        hits = self._gate.find_matches_as_indexes(data.lower(), overlapping=True)
        if hits:
            for tried in {id(f): f for keyword, _, _ in hits for f in self._of_keyword[keyword]}.values():
                found += [(start, end, tried.id) for start, end in tried.find(data)]
            marks = [(start, end) for keyword, start, end in hits if keyword in self._marks]
            found += [(start, end, ASSIGNED) for start, end in find_assigned(data, marks)]
        if name and not found and self._tells(name) and is_secret(text):
            found.append((0, len(data), ASSIGNED))
        return _spans(text, data, self._most_telling(found)) if found else []

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
