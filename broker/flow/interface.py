"""What has this transaction read and done? What is kept of it, and what is asked of a store."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from broker.errors import StorageUnavailable
from broker.flow.tally import Tally
from broker.model import Origin

MOST_MARKS = 8192
"""How many values are remembered of one transaction. Beyond them every unknown value counts as untrusted."""


class MovedError(StorageUnavailable):
    """Another process has gone on with the transaction: what was judged is not what is true any more."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A transaction as a store has it. `counted` are the values that counters have counted."""

    version: int = 0
    tally: Tally = field(default_factory=Tally)
    origins: Mapping[bytes, Origin] = field(default_factory=dict[bytes, Origin])
    counted: frozenset[bytes] = frozenset()


class FlowStore(Protocol):
    """What is kept of transactions. `JournalStore.open` takes steps and `close` what was seen: both commit
    with the call that they belong to.

    Raises (all methods):
        StorageUnavailable: it cannot be read or written now.
    """

    async def owner(self, name: str) -> str | None:
        """The transaction that a name is bound to; None if it is new."""
        ...

    async def load(self, transaction: str) -> Kept:
        """All that is kept of a transaction; of one that is unknown, nothing."""
        ...

    async def unmoved(self, transaction: str, reading: str, known: int) -> bool:
        """Whether nobody but that reading has gone on with the transaction since that version."""
        ...
