"""What does the operator declare of what is offered? `policies/tools/*.yaml`.

    tools:
      - match: bank__transfer       # exposed names; `*` stands for any text
        labels: [money, external-sink]
        side_effect: writes         # reads, writes or destroys
        cache_s: 60                 # of a tool that only reads: so long its answer stays the same
        price_usd: "0.001"          # of one call, as text: money is never a float
        risk: 7                     # 0 to 10
        min_trust: 600              # the score that everybody in the chain needs, 0 to 1000
        arguments:                  # what rules can speak about
          amount: {scale: 2, role: amount}
          to: {path: recipient.iban, role: destination}
          region: {record: true}    # a text that may stand in the log, so that changes can be simulated
          customer: {subject: true} # names the person whom a call is about, who may ask for erasure
      - match: bank__list
        own_fields: [payments.iban] # of its structured results: whom one has paid oneself, say
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

_TOOL_KEYS = (
    *("match", "price_usd", "side_effect", "cache_s", "labels", "risk", "min_trust"),
    *("arguments", "own_fields"),
)
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
LONGEST_CACHE_S = 86_400
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
    cache_s: int | None = None
    labels: frozenset[str] = frozenset()
    risk: int | None = None
    min_trust: int | None = None
    arguments: tuple[Argument, ...] = ()
    own_fields: tuple[str, ...] = ()

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
        cache_s=_cache_s(fields["cache_s"], effect) if "cache_s" in fields else None,
        labels=frozenset(map(_label, fields["labels"].items())) if "labels" in fields else frozenset(),
        risk=fields["risk"].integer(0, _RISKIEST) if "risk" in fields else None,
        min_trust=fields["min_trust"].integer(0, _MOST_TRUST) if "min_trust" in fields else None,
        arguments=tuple(read_arguments(fields["arguments"], known)) if "arguments" in fields else (),
        own_fields=tuple(map(_path, fields["own_fields"].items())) if "own_fields" in fields else (),
    )


def _cache_s(node: Node, effect: str | None) -> int:
    if effect not in {None, SideEffect.READS}:
        raise node.error(
            f"a tool that {effect} is called every time", "`cache_s` is for tools that only read"
        )
    return node.integer(0, LONGEST_CACHE_S)


def _label(node: Node) -> str:
    label = node.text()
    if not _LABEL.fullmatch(label):
        raise node.error(f"`{label}` is not a label", "letters, digits, `_`, `.` and `-`, at most 64")
    return label


def read_arguments(node: Node, known: dict[str, tuple[Argument, str]]) -> Iterator[Argument]:
    """Declared arguments; `known` are those of other entries with their places, and grows.

    Raises:
        ConfigurationError: `file:line:` and what is wrong there.
    """
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
    fields = value.mapping(("path", "scale", "role", "record", "subject"))
    path = _path(fields["path"]) if "path" in fields else name
    scale = fields["scale"].integer(0, _FINEST) if "scale" in fields else None
    role = Role(fields["role"].one_of([*Role])) if "role" in fields else None
    if role is Role.AMOUNT and scale is None:
        raise value.error("an amount is a number", "give its scale: 2 for cents, 0 for whole numbers")
    record, subject = (key in fields and fields[key].flag() for key in ("record", "subject"))
    if subject and (record or scale is not None):
        raise value.error(
            f"`{name}` names a person, so it can neither be a number nor stand in the log",
            "what is in the log cannot be erased: leave `record` and `scale` out",
        )
    return Argument(name, path, scale, role, record=record, subject=subject)


def _path(node: Node) -> str:
    path = node.text()
    if not all(path.split(".")):
        raise node.error(f"`{path}` is not a path", "names joined by dots: `recipient.iban`")
    return path


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
