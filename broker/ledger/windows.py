"""Which stretch of time does a call pay in? Worked out when it begins, and kept with what it holds."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from math import ceil

_ROLLING = re.compile(r"([1-9][0-9]{0,3})(m|h|d)")
_SECONDS = {"m": 60, "h": 3600, "d": 86400}
_CALENDAR = {
    "minute": "%Y-%m-%dT%H:%M%z",
    "hour": "%Y-%m-%dT%H%z",
    "day": "%Y-%m-%d",
    "month": "%Y-%m",
}
_LONGEST = {"minute": 60, "hour": 3600, "day": 25 * 3600, "month": 31 * 86400 + 3600}
_GRACE_S = 2 * 86400
NAMES = ("total", *_CALENDAR)
"""The windows with a name. Others roll: `90m`, `24h`, `30d`."""

PARTS = 12
"""A rolling window moves in twelfths of its length."""


@dataclass(frozen=True, slots=True)
class Window:
    """How long a budget lasts. `seconds` is None unless it rolls."""

    name: str
    seconds: int | None = None

    @property
    def parts(self) -> int:
        """Of how many balances the sum counts. The oldest part counts whole: a cap is never exceeded."""
        return 1 if self.seconds is None else PARTS + 1

    def at(self, now: float, zone: tzinfo) -> str:
        """The window that a moment lies in.

        Args:
            now: Unix time in seconds.
            zone: where days and months begin.
        """
        if self.name == "total":
            return ""
        if self.seconds is not None:
            return f"{self.name}:{int(now * PARTS // self.seconds)}"
        # An hour of a local day may come twice; its offset tells the two apart.
        return f"{self.name}:{datetime.fromtimestamp(now, zone).strftime(_CALENDAR[self.name])}"

    def turns(self, now: float, zone: tzinfo) -> int | None:
        """When there is more room again, in Unix seconds; None: never.

        A calendar window begins anew; of a rolling one the oldest part stops to count.
        """
        if self.name == "total":
            return None
        if self.seconds is not None:
            part = now * PARTS // self.seconds + 1
            return ceil(part * self.seconds / PARTS)
        here = datetime.fromtimestamp(now, zone)
        match self.name:
            case "minute":
                return int(here.replace(second=0, microsecond=0).timestamp()) + 60
            case "hour":
                return int(here.replace(minute=0, second=0, microsecond=0).timestamp()) + 3600
            case "day":
                tomorrow = here.date() + timedelta(days=1)
            case _:
                tomorrow = (here.date().replace(day=1) + timedelta(days=31)).replace(day=1)
        return int(datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=zone).timestamp())


def over(window: str, now: float) -> bool:
    """Whether a stretch of time, as `Window.at` names it, counts for nothing any more, in whichever zone.

    For two days longer than it lasts it is said to go on: no call that began in it may lose its account.
    """
    name, _, number = window.partition(":")
    rolling = _ROLLING.fullmatch(name)
    if rolling is not None and number.isdecimal():
        seconds = int(rolling[1]) * _SECONDS[rolling[2]]
        return (int(number) + PARTS + 2) * seconds / PARTS + _GRACE_S < now
    began = _began(name, number)
    return began is not None and began + _LONGEST[name] + _GRACE_S < now


def _began(name: str, text: str) -> float | None:
    """When a calendar window began, as if in UTC where it has no zone; None where it is no window."""
    if name not in _CALENDAR:
        return None
    try:
        began = datetime.strptime(text, _CALENDAR[name])  # noqa: DTZ007 - some have a zone
    except ValueError:
        return None
    return (began if began.tzinfo else began.replace(tzinfo=UTC)).timestamp()


def window_of(text: str) -> Window | None:
    """`total`, `minute`, `hour`, `day`, `month`, or a length such as `24h`; None if it is neither."""
    if text in NAMES:
        return Window(text)
    rolling = _ROLLING.fullmatch(text)
    return Window(text, int(rolling[1]) * _SECONDS[rolling[2]]) if rolling else None
