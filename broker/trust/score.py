"""How much is an agent trusted? A pure function of what was seen of it and a time, in integers only.

    score = clamp(base + earned - Σ of each rule: min(cap, Σ points · 2^(-age / half-life)), 0, ceiling)

Integers are the same on every machine and in every replay; floats are not. Nothing here is ever
written back: the same signs and the same time give the same score.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappush, heappushpop

from broker.trust.interface import DAY_US, MOST, Sign

_STEPS = 64
# round(65536 · 2^(-i/64)), as literals: no platform's `pow` may have a say in a score.
_TABLE = (
    65536,
    64830,
    64132,
    63441,
    62757,
    62081,
    61413,
    60751,
    60097,
    59449,
    58809,
    58176,
    57549,
    56929,
    56316,
    55709,
    55109,
    54515,
    53928,
    53347,
    52773,
    52204,
    51642,
    51085,
    50535,
    49991,
    49452,
    48920,
    48393,
    47871,
    47356,
    46846,
    46341,
    45842,
    45348,
    44859,
    44376,
    43898,
    43425,
    42958,
    42495,
    42037,
    41584,
    41136,
    40693,
    40255,
    39821,
    39392,
    38968,
    38548,
    38133,
    37722,
    37316,
    36914,
    36516,
    36123,
    35734,
    35349,
    34968,
    34591,
    34219,
    33850,
    33486,
    33125,
)

MOST_SIGNS = 256
"""How many signs of one rule are kept, the newest: together they reach every cap."""

_GONE = 16
"""After so many half-lives nothing is left of any points."""

CREDIT_DAYS = 30
"""How many days back good conduct counts."""


@dataclass(frozen=True, slots=True)
class Weight:
    """What a sign of one rule costs.

    Args:
        points: when it is fresh.
        half_life_s: after which half of it is forgiven, in seconds.
        cap: what all signs of the rule cost at most together.
        hard: whether one is enough for quarantine, until a human releases the agent.
    """

    points: int
    half_life_s: int
    cap: int
    hard: bool = False


@dataclass(frozen=True, slots=True)
class Weights:
    """What `policies/trust/weights.yaml` says; `version` is the hash of all of it.

    Args:
        base: the score of an agent of which nothing is known, by attestation level.
        ceiling: the most that it can reach, by attestation level.
        daily_credit: what a day with calls and without a sign earns; `most_credit`: all such days.
    """

    version: str
    rules: Mapping[str, Weight]
    base: Sequence[int]
    ceiling: Sequence[int]
    daily_credit: int
    most_credit: int


@dataclass(slots=True)
class History:
    """What was seen of one agent. Adding to it in any order gives the same history.

    `level` is its attestation level, 0 to 3. `busy` are the days on which a call of it went well, `marred`
    those with a sign against it, as days since 1970.
    """

    level: int = 1
    signs: dict[str, list[tuple[int, int, str]]] = field(
        default_factory=dict[str, list[tuple[int, int, str]]]
    )
    """By rule, the newest: when (Unix microseconds), in which record, about which call."""
    keyed: dict[tuple[str, str], tuple[int, int, str] | None] = field(
        default_factory=dict[tuple[str, str], tuple[int, int, str] | None]
    )
    """The sign of each rule and key that has one; None if it was withdrawn."""
    busy: set[int] = field(default_factory=set[int])
    marred: set[int] = field(default_factory=set[int])
    held: tuple[int, str] | None = None
    """Since when it is quarantined whatever its score is, and by which rule."""

    def add(self, sign: Sign) -> bool:
        """Take a sign in. Returns whether it is new."""
        item = (sign.at, sign.seq, sign.call or "")
        if sign.key is not None:
            if (sign.rule, sign.key) in self.keyed:
                return False
            self.keyed[sign.rule, sign.key] = item
        found = self.signs.setdefault(sign.rule, [])
        heappushpop(found, item) if len(found) >= MOST_SIGNS else heappush(found, item)
        self.marred.add(sign.at // DAY_US)
        return True

    def withdraw(self, rule: str, key: str) -> None:
        """Let a sign count no more, whether it comes later or is here already."""
        item, self.keyed[rule, key] = self.keyed.get((rule, key)), None
        if item is not None and item in (found := self.signs[rule]):
            found.remove(item)
            heapify(found)

    def worked(self, at: int) -> None:
        """Take in that a call went well at a time (Unix microseconds)."""
        day = at // DAY_US
        if day not in self.busy:
            self.busy = {known for known in self.busy if known > day - 2 * CREDIT_DAYS} | {day}
            self.marred = {known for known in self.marred if known > day - 2 * CREDIT_DAYS}


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one rule costs an agent now, with the newest records that it comes from."""

    rule: str
    points: int
    count: int
    seqs: tuple[int, ...]
    calls: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reckoning:
    """A score and how it comes about. `contributions` cost something, the greatest first."""

    score: int
    base: int
    earned: int
    ceiling: int
    contributions: tuple[Contribution, ...]


def decayed(points: int, age_us: int, half_life_s: int) -> int:
    """What is left of points, in 1/65536: `points · 2^(-age / half-life)`, in 64 steps a half-life."""
    halvings, step = divmod(max(0, age_us) * _STEPS // (half_life_s * 1_000_000), _STEPS)
    return 0 if halvings >= _GONE else points * _TABLE[step] >> halvings


def reckon(history: History, weights: Weights, now: int) -> Reckoning:
    """The score at a time.

    Args:
        history: what was seen of the agent.
        weights: what it costs.
        now: Unix microseconds.
    """
    found = [
        contribution
        for rule, signs in history.signs.items()
        if (contribution := _contribution(rule, signs, weights.rules.get(rule), now)) is not None
    ]
    found.sort(key=lambda one: (-one.points, one.rule))
    base, ceiling = weights.base[history.level], weights.ceiling[history.level]
    earned = _earned(history, weights, now)
    cost = sum(one.points for one in found)
    score = 0 if history.held else max(0, min(base + earned - cost, ceiling, MOST))
    return Reckoning(score, base, earned, ceiling, tuple(found))


def _contribution(
    rule: str, signs: Sequence[tuple[int, int, str]], weight: Weight | None, now: int
) -> Contribution | None:
    if weight is None:  # a rule that the operator has taken out costs nothing any more
        return None
    left = sum(decayed(weight.points, now - at, weight.half_life_s) for at, _, _ in signs) >> 16
    if left == 0:
        return None
    newest = sorted(signs, reverse=True)[:5]
    return Contribution(
        rule,
        min(left, weight.cap),
        len(signs),
        tuple(seq for _, seq, _ in newest),
        tuple(call for _, _, call in newest if call),
    )


def _earned(history: History, weights: Weights, now: int) -> int:
    """What good days earn: those that are over, at most so many back. A bad day earns nothing."""
    today = now // DAY_US
    good = sum(1 for day in history.busy - history.marred if today - CREDIT_DAYS <= day < today)
    return min(weights.most_credit, good * weights.daily_credit)
