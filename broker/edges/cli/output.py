"""What does a verb print? Data on stdout: text on a terminal, tab-separated columns in a pipe, or JSON."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TextIO

from broker.edges.cli.ink import Ink, visible

Row = Mapping[str, object]


class Output:
    """The two streams of a verb. `as_json` is its `--json` option."""

    def __init__(self, *, as_json: bool, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self.as_json = as_json
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self.ink = Ink.on(self._out)

    def rows(self, columns: Sequence[str], rows: Sequence[Row], *, empty: str) -> None:
        """A list: an array in JSON, aligned columns on a terminal, tabs in a pipe.

        `empty` is said on stderr where there is nothing to list.
        """
        if self.as_json:
            self._write(_json(list(rows)))
        elif self._out.isatty():
            for line in _aligned(columns, rows, self.ink):
                self._write(line)
        else:
            for row in [dict(zip(columns, columns, strict=True)), *rows]:
                self._write("\t".join(_cell(row.get(column)).replace("\t", " ") for column in columns))
        if not rows:
            self.note(empty)

    def item(self, data: object, text: str) -> None:
        """One thing."""
        self._write(_json(data) if self.as_json else text)

    def event(self, data: object, text: str) -> None:
        """One of a stream of things: a line of its own in either form."""
        self._write(json.dumps(data, ensure_ascii=False) if self.as_json else text)

    def note(self, text: str) -> None:
        """What is no data: goes to stderr."""
        print(text, file=self._err, flush=True)

    def _write(self, text: str) -> None:
        print(text, file=self._out, flush=True)


def _json(data: object) -> str:
    return json.dumps(data, ensure_ascii=False, indent=2)


def _cell(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case list() | tuple() | set() | frozenset():
            return ",".join(str(part) for part in value) or "-"  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        case _:
            return visible(str(value)).replace("\n", " ")


def _aligned(columns: Sequence[str], rows: Sequence[Row], ink: Ink) -> list[str]:
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    if not cells:
        return []
    widths = [max(len(column), *(len(row[n]) for row in cells)) for n, column in enumerate(columns)]
    header = "  ".join(column.upper().ljust(width) for column, width in zip(columns, widths, strict=True))
    return [ink("dim", header.rstrip())] + [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def dollars(micro_usd: int) -> str:
    """`0.0025 USD`, exact to the millionth."""
    whole, part = divmod(abs(micro_usd), 1_000_000)
    digits = f"{part:06d}".rstrip("0").ljust(2, "0")
    return f"{'-' if micro_usd < 0 else ''}{whole}.{digits} USD"
