"""What do the guards that are in force find in a message?"""

import logging
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import anyio

from broker.guardrails.conduct import Conduct, Guard, Rulings
from broker.guardrails.gate import Gate
from broker.guardrails.interface import Action, Detector, Reviewer, Span
from broker.guardrails.message import Message, View
from broker.guardrails.spans import Verdict
from broker.guardrails.views import views_of

logger = logging.getLogger("broker.guardrails")

UNREAD = "not-scanned"
"""The type of a finding that stands for a guard that failed."""


class Armed:
    """All guards of a conduct, ready to read. Replaced as a whole when the policies change."""

    def __init__(self, conduct: Conduct) -> None:
        self.conduct = conduct
        self.guards: Sequence[Guard] = conduct.guards
        self.names = [guard.name for guard in conduct.guards]
        self._detectors: list[tuple[int, Detector]] = []
        self.reviewers: list[tuple[int, Reviewer]] = []
        for number, guard in enumerate(conduct.guards):
            if hasattr(guard.detector, "review"):
                self.reviewers.append((number, cast("Reviewer", guard.detector)))
            else:
                self._detectors.append((number, cast("Detector", guard.detector)))
        self._gate = Gate([detector for _, detector in self._detectors])

    def look(self, message: Message, rulings: Sequence[Rulings]) -> list[Verdict]:
        """What is found in the message itself and in whatever it can be decoded to."""
        verdicts = list(self._detect(message, rulings))
        for view in views_of(message):
            verdicts += (_back(verdict, view) for verdict in self._detect(view.message, rulings))
        return verdicts

    def look_again(self, message: Message, rulings: Sequence[Rulings]) -> list[Verdict]:
        """What a rewritten message still holds that may not be passed on; flags have been told before."""
        strict = [
            {kind: ruling for kind, ruling in ruled.items() if ruling.action is not Action.FLAG}
            for ruled in rulings
        ]
        return list(self._detect(message, strict))

    def _detect(self, message: Message, rulings: Sequence[Rulings]) -> Iterator[Verdict]:
        hits = self._gate.hits(message.lower)
        for (number, detector), literals in zip(self._detectors, hits, strict=True):
            ruled = rulings[number]
            if not ruled or not (literals or detector.always):
                continue
            try:
                message.hurry()
                spans = detector.detect(message, literals)
            except Exception as error:  # noqa: BLE001 - whatever the reason, the message is not read
                yield self._failed(number, error)
                continue
            yield from _ruled(spans, ruled, number)

    async def review(
        self,
        message: Message,
        verdicts: Sequence[Verdict],
        rulings: Sequence[Rulings],
    ) -> list[Verdict]:
        """What the reviewers find. One that fails or is too slow has not read the message."""
        found = [Span(v.start, v.end, v.type) for v in verdicts if v.type != UNREAD]
        more: list[Verdict] = []
        for number, reviewer in self.reviewers:
            ruled = rulings[number]
            if not ruled:
                continue
            try:
                with anyio.fail_after(reviewer.within_s):
                    spans = await reviewer.review(message, found)
            except Exception as error:  # noqa: BLE001 - whatever the reason, the message is not read
                more.append(self._failed(number, error))
                continue
            more += _ruled(spans, ruled, number)
        return more

    def _failed(self, number: int, error: Exception) -> Verdict:
        """A guard has not read the message; its file says what is done then.

        Of the error only its type and place are logged: its text may hold what was being read.
        """
        where = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}"
        logger.error("guard %s failed: %s", self.names[number], what)
        return self.unread(number)

    def unread(self, number: int) -> Verdict:
        """What it means that a guard has not read a message."""
        return Verdict(0, 0, UNREAD, self.guards[number].unread, number)


def _ruled(spans: Sequence[Span], rulings: Rulings, number: int) -> Iterator[Verdict]:
    for span in spans:
        if ruling := rulings.get(span.type):
            yield Verdict(span.start, span.end, span.type, ruling.action, number, ruling.would)


def _back(verdict: Verdict, view: View) -> Verdict:
    """A finding in a view, as a finding in what the view was made from."""
    if verdict.type == UNREAD:
        return verdict
    start, end = view.origin(verdict.start, verdict.end)
    return Verdict(
        start, end, verdict.type, verdict.action, verdict.guard, verdict.would, view.via(verdict.start)
    )
