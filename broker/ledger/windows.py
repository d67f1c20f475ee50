"""Which stretch of time does a call pay in? Worked out when it begins, and kept with what it holds."""

import re
from dataclasses import dataclass
from datetime import datetime, tzinfo

_ROLLING = re.compile(r"([1-9][0-9]{0,3})(m|h|d)")
_SECONDS = {"m": 60, "h": 3600, "d": 86400}
_CALENDAR = {
    "minute": "%Y-%m-%dT%H:%M%z",
    "hour": "%Y-%m-%dT%H%z",
    "day": "%Y-%m-%d",
    "month": "%Y-%m",
}
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


def window_of(text: str) -> Window | None:
    """`total`, `minute`, `hour`, `day`, `month`, or a length such as `24h`; None if it is neither."""
    if text in NAMES:
        return Window(text)
    rolling = _ROLLING.fullmatch(text)
    return Window(text, int(rolling[1]) * _SECONDS[rolling[2]]) if rolling else None
