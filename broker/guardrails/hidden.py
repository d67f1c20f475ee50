"""Which characters of a text does nobody see, and which look like others?"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from broker.documents import Node
from broker.guardrails.interface import Hits, Span, Stage
from broker.guardrails.message import Message

TAGS = re.compile(
    "(?<![\U0001f3f4\U000e0020-\U000e007e])[\U000e0020-\U000e007e]{4,}|(?<=\U0001f3f4)[\U000e0020-\U000e007e]{8,}"
)
"""Tag characters spell ASCII invisibly; after a black flag up to seven make the flag of a region."""

SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4,}")
"""Variation selectors in a row stand for bytes, not for variants."""

_PATTERNS: Mapping[str, re.Pattern[str]] = {
    "tag-characters": TAGS,
    "variation-selectors": SELECTORS,
    "zero-width": re.compile(
        "(?:[^\\W\\d_][\u200b\u200c\u200d\u2060\ufeff]){3,}[^\\W\\d_]?|[\u200b\u200c\u2060\ufeff]{6,}"
    ),
    "mixed-scripts": re.compile(
        "(?<![^\\W\\d_])(?=[^\\W\\d_]*[A-Za-z])(?=[^\\W\\d_]*[\u0370-\u03ff\u0400-\u04ff])[A-Za-z\u0370-\u03ff\u0400-\u04ff]{3,64}"
    ),
    "styled-letters": re.compile("[\U0001d400-\U0001d7ff](?:[\\W_]*[\U0001d400-\U0001d7ff]){12,}"),
}
_PRESENT: Mapping[str, re.Pattern[str]] = {
    "zero-width": re.compile("[\u200b\u200c\u200d\u2060\ufeff]"),
    "mixed-scripts": re.compile("[\u0370-\u03ff\u0400-\u04ff]"),
}
"""What has to be there at all; looking for one character is much cheaper than for the pattern."""

_BIDI = re.compile("[\u202d\u202e\u2066-\u2068]")
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_JOINED = re.compile("[\u0600-\u07ff\u0900-\u0dff\u0e00-\u0fff\u1780-\u17ff]")
"""Scripts in which a zero-width joiner is spelling."""


class Hidden:
    """The detector `hidden`."""

    name = "hidden"
    version = 1
    always = True
    literals: frozenset[str] = frozenset()
    stages = frozenset(Stage)
    types: Mapping[str, str] = {
        "tag-characters": "encoded",
        "variation-selectors": "encoded",
        "zero-width": "invisible",
        "bidi-override": "invisible",
        "mixed-scripts": "disguised",
        "styled-letters": "disguised",
    }

    def detect(self, message: Message, _: Hits, /) -> Sequence[Span]:
        """See `Detector.detect`. Plain ASCII holds nothing of this."""
        return [] if message.text.isascii() else list(_hidden(message))


def _hidden(message: Message) -> Iterator[Span]:
    text = message.text
    for kind, pattern in _PATTERNS.items():
        if kind in _PRESENT and not _PRESENT[kind].search(text):
            continue
        for found in message.matches(pattern):
            if kind == "zero-width" and _JOINED.search(found[0]):
                continue
            yield Span(found.start(), found.end(), kind)
    if _BIDI.search(text):
        for found in message.matches(_BIDI):
            start, end = message.bounds(message.number_at(found.start()))
            if not _RIGHT_TO_LEFT.search(text, start, end):
                yield Span(found.start(), found.end(), "bidi-override")


@cache
def _shared() -> Hidden:
    return Hidden()


def make_hidden(settings: Node | None) -> Hidden:
    """The guard `hidden`; it has no settings.

    Raises:
        ConfigurationError: there are some.
    """
    if settings is not None:
        settings.mapping(())
    return _shared()
