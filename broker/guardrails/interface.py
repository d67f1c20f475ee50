"""Is it safe to pass on? What the pipeline asks of the guards, and what a detector is."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from broker.model import Json, Target


class Stage(StrEnum):
    """Where in a call a text is read."""

    ARGUMENTS = "arguments"
    RESULT = "result"


class Action(StrEnum):
    """What a guard does about a finding; the strictest of a screening wins."""

    FLAG = "flag"
    REDACT = "redact"
    BLOCK = "block"


@dataclass(frozen=True, slots=True)
class Span:
    """One match in one text: code points `start` to `end` (exclusive). Never holds the text."""

    start: int
    end: int
    type: str


class Detector(Protocol):
    """A small pure function from text to typed spans."""

    @property
    def name(self) -> str:
        """Name and version, e.g. `secrets@1`."""
        ...

    def detect(self, text: str, name: str = "") -> list[Span]:
        """All matches in one text, in order; `name` is the key that the text stands under, if any."""
        ...


@dataclass(frozen=True, slots=True)
class Finding:
    """What a guard found, for the record: never the text, only type, place, length and keyed hash.

    `place` is a JSON pointer (RFC 6901) into the screened object; `digest` is an HMAC-SHA-256 under
    a key of this deployment, so that equal values can be recognised and none can be guessed.
    """

    guard: str
    stage: Stage
    type: str
    action: Action
    place: str
    length: int
    digest: str


class Guards(Protocol):
    """All guards of the deployment, in one call. Pure: no I/O, no waiting."""

    def screen(self, content: Json, stage: Stage, target: Target, findings: list[Finding]) -> Json:
        """Read every text in `content` and return what may be passed on.

        The object itself comes back when nothing has to change. Findings are added to `findings`
        before anything is refused, so that the record of a refusal holds its reason.

        Raises:
            Blocked: the content must not be passed on, is too large or could not be read.
        """
        ...
