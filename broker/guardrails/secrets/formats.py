"""Which secrets are known by their form? Rules in gitleaks' TOML format, for RE2.

A rule is tried only if one of its keywords is in the text, and RE2 takes linear time whatever the
text is. Texts are UTF-8 bytes here: offsets are turned into code points once, by the detector.
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from math import log2
from pathlib import Path
from typing import Any, Protocol, cast

import re2  # pyright: ignore[reportMissingTypeStubs]

from broker.guardrails.message import SEAM

_SEAM = SEAM.encode()
_FILES = ("secrets.toml", "gitleaks.toml")
_WORD = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


class SecretKind(StrEnum):
    """What sort of secret a type is; settings speak of these."""

    KEY = "key"
    """Private keys."""
    TOKEN = "token"
    """Tokens that are known by their own form."""
    ASSIGNED = "assigned"
    """Values known by what stands before them: `password=…`, credentials in a URL."""
    SESSION = "session"
    """JSON Web Tokens: short-lived, and often meant to be passed on."""


class Found(Protocol):
    """The part of a match object that is used here."""

    def span(self, group: int = 0) -> tuple[int, int]:
        """Start and end of a group; -1 if it took no part."""
        ...


class Pattern(Protocol):
    """The part of a compiled RE2 pattern that is used here."""

    groups: int

    def search(self, text: bytes) -> Found | None:
        """The first match."""
        ...

    def match(self, text: bytes, pos: int) -> Found | None:
        """The match that begins at `pos`."""
        ...

    def finditer(self, text: bytes, pos: int = 0, endpos: int | None = None) -> Iterator[Found]:
        """All matches that do not overlap, from `pos` to `endpos`."""
        ...


@dataclass(frozen=True, slots=True)
class Format:
    """One rule: what its secrets look like, and which of them are samples."""

    id: str
    kind: SecretKind
    keywords: tuple[str, ...]
    pattern: Pattern
    group: int | None
    entropy: float
    samples: tuple[tuple[str, Pattern], ...]

    def find(self, text: bytes, passages: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """The secrets of this form, without the placeholders.

        Args:
            text: all passages with seams between them.
            passages: those that hold a keyword. A rule that would read on to a far end (private keys)
                is tried on each by itself; the others stop at a seam anyway.
        """
        covered = 0
        if self.kind is SecretKind.KEY:
            matches = chain.from_iterable(self.pattern.finditer(text, *place) for place in passages)
        else:
            matches = _within_passages(self.pattern, text)
        for found in matches:
            start, end = self._secret(found)
            if end - start < 2 or start < covered or self._harmless(text, found.span(), (start, end)):
                continue
            covered = _end_of_word(text, end) if self.kind is SecretKind.TOKEN else end
            yield start, covered

    def _secret(self, found: Found) -> tuple[int, int]:
        """As gitleaks has it: the group that is named, else the first that took part, else everything."""
        if self.group is not None:
            return found.span(self.group)
        spans = (found.span(group) for group in range(1, self.pattern.groups + 1))
        return next((span for span in spans if span[0] >= 0), found.span())

    def _harmless(self, text: bytes, match: tuple[int, int], span: tuple[int, int]) -> bool:
        if self.kind is SecretKind.KEY:
            return False  # a key holds any sequence of letters; its form is proof enough
        secret = text[slice(*span)]
        if entropy(secret) <= self.entropy or is_placeholder(secret):
            return True
        for target, pattern in self.samples:
            if pattern.search(text[slice(*match)] if target == "match" else secret):
                return True
        return False


def _within_passages(pattern: Pattern, text: bytes) -> Iterator[Found]:
    """All matches, none across a seam: a passage in which one would begin is read again by itself."""
    at = 0
    while at <= len(text):
        for found in pattern.finditer(text, at):
            start, end = found.span()
            seam = text.find(_SEAM, start, end)
            if seam >= 0:
                yield from pattern.finditer(text, max(at, start), seam)
                at = seam + len(_SEAM)
                break
            at = end
            yield found
        else:
            return


def compile_pattern(pattern: str) -> Pattern:
    """A pattern over bytes."""
    return cast("Pattern", re2.compile(pattern.encode()))  # pyright: ignore[reportUnknownMemberType] - no types


def load_formats() -> tuple[Format, ...]:
    """All rules that come with the broker."""
    return tuple(
        _format(rule)
        for name in _FILES
        for rule in tomllib.loads((Path(__file__).parent / "data" / name).read_text("utf-8"))["rules"]
    )


def _format(rule: Mapping[str, Any]) -> Format:
    return Format(
        id=rule["id"],
        kind=SecretKind(rule["tags"][0]),
        keywords=tuple(rule["keywords"]),
        pattern=compile_pattern(rule["regex"]),
        group=rule.get("secretGroup"),
        entropy=rule.get("entropy", 0),
        samples=tuple(
            (allowed.get("regexTarget", "secret"), compile_pattern(pattern))
            for allowed in rule.get("allowlists", ())
            for pattern in allowed["regexes"]
        ),
    )


def entropy(value: bytes) -> float:
    """Shannon entropy in bits for each byte."""
    size = len(value)
    return -sum(n / size * log2(n / size) for n in map(value.count, set(value)))


_PLACEHOLDER = compile_pattern(
    r"(?i)example|placeholder|redacted|changeme|change[_-]me|dummy|your[_-]|_here\b|insert[_-]|<[^>]*>|\$\{|\{\{|%\("
    r"|x{5}|\*{4}|\.{4}|\.\.$|abcdefgh|^\$[a-z_]+$|^%[a-z_]+%$"
)


def is_placeholder(value: bytes) -> bool:
    """Whether a value only stands for a secret, as in documentation."""
    return len(set(value)) < 4 or _PLACEHOLDER.search(value) is not None


def _end_of_word(text: bytes, end: int) -> int:
    """What is glued to a token belongs to it: redacting a part would leave a part."""
    while end < len(text) and text[end] in _WORD:
        end += 1
    return end
