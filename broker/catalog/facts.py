"""What does the operator know of a target that its definition does not say? `policies/tools/*.yaml`."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from broker.catalog.mount import Facts, OperatorFacts
from broker.declared import Declaration, labels_of, read_declarations
from broker.model import Argument, Kind

_Value = TypeVar("_Value")


def load_facts(policies_dir: Path) -> OperatorFacts:
    """The facts in all files of `tools/`.

    Raises:
        ConfigurationError: `file:line:` and what is wrong there.
    """
    entries = read_declarations(policies_dir).entries

    def facts(name: str, kind: Kind = Kind.TOOL, connector: str = "") -> Facts:
        return _facts([entry for entry in entries if entry.means(kind, name, connector)])

    return facts


def _facts(matching: list[Declaration]) -> Facts:
    def first(said: Callable[[Declaration], _Value | None]) -> _Value | None:
        return next((value for entry in matching if (value := said(entry)) is not None), None)

    priced = first(lambda entry: None if entry.price_usd is None else entry)
    return Facts(
        price_usd=priced.price_usd if priced else None,
        price_source=priced.place if priced else None,
        side_effect=first(lambda entry: entry.side_effect),
        cache_s=first(lambda entry: entry.cache_s),
        labels=labels_of(matching),
        risk=first(lambda entry: entry.risk) or 0,
        min_trust=first(lambda entry: entry.min_trust) or 0,
        arguments=tuple(_arguments(matching)),
        own_fields=tuple(dict.fromkeys(path for entry in matching for path in entry.own_fields)),
    )


def _arguments(matching: list[Declaration]) -> Iterator[Argument]:
    seen: set[str] = set()
    for argument in (argument for entry in matching for argument in entry.arguments):
        if argument.name not in seen:
            seen.add(argument.name)
            yield argument
