"""What does a score mean? Bands that fall at once and rise slowly."""

from dataclasses import dataclass

from broker.trust.interface import MOST, SECOND_US, Band

FLOORS = (
    (Band.TRUSTED, 850),
    (Band.STANDARD, 600),
    (Band.WATCH, 400),
    (Band.RESTRICTED, 200),
    (Band.QUARANTINED, 0),
)
"""The least score of each band. A new attested agent (700) reaches the highest with eight good days, and
falls out of its own with signs worth more than 100 points: not with one denial."""

MARGIN = 50
"""How far above the floor of a better band a score has to be to get there."""

QUIET_US = 15 * 60 * SECOND_US
"""For how long nothing may have spoken against an agent before it rises."""

CLEAN_CALLS = 20
"""How many calls have to have gone well since."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an agent is now.

    Args:
        band: what it may go by.
        quiet_since: when something last spoke against it, in Unix microseconds.
        clean: how many calls have gone well since.
    """

    band: Band
    quiet_since: int = 0
    clean: int = 0

    def now(self, score: int, at: int) -> Band:
        """The band that a score leads to: a worse one at once, a better one if it was deserved.

        Out of quarantine nobody rises: a human has to release the agent.
        """
        reached = band_of(score)
        if floor(reached) <= floor(self.band):
            return reached
        if self.band is Band.QUARANTINED or at - self.quiet_since < QUIET_US or self.clean < CLEAN_CALLS:
            return self.band
        better = band_of(max(0, score - MARGIN))
        return better if floor(better) > floor(self.band) else self.band


def band_of(score: int) -> Band:
    """The band that a score is in."""
    return next(band for band, least in FLOORS if score >= least)


def floor(band: Band) -> int:
    """The least score of a band."""
    return dict(FLOORS)[band]


def above(band: Band) -> Band | None:
    """The next better band; None above the best."""
    better = [one for one, least in FLOORS if least > floor(band)]
    return better[-1] if better else None


def within(score: int, band: Band) -> int:
    """The score as rules see it: never above the band that the agent is in."""
    above = [least for _, least in FLOORS if least > floor(band)]
    return min(score, min(above, default=MOST + 1) - 1)
