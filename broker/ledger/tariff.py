"""What do the tokens of a model cost? Exact: prices are decimals, and a sum is rounded up once.

A price in US dollars per million tokens is the same number in micro-USD per token.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from broker.model import MicroUSD, Usage

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Steps:
    """A price, in USD per million tokens, that may depend on how much a model is given.

    Above the first number of a step all tokens cost its second.
    """

    base: Decimal
    steps: tuple[tuple[int, Decimal], ...] = ()

    def at(self, read: int) -> Decimal:
        """What a token costs where so many are read."""
        return next((price for start, price in reversed(self.steps) if read > start), self.base)

    def up_to(self, read: int) -> Decimal:
        """What a token costs at most where no more than so many are read."""
        return max(self.base, *(price for start, price in self.steps if read > start), ZERO)


@dataclass(frozen=True, slots=True)
class Bound:
    """The most that a call can use, in tokens: what it reads, and what each of its answers may have.

    `caches`: whether some of it may be put into a cache, which can cost more than reading it.
    """

    read: int
    wrote: int
    answers: int = 1
    caches: bool = True

    @property
    def tokens(self) -> int:
        """All of them."""
        return self.read + self.wrote * self.answers


@dataclass(frozen=True, slots=True)
class Tariff:
    """The prices of one model; `source` names the table and its version. What has no price of its own costs
    what is read or written otherwise.
    """

    source: str
    read: Steps
    wrote: Steps
    cached: Steps | None = None
    written: Steps | None = None
    written_1h: Steps | None = None
    audio_read: Steps | None = None
    audio_wrote: Steps | None = None
    call: Decimal = ZERO
    """USD per call."""
    context: int | None = None
    """How many tokens the model reads at most, if the table says."""

    def cost(self, usage: Usage) -> MicroUSD:
        """What has been used costs this. Numbers that contradict each other are charged the dearer way."""
        return _up(sum(self._parts(usage), self.call * 1_000_000))

    def most(self, bound: Bound) -> MicroUSD:
        """The worst case: no usage within the bound costs more."""
        fixed, each = self._worst(bound)
        return _up(fixed + each * bound.wrote * bound.answers)

    def affordable(self, bound: Bound, room: int) -> int:
        """How many tokens each answer may have so that the worst case fits into so many micro-USD.

        Negative where what is read does not fit.
        """
        fixed, each = self._worst(bound)
        if fixed > room:
            return -1
        if each == 0:
            return bound.wrote
        return int(((room - fixed) / (each * bound.answers)).to_integral_value(ROUND_FLOOR))

    def _worst(self, bound: Bound) -> tuple[Decimal, Decimal]:
        """What is paid whatever the model writes, and what each token costs that it writes."""
        reading = [self.read, self.cached, self.audio_read]
        if bound.caches:
            reading += [self.written, self.written_1h]
        dearest = max(steps.up_to(bound.read) for steps in reading if steps)
        writing = max(steps.up_to(bound.read) for steps in (self.wrote, self.audio_wrote) if steps)
        return dearest * bound.read + self.call * 1_000_000, writing

    def _parts(self, usage: Usage) -> Iterator[Decimal]:
        total = usage.read
        cached = min(usage.cached, total)
        written = min(usage.written, total - cached)
        hour = min(usage.written_1h, written)
        heard = min(usage.audio_read, total - cached - written)
        spoken = min(usage.audio_wrote, usage.wrote)
        short = self.written or self.read
        for tokens, steps in (
            (total - cached - written - heard, self.read),
            (cached, self.cached or self.read),
            (written - hour, short),
            (hour, self.written_1h or short),
            (heard, self.audio_read or self.read),
            (usage.wrote - spoken, self.wrote),
            (spoken, self.audio_wrote or self.wrote),
        ):
            if tokens:
                yield steps.at(total) * tokens


def _up(amount: Decimal) -> MicroUSD:
    return MicroUSD(int(amount.to_integral_value(ROUND_CEILING)))
