"""What is done to one text? Overlapping matches become one, and the text is rewritten once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from broker.guardrails.interface import Action, Span

_STRICTNESS = {Action.FLAG: 0, Action.REDACT: 1, Action.BLOCK: 2}


@dataclass(frozen=True, slots=True)
class Verdict:
    """One stretch of a text and what is done about it."""

    start: int
    end: int
    type: str
    action: Action


def resolve(spans: Sequence[Span], actions: Mapping[str, Action]) -> list[Verdict]:
    """The union of overlapping spans, under the strictest of their actions; cutting would leave a part.

    Types without an action are not looked for.
    """
    merged: list[Verdict] = []
    for span in sorted(spans, key=lambda s: (s.start, -s.end)):
        action = actions.get(span.type)
        if action is None:
            continue
        verdict = Verdict(span.start, span.end, span.type, action)
        if merged and span.start < merged[-1].end:
            merged[-1] = _union(merged[-1], verdict)
        else:
            merged.append(verdict)
    return merged


def _union(a: Verdict, b: Verdict) -> Verdict:
    stricter = b if _STRICTNESS[b.action] > _STRICTNESS[a.action] else a
    return Verdict(a.start, max(a.end, b.end), stricter.type, stricter.action)


def redacted(text: str, verdicts: Sequence[Verdict]) -> str:
    """The text with each stretch replaced by `[redacted:<type>]`; flagged ones stay."""
    pieces: list[str] = []
    at = 0
    for verdict in verdicts:
        if verdict.action is not Action.FLAG:
            pieces += (text[at : verdict.start], f"[redacted:{verdict.type}]")
            at = verdict.end
    return "".join((*pieces, text[at:]))
