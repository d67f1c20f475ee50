"""What is the value of a declared argument in this call? What rules can compare, or why there is none."""

import math
import re
from collections.abc import Iterator
from decimal import Context, Decimal
from typing import Any, cast

from broker.model import Argument, Json

MOST_VALUES = 64
"""How many different values of one argument are looked at."""

_NUMBER = re.compile(r"-?[0-9]{1,30}(?:\.[0-9]{1,30})?")
_LARGEST = 2**63 - 1
_EXACT = Context(prec=500)


class UnreadableArgumentError(ValueError):
    """A declared argument is there and is not what was declared; the message says what is wrong with it."""


def values(argument: Argument, params: Json) -> tuple[int, ...] | tuple[str, ...]:
    """The different values that a declared argument has in a call; none where it is absent or null.

    A number comes as an integer of `10 ** -scale` units and has to be exact: rules never see a rounded
    amount. A text that is written as a whole number in JSON counts as its digits.

    Raises:
        UnreadableArgumentError: it is something else than declared, or there are too many.
    """
    found = dict.fromkeys(_at(argument, params.get("arguments"), argument.path.split(".")))
    if len(found) > MOST_VALUES:
        raise UnreadableArgumentError(f"has more than {MOST_VALUES} values")
    if argument.scale is None:
        return tuple(cast("list[str]", list(found)))
    return tuple(cast("list[int]", list(found)))


def total(argument: Argument, params: Json) -> int:
    """What a declared number adds up to in a call. One below zero takes nothing away from others.

    Raises:
        UnreadableArgumentError: it is not a number.
    """
    found = _at(argument, params.get("arguments"), argument.path.split("."))
    return sum([max(0, cast("int", number)) for number in found])


def _at(argument: Argument, value: Any, path: list[str]) -> Iterator[int | str]:
    if value is None:
        return
    if isinstance(value, list):
        for item in cast("list[Any]", value):
            yield from _at(argument, item, path)
    elif not path:
        yield _text(value) if argument.scale is None else _number(value, argument.scale)
    elif isinstance(value, dict):
        yield from _at(argument, cast("Json", value).get(path[0]), path[1:])
    else:
        raise UnreadableArgumentError(f"has no `{path[0]}` in it")


def _text(value: Any) -> str:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise UnreadableArgumentError("is not Unicode text") from None
        return value
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST:
        return str(value)
    raise UnreadableArgumentError("is not a text")


def _number(value: Any, scale: int) -> int:
    """Exact, or an error: `19.99` is 1999 cents, `19.999` is none."""
    scaled = _decimal(value).scaleb(scale, _EXACT)
    if abs(scaled) > _LARGEST:
        raise UnreadableArgumentError("is too large a number")
    if scaled != scaled.to_integral_value():
        raise UnreadableArgumentError(f"has more than {scale} decimal places")
    return int(scaled)


def _decimal(value: Any) -> Decimal:
    """A JSON number, or a text that is written like one."""
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(max(min(value, _LARGEST + 1), -_LARGEST - 1))
    if isinstance(value, float) and math.isfinite(value):
        return Decimal(repr(value))
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return Decimal(value)
    raise UnreadableArgumentError("is not a number")
