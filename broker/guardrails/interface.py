"""Is it safe to pass on? What the pipeline asks of the guards, and what a detector is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from broker.guardrails.message import Message
from broker.guardrails.scene import Scene, Stage
from broker.model import Json

FURTHER = "further-findings"
"""The type of the finding that stands for all that are too many to be listed."""


class Action(StrEnum):
    """What a guard does about a finding; the strictest of a screening wins."""

    ALLOW = "allow"
    """Nothing; it is not even recorded."""
    FLAG = "flag"
    """It is passed on and recorded."""
    RESTORE = "restore"
    """A pseudonym in it is replaced by what it stands for. Not for rules to say: see `restore` there."""
    PSEUDONYMISE = "pseudonymise"
    """It is replaced by a name that the broker can put it back for."""
    REDACT = "redact"
    """It is replaced."""
    APPROVE = "approve"
    """A human has to agree before the call is made."""
    BLOCK = "block"
    """Nothing is passed on."""


class Span(NamedTuple):
    """One match: code points `start` to `end` (exclusive) of a message's text. Never holds the text."""

    start: int
    end: int
    type: str
    score: float = 1.0
    """How sure the detector is, 0 to 1."""


Hits = Mapping[str, Sequence[int]]
"""The literals of a detector that occur in a message (in lower case), each with the ends of its places."""


class Detector(Protocol):
    """A pure function from all texts of a message to typed spans, in one pass.

    It is asked only when one of its literals occurs, unless `always` says otherwise. It may be called
    from several threads at once, so it keeps nothing between two messages.
    """

    @property
    def name(self) -> str:
        """What policies call it, e.g. `secrets`."""
        ...

    @property
    def version(self) -> int:
        """Grows when it begins to find something else; records name it."""
        ...

    @property
    def types(self) -> Mapping[str, str]:
        """Every type of finding and the group it belongs to; policies speak of both."""
        ...

    @property
    def literals(self) -> frozenset[str]:
        """In lower case: one of them is in every text that holds a finding."""
        ...

    @property
    def always(self) -> bool:
        """Whether it is asked although none of its literals occurs."""
        ...

    @property
    def stages(self) -> frozenset[Stage]:
        """Where it has anything to say."""
        ...

    def detect(self, message: Message, hits: Hits, /) -> Sequence[Span]:
        """All findings, in any order; they may overlap. None may reach across two passages."""
        ...


class Reviewer(Protocol):
    """A second look that takes milliseconds or another process: a classifier, an engine of others.

    It is asked after the detectors, for what they have read and found.
    """

    @property
    def name(self) -> str:
        """As of a detector."""
        ...

    @property
    def version(self) -> int:
        """As of a detector."""
        ...

    @property
    def types(self) -> Mapping[str, str]:
        """As of a detector."""
        ...

    @property
    def stages(self) -> frozenset[Stage]:
        """As of a detector."""
        ...

    @property
    def within_s(self) -> float:
        """Seconds after which the message counts as not read."""
        ...

    async def review(self, message: Message, found: Sequence[Span], /) -> Sequence[Span]:
        """What it finds; `found` is what the detectors found in the message, whatever is done about it."""
        ...


@dataclass(frozen=True, slots=True)
class Finding:
    """What a guard found, for the record: never the text, only type, place, length and keyed hash.

    `guard` is name and version, `secrets@2`. `action` is what was done; in shadow mode that is `flag`,
    and `would` is what enforcing would have done. `place` is a JSON pointer (RFC 6901) into the screened
    object; `digest` is an HMAC-SHA-256 under a key of this deployment, so that equal values can be
    recognised and none can be guessed. `via` is how a text had to be read for the finding to show
    (`normalised`, `base64`, …).
    """

    guard: str
    stage: Stage
    type: str
    action: Action
    place: str
    length: int
    digest: str
    would: Action | None = None
    via: str = ""
    approver: str = ""
    """Whose consent it takes, where the action is `approve`."""
    person: bytes = b""
    """Where it names a person and is passed on: the keyed hash by which that person is found again."""

    @property
    def rule(self) -> str:
        """What a refusal names: `secrets/private-key`."""
        return f"{self.guard.partition('@')[0]}/{self.type}"


class Writing(Protocol):
    """A text in the making, read as it grows."""

    def feed(self, chunk: str) -> str:
        """Take the next characters; returns those that may be passed on now.

        Raises:
            Blocked: a guard stops it. Nothing more may be fed.
        """
        ...

    def close(self) -> str:
        """The text has ended: what was held back, as it may be passed on.

        Raises:
            Blocked: as `feed`.
        """
        ...


class Guards(Protocol):
    """All guards of the deployment, in one call."""

    async def screen(self, content: Json, stage: Stage, scene: Scene, findings: list[Finding]) -> Json:
        """Read every text in `content` and return what may be passed on.

        The object itself comes back when nothing has to change. Findings are added to `findings`
        before anything is refused, so that the record of a refusal holds its reason. It waits only for
        large content, which is read in another thread.

        Raises:
            Blocked: the content must not be passed on, is too large or could not be read.
        """
        ...

    def stream(self, stage: Stage, scene: Scene, findings: list[Finding]) -> Writing:
        """Read a text while it is being written.

        Raises:
            Blocked: a guard is in force that cannot read streams and must not be passed by.
        """
        ...
