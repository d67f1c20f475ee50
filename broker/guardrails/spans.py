"""What is done to one text? Overlapping matches become one, and the text is rewritten once."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from broker.guardrails.interface import Action

REPLACES = frozenset({Action.PSEUDONYMISE, Action.REDACT})
_STRICTNESS = {action: n for n, action in enumerate(Action)}


@dataclass(frozen=True, slots=True)
class Verdict:
    """One stretch of a text and what is done about it. `guard` is the number of the guard that found it."""

    start: int
    end: int
    type: str
    action: Action
    guard: int
    would: Action | None = None
    via: str = ""


def resolve(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """The union of overlapping stretches that something is done about; cutting one would leave a part.

    The strictest action counts; of equally strict ones the first and longest gives the name. What is only
    flagged takes no part in that, and goes without saying where the same guard does more.
    """
    merged: list[Verdict] = []
    flagged: list[Verdict] = []
    for verdict in sorted(verdicts, key=lambda v: (v.start, -v.end, v.guard)):
        if verdict.action is Action.FLAG:
            flagged.append(verdict)
        elif merged and verdict.start < merged[-1].end:
            merged[-1] = _union(merged[-1], verdict)
        else:
            merged.append(verdict)
    if not flagged:
        return merged
    told = _told(flagged, merged)
    return sorted([*merged, *told], key=lambda v: (v.start, -v.end, v.guard)) if merged else told


def _told(flagged: Sequence[Verdict], merged: Sequence[Verdict]) -> list[Verdict]:
    """The flags that say something new: not twice the same, and not inside what their guard redacts."""
    starts = [verdict.start for verdict in merged]
    told: list[Verdict] = []
    for flag in flagged:
        before = bisect_right(starts, flag.start) - 1
        within = before >= 0 and flag.end <= merged[before].end and merged[before].guard == flag.guard
        last = told[-1] if told else None
        same = last and (last.start, last.end, last.guard, last.type) == (
            flag.start,
            flag.end,
            flag.guard,
            flag.type,
        )
        if not within and not same:
            told.append(flag)
    return told


def _union(a: Verdict, b: Verdict) -> Verdict:
    stricter = b if _STRICTNESS[b.action] > _STRICTNESS[a.action] else a
    return replace(stricter, start=a.start, end=max(a.end, b.end))


def rewritten(text: str, verdicts: Sequence[Verdict], substitute: Callable[[Verdict, str], str]) -> str:
    """The text with each stretch replaced that something else is to stand for; flagged ones stay."""
    pieces: list[str] = []
    at = 0
    for verdict in verdicts:
        if verdict.action in REPLACES:
            pieces += (text[at : verdict.start], substitute(verdict, text[verdict.start : verdict.end]))
            at = verdict.end
    return "".join((*pieces, text[at:]))
