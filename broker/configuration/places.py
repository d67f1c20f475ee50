"""On which line of a TOML file does a setting stand?"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from broker.errors import ConfigurationError

Key = tuple[str, ...]
"""The path of a setting: `("server", "port")`."""


@dataclass(frozen=True, slots=True)
class Document:
    """A TOML text: its values, and the place (`broker.toml:12`) of each value and each table's header."""

    values: dict[str, Any]
    places: Mapping[Key, str]
    headers: Mapping[Key, str]


def parse(text: str, name: str) -> Document:
    """Read a TOML text.

    Raises:
        ConfigurationError: it is not TOML; says on which line.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)", str(error))
        line = place[1] if place and place[1] else str(text.count("\n") + 1)
        what = str(error)[: place.start()] if place else str(error)
        raise ConfigurationError(
            f"{name}:{line}: {what[:1].lower()}{what[1:]}", hint="the file is TOML: https://toml.io"
        ) from error
    places: dict[Key, str] = {}
    headers: dict[Key, str] = {}
    for key, line, is_header in _lines(text):
        (headers if is_header else places)[key] = f"{name}:{line}"
    return Document(values, places, headers)


def leaves(values: Mapping[str, Any], above: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Every value that is not a table, with its path."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from leaves(cast("dict[str, Any]", value), (*above, name))
        else:
            yield (*above, name), value


def _lines(text: str) -> Iterator[tuple[Key, int, bool]]:
    """The line on which each table and each value of a valid document begins.

    A statement is the shortest run of lines that is a document by itself.
    """
    table: Key = ()
    pending = ""
    start = 1
    for number, line in enumerate(text.split("\n"), 1):
        start = start if pending else number
        pending += line + "\n"
        try:
            statement = tomllib.loads(pending)
        except tomllib.TOMLDecodeError:
            continue
        pending = ""
        if line.lstrip().startswith("[") and start == number:
            table = _header(statement)
            yield table, number, True
        else:
            yield from ((table + key, start, False) for key, _ in leaves(statement))


def _header(statement: Mapping[str, Any]) -> Key:
    """The path in a table's header: the one chain of nested tables."""
    name, inner = next(iter(statement.items()))
    return (name, *_header(cast("dict[str, Any]", inner))) if isinstance(inner, dict) and inner else (name,)
