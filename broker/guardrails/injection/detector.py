"""Where does a text give orders to whoever reads it? Evidence of several kinds, close together."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from broker.documents import Node
from broker.guardrails.injection.rules import Evidence, evidence, rule_set
from broker.guardrails.interface import Hits, Span, Stage
from broker.guardrails.message import Message

WINDOW = 500
"""Characters within which evidence adds up: far apart, it is chance."""

CERTAIN, LIKELY, SUSPICIOUS = 9.0, 6.0, 3.0
"""Points from which a finding has each type."""

_FULL = 12.0
_DISCUSSED = 2.0
_DISCUSSION_REACH = 300
_QUOTED = 0.5
_QUOTES = {'"': '"', "`": "`", "“": "”", "«": "»", "„": "“", "\u2018": "\u2019"}
_LONGEST_QUOTE = 160


class Injection:
    """The detector `injection`."""

    name = "injection"
    version = 1
    always = False
    stages = frozenset(Stage)
    types: Mapping[str, str] = {
        "orders": "orders",
        "likely-orders": "orders",
        "suspicious": "suspicious",
    }

    def __init__(self) -> None:
        self.literals = frozenset(rule_set().of_literal)

    def detect(self, message: Message, hits: Hits) -> Sequence[Span]:
        """See `Detector.detect`."""
        return [
            Span(start, end, _type(points), min(1.0, points / _FULL))
            for start, end, points in weighed(message.lower, hits)
            if points >= SUSPICIOUS
        ]


def weighed(lower: str, hits: Hits) -> list[tuple[int, int, float]]:
    """Stretches with evidence and their points, in order; of those that overlap the heaviest."""
    found = sorted(evidence(lower, hits), key=lambda one: (one.start, one.end))
    return [
        (start, end, _in_context(lower, start, end, families))
        for start, end, families in _heaviest(_windows(lower, found))
    ]


_Window = tuple[int, int, Mapping[str, float]]


def _heaviest(windows: Iterator[_Window]) -> Iterator[_Window]:
    best: _Window | None = None
    for window in windows:
        if best is None or window[0] >= best[1]:
            if best is not None:
                yield best
            best = window
        elif sum(window[2].values()) > sum(best[2].values()):
            best = window
    if best is not None:
        yield best


def _windows(lower: str, found: Sequence[Evidence]) -> Iterator[_Window]:
    """For each place the evidence that begins within reach of it, in the same text."""
    for number, first in enumerate(found):
        if number and found[number - 1].start == first.start:
            continue
        limit = first.start + WINDOW
        seam = lower.find("\x01", first.start, limit)
        limit = seam if seam >= 0 else limit
        families: dict[str, float] = {}
        end = first.end
        for at in range(number, len(found)):
            one = found[at]
            if one.start >= limit:
                break
            points = one.weight * (_QUOTED if _is_quoted(lower, one) else 1.0)
            families[one.family] = max(families.get(one.family, 0.0), points)
            end = max(end, one.end)
        yield first.start, end, families


def _in_context(lower: str, start: int, end: int, families: Mapping[str, float]) -> float:
    rules = rule_set()
    points = sum(families.values())
    for rule in rules.helpers:
        anchor = rules.concepts[rule.concepts[rule.anchor]]
        reach = (max(0, start - 60), min(len(lower), end + 60))
        if rule.family not in families and any(
            rules.match(rule, lower, *place) for place in anchor.within(lower, *reach)
        ):
            points += rule.weight
    around = (max(0, start - _DISCUSSION_REACH), min(len(lower), end + _DISCUSSION_REACH))
    talk = {lower[s:e] for s, e in rules.concepts["discussion"].within(lower, *around)}
    return points - _DISCUSSED if len(talk) > 1 and points < CERTAIN + _DISCUSSED else points


def _is_quoted(lower: str, one: Evidence) -> bool:
    """Whether the evidence is the whole of a short quotation: spoken about rather than spoken."""
    before, after = lower[max(0, one.start - 2) : one.start], lower[one.end : one.end + _LONGEST_QUOTE]
    for mark in before[::-1]:
        if mark in _QUOTES:
            closing = after.find(_QUOTES[mark])
            return closing >= 0 and "\x01" not in after[:closing]
    return False


def _type(points: float) -> str:
    if points >= CERTAIN:
        return "orders"
    return "likely-orders" if points >= LIKELY else "suspicious"


@cache
def _injection() -> Injection:
    return Injection()


def make_injection(settings: Node | None) -> Injection:
    """The guard `injection`; it has no settings.

    Raises:
        ConfigurationError: there are some.
    """
    if settings is not None:
        settings.mapping(())
    return _injection()
