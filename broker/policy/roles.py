"""What does a role permit, and on which terms? One file of `roles/*.yaml`.

role: support
allow:
  - tools: ["crm__list_*", crm__get_ticket]
  - tools: [crm__refund]
    when: amount <= 50 and region in ['eu', 'uk']
    obligations: {max_cost_usd: "0.05", redact: [customer.email]}
approve:
  - tools: [crm__refund]
    when: amount > 50 and amount <= 500
    approver: team-lead
may_delegate_to: [summariser]
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from broker.documents import Node
from broker.model import Kind, MicroUSD, SideEffect
from broker.policy.conditions import Condition, Name, read_condition
from broker.policy.interface import Obligations
from broker.policy.terms import read_max_cost, read_paths

ROLE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LONGEST_PATTERN = 2048
_LONGEST_TEXT = 300
_KINDS: Mapping[str, frozenset[Kind]] = {
    "tools": frozenset({Kind.TOOL}),
    "resources": frozenset({Kind.RESOURCE, Kind.TEMPLATE}),
    "prompts": frozenset({Kind.PROMPT}),
    "models": frozenset({Kind.MODEL}),
    "agents": frozenset(Kind),
}
_ENTRY_KEYS = (*_KINDS, "labels", "side_effects", "when", "obligations")
_OBLIGATIONS = ("max_cost_usd", "redact", "watermark", "approval")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A glob over exposed names, for some kinds; `side_effects` and `labels` narrow it (None: any).

    With `acts_as` the glob is over the agents that targets act as.
    """

    glob: str
    kinds: frozenset[Kind]
    place: str
    side_effects: frozenset[SideEffect] | None = None
    labels: frozenset[str] | None = None
    acts_as: bool = False


@dataclass(frozen=True, slots=True)
class Allowance:
    """One entry of a role: who has the role may use whatever one of the patterns matches, on these terms.

    `approver` is the role whose holders have to agree first. In an `approve` entry (`asks`) nothing is
    permitted before that; as an obligation it binds whatever else permits the call, too.
    """

    id: str
    role: str
    place: str
    text: str
    patterns: tuple[Pattern, ...]
    condition: Condition | None = None
    obligations: Obligations = Obligations()  # noqa: RUF009 - frozen
    approver: str | None = None
    asks: bool = False


@dataclass(frozen=True, slots=True)
class RoleFile:
    """One role. `delegates` are the agents and roles that who has it may delegate to; `*` is everybody."""

    role: str
    place: str
    allowances: tuple[Allowance, ...]
    delegates: frozenset[str]


def read_role(root: Node, names: Mapping[str, Name], known: Mapping[str, RoleFile]) -> RoleFile:
    """A role out of its file.

    Args:
        root: the document.
        names: what conditions can speak about.
        known: the roles that were read before.

    Raises:
        ConfigurationError: the first mistake, with file and line.
    """
    fields = root.mapping(("role", "allow", "approve", "may_delegate_to"), required=("role", "allow"))
    role = _role_name(fields["role"])
    if role in known:
        raise fields["role"].error(f"role `{role}` is defined in {known[role].place} already")
    allowances: list[Allowance] = []
    for key in ("allow", "approve"):
        entries = fields[key].items() if key in fields else []
        allowances += [_entry(entry, f"{role}/{key}/{n}", names) for n, entry in enumerate(entries, 1)]
    return RoleFile(role, root.file, tuple(allowances), _delegates(fields))


def _role_name(node: Node) -> str:
    if not ROLE_NAME.fullmatch(node.text()):
        raise node.error(
            f"`{node.text()}` is not a name for a role", "letters, digits, `_`, `.` and `-`, at most 64"
        )
    return node.text()


def _delegates(fields: Mapping[str, Node]) -> frozenset[str]:
    """Agents and roles by name: a role may be defined later, an agent enrolled later."""
    items = fields["may_delegate_to"].items() if "may_delegate_to" in fields else []
    for item in items:
        if item.text() != "*" and not ROLE_NAME.fullmatch(item.text()):
            raise item.error(
                f"`{item.text()}` names no agent or role", "name agents or roles, or `*` for all"
            )
    return frozenset(item.text() for item in items)


def _entry(entry: Node, entry_id: str, names: Mapping[str, Name]) -> Allowance:
    role, key, _ = entry_id.split("/")
    asks = key == "approve"
    fields = entry.mapping((*_ENTRY_KEYS, "approver") if asks else _ENTRY_KEYS)
    patterns = tuple(_patterns(entry, fields))
    obligations, approver = _obligations(fields.get("obligations"), asks=asks)
    if asks:
        if "approver" not in fields:
            raise entry.error("`approver` is missing", "name the role whose holders may agree")
        approver = _role_name(fields["approver"])
    return Allowance(
        id=entry_id,
        role=role,
        place=entry.place,
        text=_text(entry, role, fields, asks=asks),
        patterns=patterns,
        condition=read_condition(fields["when"], names) if "when" in fields else None,
        obligations=obligations,
        approver=approver,
        asks=asks,
    )


def _text(entry: Node, role: str, fields: Mapping[str, Node], *, asks: bool) -> str:
    lists = [key for key in fields if key in (*_KINDS, "labels", "side_effects")]
    what = "; ".join(f"{key} {', '.join(item.text() for item in fields[key].items())}" for key in lists)
    verb = f"allows, once a `{fields['approver'].text()}` agrees," if asks else "allows"
    when = f" when {' '.join(fields['when'].text().split())}" if "when" in fields else ""
    return f"{entry.place} role `{role}` {verb} {what}{when}"[:_LONGEST_TEXT]


def _patterns(entry: Node, fields: Mapping[str, Node]) -> Iterator[Pattern]:
    if not _KINDS.keys() & fields.keys():
        raise entry.error("allows nothing", f"name {', '.join(f'`{key}`' for key in _KINDS)}")
    effects, labels = _side_effects(fields), None
    if "labels" in fields:
        labels = frozenset(item.text() for item in fields["labels"].items())
    for key, kinds in _KINDS.items():
        for item in fields[key].items() if key in fields else ():
            narrowed = effects if key == "tools" else None
            yield Pattern(_glob(item), kinds, item.place, narrowed, labels, acts_as=key == "agents")


def _side_effects(fields: Mapping[str, Node]) -> frozenset[SideEffect] | None:
    node = fields.get("side_effects")
    if node is None:
        return None
    if "tools" not in fields:
        raise node.error("`side_effects` narrows `tools`, and there are none")
    return frozenset(SideEffect(item.one_of(list(SideEffect))) for item in node.items())


def _glob(item: Node) -> str:
    glob = item.text()
    if not glob or _CONTROL.search(glob) or len(glob) > _LONGEST_PATTERN:
        raise item.error("is not a pattern", "a pattern is a name in which `*` stands for any text")
    return glob


def _obligations(node: Node | None, *, asks: bool) -> tuple[Obligations, str | None]:
    """The terms, and the role that has to agree if they ask for it."""
    if node is None:
        return Obligations(), None
    fields = node.mapping(_OBLIGATIONS)
    if asks and "approval" in fields:
        raise fields["approval"].error("an `approve` entry has its `approver` already", "leave this out")
    cost: MicroUSD | None = None
    if "max_cost_usd" in fields:
        cost = read_max_cost(fields["max_cost_usd"].text(), fields["max_cost_usd"].error)
    redact = frozenset[str]()
    if "redact" in fields:
        items = fields["redact"].items()
        redact = redact.union(*(read_paths(item.text(), item.error) for item in items))
    watermark = "watermark" in fields and fields["watermark"].flag()
    return Obligations(cost, redact, watermark), _role_name(
        fields["approval"]
    ) if "approval" in fields else None
