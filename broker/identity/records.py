"""What may be written into the record of an agent? The same for a command, a file and whoever else asks."""

import re
from decimal import ROUND_FLOOR, Decimal, InvalidOperation

from broker.errors import InvalidRequest
from broker.model import MicroUSD

MOST_ATTRIBUTES = 32
_LONGEST = 256
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_LARGEST_CAP_USD = 1_000_000_000


def name_of(text: str) -> str:
    """A name of an agent or organisation.

    Raises:
        InvalidRequest: it cannot be one.
    """
    if not _NAME.fullmatch(text):
        raise InvalidRequest(
            f"`{text[:80]}` cannot be a name",
            hint="use at most 64 of a-z 0-9 . _ - and begin with a letter or digit",
        )
    return text


def text_of(text: str) -> str | None:
    """One line about an agent; none where it is empty.

    Raises:
        InvalidRequest: it is too long.
    """
    if len(text) > _LONGEST:
        raise InvalidRequest(f"a text has {len(text)} characters", hint=f"use at most {_LONGEST}")
    return text or None


def attribute_of(key: str, value: str) -> tuple[str, str]:
    """One attribute.

    Raises:
        InvalidRequest: its key is no ASCII text, or it is too long.
    """
    if not key or not key.isascii() or max(len(key), len(value)) > _LONGEST:
        raise InvalidRequest(
            f"`{key[:80]}` is no attribute",
            hint=f"a key is ASCII text; key and value have at most {_LONGEST} characters",
        )
    return key, value


def micro_usd(text: str) -> MicroUSD:
    """US dollars as text, rounded down.

    Raises:
        InvalidRequest: it is no amount.
    """
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or not 0 <= amount <= _LARGEST_CAP_USD:
        raise InvalidRequest(f"`{text[:80]}` is not an amount of US dollars", hint="write e.g. 2.50")
    return MicroUSD(int((amount * 1_000_000).to_integral_value(ROUND_FLOOR)))
