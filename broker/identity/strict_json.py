"""Can this JSON be read in two ways? Then it is not read at all."""

import json
from typing import Any, NoReturn

from broker.model import Json


def loads(data: bytes) -> Json:
    """One JSON object without duplicate names, NaN or infinity (RFC 8259 §4, RFC 8725 §2.4).

    Raises:
        ValueError: anything else, nesting too deep to read included.
    """
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
        )
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - one exception for every unreadable input
    return value  # pyright: ignore[reportUnknownVariableType] - keys of a JSON object are strings


def _unique(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
