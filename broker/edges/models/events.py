"""What stands on the wire of a stream? Server-sent events, one on a line, whatever a model has written."""

import re
from typing import Any, Final

import orjson

from broker.model import Json

KEEP_ALIVE: Final = b": keep-alive\n\n"

_NAME = re.compile(r"[a-z0-9_.]{1,100}")
"""What an event may be called; its name stands outside of the JSON, where nothing is escaped."""

_SPLITTING: Final = {"\u0085": b"\\u0085", "\u2028": b"\\u2028", "\u2029": b"\\u2029"}
_SPLITS = re.compile("|".join(_SPLITTING).encode())
"""Characters at which some clients break lines, although the format of event streams does not. Text of a
model that holds one could make such a client read a line of its own choosing."""


def data(event: Any) -> bytes:
    """The data of one event on one line, whoever splits it."""
    line = orjson.dumps(event)
    return _SPLITS.sub(lambda found: _SPLITTING[found[0].decode()], line) if _SPLITS.search(line) else line


def unnamed(event: Json) -> bytes:
    """One event without a name."""
    return b"data: " + data(event) + b"\n\n"


def named(event: Json) -> bytes:
    """One event under its type. A type that is no name is left to the data."""
    kind = event.get("type")
    if not isinstance(kind, str) or not _NAME.fullmatch(kind):
        return unnamed(event)
    return b"event: " + kind.encode() + b"\ndata: " + data(event) + b"\n\n"
