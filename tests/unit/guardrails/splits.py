"""Do streams give the same however they are cut? Every two-way split of every text, and many random ones.

    python -m tests.unit.guardrails.splits FILE [--splits N] [--part I/N]

FILE holds JSON lines with `text`. What guards say of a text does not depend on the stream that it stands in,
so it is kept: a split then costs what cutting and holding back cost, and 10,000 of a text take a second.
"""

import argparse
import json
import random
import sys
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

from broker.errors import Blocked
from broker.guardrails.interface import Action, Finding
from broker.guardrails.scene import Stage
from broker.guardrails.screen import Screen
from broker.guardrails.spans import Verdict
from broker.guardrails.streams import ScreenedText
from broker.settings import LimitSettings
from tests.unit.guardrails.kit import SCENE, SCREEN

Left = tuple[str, tuple[Finding, ...], str | None]
"""What left, what was found, and why it ended."""


class Cut:
    """One text in one stage, which can be streamed in many ways.

    Args:
        text: all of it.
        stage: as what it is read.
        screen: whose guards read it.
    """

    def __init__(self, text: str, stage: Stage, screen: Screen = SCREEN) -> None:
        self.text = text
        self._screen, self._stage = screen, stage
        self._look = cache(self._looked)
        self._settled: dict[tuple[str, tuple[Verdict, ...]], tuple[str, tuple[Finding, ...], str | None]] = {}
        self.whole = self.streamed([text])
        self._blocked_from = self._first_blocked()

    def streamed(self, chunks: Sequence[str]) -> Left:
        """What becomes of the text in these chunks."""
        findings: list[Finding] = []
        stream = ScreenedText(self._look, self._settling(findings), LimitSettings().result_bytes)
        out: list[str] = []
        try:
            out += [stream.feed(chunk) for chunk in chunks]
            out.append(stream.close())
        except Blocked as blocked:
            return "".join(out), tuple(findings), blocked.message
        return "".join(out), tuple(findings), None

    def differs(self, places: Sequence[int]) -> bool:
        """Whether the text cut at these places gives something else than in one piece, or more before a block."""
        edges = sorted({0, len(self.text), *places})
        left, found, end = self.streamed([self.text[a:b] for a, b in pairwise(edges)])
        whole, findings, ended = self.whole
        if (found, end) != (findings, ended):
            return True
        if end is None:
            return left != whole
        return not self.text.startswith(left) or len(left) > self._blocked_from

    def _first_blocked(self) -> int:
        """Where what is blocked begins: nothing from there on may have left."""
        blocks = (v.start for v in self._look(self.text) if v.action is Action.BLOCK)
        return min(blocks, default=len(self.text))

    def _looked(self, text: str) -> Sequence[Verdict]:
        return self._screen.stream(self._stage, SCENE, [])._look(text)

    def _settling(self, findings: list[Finding]) -> Callable[[str, Sequence[Verdict]], str]:
        def settle(text: str, verdicts: Sequence[Verdict]) -> str:
            key = (text, tuple(verdicts))
            if key not in self._settled:
                self._settled[key] = self._settle_once(text, verdicts)
            out, found, refusal = self._settled[key]
            findings.extend(found)
            if refusal is not None:
                raise Blocked(refusal)
            return out

        return settle

    def _settle_once(
        self, text: str, verdicts: Sequence[Verdict]
    ) -> tuple[str, tuple[Finding, ...], str | None]:
        found: list[Finding] = []
        stream = self._screen.stream(self._stage, SCENE, found)
        try:
            out = stream._settle(text, verdicts)
        except Blocked as blocked:
            return "", tuple(found), blocked.message
        return out, tuple(found), None


def differing(text: str, stage: Stage, splits: int, chance: random.Random) -> list[list[int]]:
    """The splits of a text that give something else: all in two, then random ones, `splits` in all."""
    cut, size = Cut(text, stage), len(text)
    in_two = [[place] for place in range(1, size)][:splits]
    many = (
        [chance.randint(0, size) for _ in range(chance.randint(2, 12))] for _ in range(splits - len(in_two))
    )
    return [places for places in (*in_two, *many) if cut.differs(places)]


def main() -> None:
    """Print how many splits of how many texts were tried, and every text with one that differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--splits", type=int, default=10_000, help="of each text and stage")
    parser.add_argument("--part", default="0/1", help="only this part of the texts, e.g. 1/2")
    options = parser.parse_args()
    part, parts = map(int, options.part.split("/"))
    lines = options.file.read_text("utf-8").splitlines()[part::parts]
    bad = 0
    for number, line in enumerate(lines):
        text = str(json.loads(line)["text"])
        for stage in (Stage.COMPLETION, Stage.ARGUMENTS):
            wrong = differing(text, stage, options.splits, random.Random(number))  # noqa: S311 - which splits are tried is no secret
            bad += len(wrong)
            if wrong:
                print(f"text {number} as {stage}: {len(wrong)} splits differ, e.g. {wrong[0]}")
    print(f"{len(lines)} texts, {options.splits} splits each in 2 stages: {bad} differ")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
