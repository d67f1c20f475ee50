"""How long is `24h`? Durations as people write them on the command line."""

import re

from broker.errors import InvalidRequest

_DURATION = re.compile(r"(\d{1,9})([smhd]?)")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(text: str) -> int:
    """Seconds of a duration such as `0`, `90s`, `30m`, `24h` or `7d`.

    Raises:
        InvalidRequest: it is not one.
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise InvalidRequest(f"`{text}` is not a duration", hint="write e.g. 90s, 30m, 24h or 7d")
    return int(found[1]) * _UNITS[found[2]]
