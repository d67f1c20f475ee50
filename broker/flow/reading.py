"""What has this process read of a transaction, and what has it added since?"""

import secrets
from collections.abc import Iterable, Sequence

import anyio

from broker.flow.interface import MOST_MARKS, Kept
from broker.flow.step import Step
from broker.flow.words import Word
from broker.model import Origin

_DOUBT = (Origin.TASK, Origin.OWN, Origin.TRUSTED, Origin.QUOTED, Origin.UNSEEN, Origin.UNTRUSTED)
"""Where a value comes from, the most trusted first."""


class Reading:
    """One reading of a transaction, and what this process has added to it since."""

    __slots__ = (
        "bound",
        "counted",
        "drained",
        "id",
        "known",
        "names",
        "origins",
        "pending",
        "stale",
        "tally",
        "told",
        "unkept",
    )

    def __init__(self, transaction: str, kept: Kept) -> None:
        self.id = secrets.token_hex(8)
        self.names = {transaction}
        """By which this process finds it."""
        self.bound: set[str] = set()
        """Those of the names that are known to be kept."""
        self.known = kept.version
        self.tally = kept.tally
        self.origins = dict(kept.origins)
        self.counted = set(kept.counted)
        self.told: set[bytes] = set()
        """The task texts that were taken in."""
        self.unkept: set[bytes] = set()
        """What stands in them and is not known to be kept."""
        self.pending = 0
        """Steps that are counted and not yet on the disk."""
        self.stale = False
        self.drained = anyio.Event()

    def sight(self, digests: Iterable[bytes], origin: Origin) -> frozenset[bytes]:
        """Remember where values were seen first; returns those that are new."""
        room = MOST_MARKS - len(self.origins) - len(self.counted)
        new = frozenset([digest for digest in digests if digest not in self.origins])
        if len(new) > room:
            new = frozenset(list(new)[: max(room, 0)])
            self.tally.full = True
        self.origins.update(dict.fromkeys(new, origin))
        return new

    def origin(self, words: Sequence[Word]) -> Origin:
        """Where a value comes from: where the least trusted of its words was seen first.

        Several words that were read apart say something together that nobody has written.
        """
        origin = max(map(self._origin, words), key=_DOUBT.index, default=self._unknown)
        return Origin.UNTRUSTED if origin is Origin.QUOTED and len(words) > 1 else origin

    def _origin(self, word: Word) -> Origin:
        known = self.origins.get
        if word.own is not None and (seen := known(word.own)) is not None:
            return Origin.QUOTED if seen is Origin.UNTRUSTED else seen
        if word.host is not None and (seen := known(word.host)) is not None:
            return seen
        strange = word.domain is not None and known(word.domain) is Origin.UNTRUSTED
        return Origin.UNTRUSTED if strange else self._unknown

    @property
    def _unknown(self) -> Origin:
        """What a value is that is not remembered: if more was seen than that, nobody knows where it was."""
        return Origin.UNTRUSTED if self.tally.full else Origin.UNSEEN

    def take(self, step: Step) -> None:
        """Count a step."""
        self.pending += 1
        self.tally.take(step)
        for counter, digest in step.values:
            if digest not in self.counted:
                self.counted.add(digest)
                self.tally.count(counter)

    def end_step(self) -> None:
        """A step is on the disk, or has not come about."""
        self.pending -= 1
        if not self.pending:
            self.drained.set()
            self.drained = anyio.Event()
