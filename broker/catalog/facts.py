"""What does the operator know of a tool that its definition does not say? `policies/tools/*.yaml`.

    tools:
      - match: "git__git_*"         # exposed names; `*` stands for anything
        price_usd: "0.001"          # of one call, as text: money is never a float
        side_effect: reads          # reads, writes or destroys
        labels: [private-data]

The first entry that matches a name and gives a price or side effect decides it; labels add up.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

from broker.catalog.mount import Facts, OperatorFacts
from broker.documents import Node, read_yaml
from broker.model import SideEffect

_KEYS = ("match", "price_usd", "side_effect", "labels")
_DEAREST_USD = 1_000_000


@dataclass(frozen=True, slots=True)
class _Entry:
    matches: re.Pattern[str]
    place: str
    price_usd: str | None
    side_effect: SideEffect | None
    labels: frozenset[str]


def load_facts(policies_dir: Path) -> OperatorFacts:
    """The facts in all files of `tools/`, in order of file name.

    Raises:
        ConfigurationError: `file:line:` and what is wrong there.
    """
    folder = policies_dir / "tools"
    entries = [entry for path in sorted(folder.glob("*.yaml")) for entry in _read(path)]
    return lambda name: _facts(entries, name)


def _read(path: Path) -> list[_Entry]:
    name = "/".join(path.parts[-3:])
    root = read_yaml(path, name).mapping(["tools"], required=["tools"])
    return [_entry(item) for item in root["tools"].items()]


def _entry(node: Node) -> _Entry:
    fields = node.mapping(_KEYS, required=["match"])
    glob = fields["match"].text()
    effect = fields["side_effect"].one_of([*SideEffect]) if "side_effect" in fields else None
    return _Entry(
        matches=re.compile(".*".join(re.escape(part) for part in glob.split("*"))),
        place=node.place,
        price_usd=_price(fields["price_usd"]) if "price_usd" in fields else None,
        side_effect=SideEffect(effect) if effect else None,
        labels=frozenset(item.text() for item in fields["labels"].items())
        if "labels" in fields
        else frozenset(),
    )


def _price(node: Node) -> str:
    text = node.text()
    try:
        usd = Decimal(text)
    except InvalidOperation:
        raise node.error(f"`{text}` is not an amount of money", 'write dollars, e.g. "0.05"') from None
    if not usd.is_finite() or not 0 <= usd <= _DEAREST_USD:
        raise node.error(f"`{text}` is not a price", f"use 0 to {_DEAREST_USD}")
    return text


def _facts(entries: Sequence[_Entry], name: str) -> Facts:
    matching = [entry for entry in entries if entry.matches.fullmatch(name)]
    priced = next((entry for entry in matching if entry.price_usd is not None), None)
    return Facts(
        price_usd=priced.price_usd if priced else None,
        price_source=priced.place if priced else None,
        side_effect=next((entry.side_effect for entry in matching if entry.side_effect), None),
        labels=frozenset[str]().union(*(entry.labels for entry in matching)),
    )
