"""What does the operator declare of what is offered? `policies/tools/*.yaml`.

    tools:
      - match: bank__transfer       # exposed names; `*` stands for any text
        labels: [money, external-sink]
        side_effect: writes         # reads, writes or destroys
        price_usd: "0.001"          # of one call, as text: money is never a float
        risk: 7                     # 0 to 10
        min_trust: 600              # the score that everybody in the chain needs, 0 to 1000
        arguments:                  # what rules can speak about
          amount: {scale: 2, role: amount}
          to: {path: recipient.iban, role: destination}
    resources:                      # URIs and URI templates; `prompts` likewise
      - {match: "kb://*", labels: [private-data]}
    connectors:                     # all that a connector offers
      - {match: mail, labels: [untrusted-source]}

The first entry that matches and says something decides it, those about connectors after all others;
labels add up.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

from broker.documents import Node, read_yaml
from broker.model import Argument, Kind, Role, SideEffect
from broker.patterns import matches

_TOOL_KEYS = ("match", "price_usd", "side_effect", "labels", "risk", "min_trust", "arguments")
_OTHER_KEYS = ("match", "labels", "risk", "min_trust")
_KINDS: Mapping[str, frozenset[Kind] | None] = {
    "tools": frozenset({Kind.TOOL}),
    "resources": frozenset({Kind.RESOURCE, Kind.TEMPLATE}),
    "prompts": frozenset({Kind.PROMPT}),
    "connectors": None,
}
_DEAREST_USD = 1_000_000
_RISKIEST = 10
_MOST_TRUST = 1000
_FINEST = 9
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")

RESERVED = frozenset(
    {"and", "or", "not", "in", "like", "contains", "true", "false", "if", "then", "else", "has", "is"}
    | {"depth", "attestation", "trust", "hour", "task", "taint", "counters", "sums", "distinct", "provenance"}
)
"""What no argument can be called, because conditions and rules mean something else by it."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """One entry. What it does not say is None or empty. `kinds` is None where it is about a connector."""

    match: str
    kinds: frozenset[Kind] | None
    place: str
    price_usd: str | None = None
    side_effect: SideEffect | None = None
    labels: frozenset[str] = frozenset()
    risk: int | None = None
    min_trust: int | None = None
    arguments: tuple[Argument, ...] = ()

    def means(self, kind: Kind, name: str, connector: str) -> bool:
        """Whether it is about this target."""
        if self.kinds is None:
            return matches(self.match, connector)
        return kind in self.kinds and matches(self.match, name)


@dataclass(frozen=True, slots=True)
class Declarations:
    """Everything that is declared; entries about connectors come last."""

    entries: tuple[Declaration, ...] = ()
    arguments: tuple[Argument, ...] = ()
    """One for each name. A name means the same everywhere: a text, or a number of one scale."""


def read_declarations(policies_dir: Path) -> Declarations:
    """All files of `tools/`, in order of file name.

    Raises:
        ConfigurationError: `file:line:` and what is wrong there.
    """
    entries: list[Declaration] = []
    known: dict[str, tuple[Argument, str]] = {}
    for path in sorted((policies_dir / "tools").glob("*.yaml")):
        root = read_yaml(path, f"{policies_dir.name}/tools/{path.name}").mapping(tuple(_KINDS))
        for key, kinds in _KINDS.items():
            if key in root:
                entries += [_declaration(item, kinds, known) for item in root[key].items()]
    entries.sort(key=lambda entry: entry.kinds is None)
    return Declarations(tuple(entries), tuple(argument for argument, _ in known.values()))


def _declaration(
    node: Node, kinds: frozenset[Kind] | None, known: dict[str, tuple[Argument, str]]
) -> Declaration:
    about_tools = kinds is not None and Kind.TOOL in kinds
    fields = node.mapping(_TOOL_KEYS if about_tools else _OTHER_KEYS, required=["match"])
    effect = fields["side_effect"].one_of([*SideEffect]) if "side_effect" in fields else None
    return Declaration(
        match=fields["match"].text(),
        kinds=kinds,
        place=node.place,
        price_usd=_price(fields["price_usd"]) if "price_usd" in fields else None,
        side_effect=SideEffect(effect) if effect else None,
        labels=frozenset(map(_label, fields["labels"].items())) if "labels" in fields else frozenset(),
        risk=fields["risk"].integer(0, _RISKIEST) if "risk" in fields else None,
        min_trust=fields["min_trust"].integer(0, _MOST_TRUST) if "min_trust" in fields else None,
        arguments=tuple(_arguments(fields["arguments"], known)) if "arguments" in fields else (),
    )


def _label(node: Node) -> str:
    label = node.text()
    if not _LABEL.fullmatch(label):
        raise node.error(f"`{label}` is not a label", "letters, digits, `_`, `.` and `-`, at most 64")
    return label


def _arguments(node: Node, known: dict[str, tuple[Argument, str]]) -> Iterator[Argument]:
    for key, value in node.pairs("write `name: {path: where.it.stands}`"):
        argument = _argument(key, value)
        before, place = known.setdefault(argument.name, (argument, key.place))
        if before.scale != argument.scale:
            was = "a text" if before.scale is None else f"a number of scale {before.scale}"
            raise key.error(
                f"`{argument.name}` is {was} in {place}", "one name means one thing: give this another name"
            )
        yield argument


def _argument(key: Node, value: Node) -> Argument:
    name = key.text()
    if not _NAME.fullmatch(name) or name in RESERVED:
        raise key.error(
            f"`{name}` cannot be the name of an argument",
            "small letters, digits and `_`, no word of the rules themselves; `path` says where it stands",
        )
    fields = value.mapping(("path", "scale", "role"))
    path = fields["path"].text() if "path" in fields else name
    if not all(path.split(".")):
        raise fields["path"].error(f"`{path}` is not a path", "names joined by dots: `recipient.iban`")
    scale = fields["scale"].integer(0, _FINEST) if "scale" in fields else None
    role = Role(fields["role"].one_of([*Role])) if "role" in fields else None
    if role is Role.AMOUNT and scale is None:
        raise value.error("an amount is a number", "give its scale: 2 for cents, 0 for whole numbers")
    return Argument(name, path, scale, role)


def _price(node: Node) -> str:
    text = node.text()
    try:
        usd = Decimal(text)
    except InvalidOperation:
        raise node.error(f"`{text}` is not an amount of money", 'write dollars, e.g. "0.05"') from None
    if not usd.is_finite() or not 0 <= usd <= _DEAREST_USD:
        raise node.error(f"`{text}` is not a price", f"use 0 to {_DEAREST_USD}")
    return text


def labels_of(declarations: Sequence[Declaration]) -> frozenset[str]:
    """The labels that some entries give."""
    return frozenset[str]().union(*(entry.labels for entry in declarations))
