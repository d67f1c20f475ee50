"""What does one call add to its transaction? With its intent a step, with its result what was seen."""

from dataclasses import dataclass

from broker.model import Origin


@dataclass(frozen=True, slots=True)
class Sightings:
    """Values that were seen for the first time: keyed hashes of them, and where. `full`: there were more."""

    origin: Origin
    digests: frozenset[bytes]
    full: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """What one call adds to its transaction, from its intent on.

    `reading` names the reading of the transaction on which the call was judged, `known` its version then.
    `names` are bound to the transaction with this step: that of the token, that of the task. `at` is Unix
    seconds. `sums` adds to counters; `values` are keyed hashes that count once each, by counter.
    """

    transaction: str
    reading: str
    known: int
    names: tuple[str, ...]
    at: int
    target: str
    labels: frozenset[str]
    writes: bool
    fingerprint: bytes
    sums: tuple[tuple[str, int], ...] = ()
    values: tuple[tuple[str, bytes], ...] = ()
    sightings: Sightings | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What the result of a call has shown to its transaction. `own` stands in fields that are one's own."""

    transaction: str
    reading: str
    sightings: Sightings
    own: Sightings | None = None
