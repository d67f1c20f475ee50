"""All texts of one object as one text, so that a detector reads them in one pass.

Between two texts stands a seam that no sensible pattern crosses; where one does all the same (a class
such as `[^-]` matches anything), `matches` reads that text again by itself. So what is found does not
depend on which texts stand beside each other.
"""

import re
import time
from bisect import bisect_right
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from broker.guardrails.scene import Scene, Stage

SEAM = "\n\x01\n"
"""Ends words, lines and white space."""

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Blob:
    """Base64 of binary content, which is not read as text: `mime` is what it is said to be."""

    mime: str
    data: str


Node = tuple["Node | None", str | int]
"""A container on the way down to a text: the one it stands in, and where in that."""


@dataclass(slots=True)
class Passage:
    """One text of an object: `name` is the nearest key above it, `step` where it stands in `node`."""

    value: str
    name: str = ""
    node: Node | None = None
    step: str | int = ""
    is_key: bool = False
    is_number: bool = False
    blob: Blob | None = None
    """Binary content that stands here; `value` is empty then."""

    @property
    def path(self) -> Path:
        """The keys and indexes that lead to it."""
        steps, node = [self.step], self.node
        while node is not None:
            steps.append(node[1])
            node = node[0]
        return tuple(reversed(steps))


class Message:
    """The texts of one object. Offsets everywhere are code points of `text`."""

    def __init__(
        self, passages: Sequence[Passage], stage: Stage, scene: Scene, blobs: Sequence[int] = ()
    ) -> None:
        self.passages = passages
        self.stage = stage
        self.scene = scene
        self.blobs = blobs
        """The numbers of the passages that stand for binary content."""
        self.deadline: float | None = None
        """When reading has to be done, on the clock of `time.monotonic`; None: there is no hurry."""
        self.text = SEAM.join([passage.value for passage in passages])
        starts: list[int] = []
        at = 0
        for passage in passages:
            starts.append(at)
            at += len(passage.value) + len(SEAM)
        self.starts = starts

    @cached_property
    def lower(self) -> str:
        """`text` in lower case, character for character."""
        lower = self.text.lower()
        return lower if len(lower) == len(self.text) else self.text.replace("İ", "i").lower()

    def hurry(self) -> None:
        """Raise TimeoutError when the deadline has passed."""
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise TimeoutError("reading takes too long")

    def number_at(self, offset: int) -> int:
        """Which passage an offset is in."""
        return bisect_right(self.starts, offset) - 1

    def bounds(self, number: int) -> tuple[int, int]:
        """Where in `text` a passage begins and ends."""
        start = self.starts[number]
        return start, start + len(self.passages[number].value)

    def matches(self, pattern: re.Pattern[str]) -> Iterator[re.Match[str]]:
        """Every match of a pattern, none across a seam.

        Raises:
            TimeoutError: the deadline has passed.
        """
        at: int | None = 0
        while at is not None and at <= len(self.text):
            at = yield from self._matches_from(pattern, at)

    def _matches_from(self, pattern: re.Pattern[str], at: int) -> Generator[re.Match[str], None, int | None]:
        """Matches up to the end of the first passage that one would leave, and where to go on."""
        start = end = -1
        for found in pattern.finditer(self.text, at):
            self.hurry()
            if found.start() > end:
                start, end = self.bounds(self.number_at(found.start()))
            if found.end() > end:  # read this passage by itself, then go on after it
                yield from pattern.finditer(self.text, max(at, start), end)
                return end + len(SEAM)
            yield found
            at = found.end()
        return None


@dataclass(frozen=True, slots=True)
class View:
    """A message as it reads after decoding or normalising, and the way back to the original.

    `origin` turns start and end in `message` into start and end in the message it was made from;
    `via` says how the passage at an offset was read.
    """

    message: Message
    origin: Callable[[int, int], tuple[int, int]]
    via: Callable[[int], str]
