"""How does text look on a terminal? Colours only where somebody reads them (https://no-color.org)."""

import os
from typing import TextIO

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


class Ink:
    """Styles text, or leaves it alone."""

    def __init__(self, *, coloured: bool) -> None:
        self.coloured = coloured

    @classmethod
    def on(cls, stream: TextIO) -> "Ink":
        """Colours on a terminal, none in a pipe, none where `NO_COLOR` is set or the terminal is dumb."""
        wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        return cls(coloured=wanted and stream.isatty())

    def __call__(self, style: str, text: str) -> str:
        """`text` in a style such as `bold` or `red`."""
        return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if self.coloured else text


def visible(text: str) -> str:
    """`text` without control characters: what an agent or an upstream wrote must not steer a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
