"""What did the operator write? Roles in YAML and hard rules in Cedar, each with file and line."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import broker
from broker.documents import Node, read_text, read_yaml
from broker.errors import ConfigurationError
from broker.model import Kind, SideEffect

SCHEMA_FILE = "schema.cedarschema"
_ROLE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_KINDS = {
    "tools": frozenset({Kind.TOOL}),
    "resources": frozenset({Kind.RESOURCE, Kind.TEMPLATE}),
    "prompts": frozenset({Kind.PROMPT}),
}


@dataclass(frozen=True, slots=True)
class Pattern:
    """A glob over exposed names, for some kinds; `side_effects` narrows tools further (None: any)."""

    glob: str
    kinds: frozenset[Kind]
    side_effects: frozenset[SideEffect] | None
    place: str


@dataclass(frozen=True, slots=True)
class Allowance:
    """One entry of a role: who has the role may use whatever one of the patterns matches."""

    id: str
    role: str
    place: str
    text: str
    patterns: tuple[Pattern, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """One policy of a Cedar file, as it stands there."""

    text: str
    place: str


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything in a policies folder that decides."""

    schema: str
    roles: frozenset[str]
    allowances: tuple[Allowance, ...]
    statements: tuple[Statement, ...]
    delegates: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    """By role, the agents and roles that who has it may delegate to; `*` is everybody."""


def shipped_policies() -> Path:
    """The folder that comes with the broker: in the wheel, else in the checkout."""
    packaged = Path(broker.__file__).parent / "_policies"
    return packaged if packaged.is_dir() else Path(broker.__file__).parent.parent / "policies"


def load_sources(folder: Path) -> Sources:
    """Read `roles/*.yaml` and `rules/*.cedar`.

    Raises:
        ConfigurationError: the first mistake, with file and line.
    """
    if not (folder / "roles").is_dir() and not (folder / "rules").is_dir():
        raise ConfigurationError(
            f"{folder}: holds neither `roles/` nor `rules/`", hint="`policies_dir` names the folder with both"
        )
    roles: dict[str, str] = {}
    allowances: list[Allowance] = []
    delegates: dict[str, frozenset[str]] = {}
    for path, name in files_of(folder, "roles", ".yaml"):
        role, found, delegates_to = _role(read_yaml(path, name), roles)
        roles[role] = name
        allowances += found
        delegates[role] = delegates_to
    statements = [
        s for path, name in files_of(folder, "rules", ".cedar") for s in split(read_text(path, name), name)
    ]
    return Sources(_schema(folder), frozenset(roles), tuple(allowances), tuple(statements), delegates)


def split(text: str, name: str) -> Iterator[Statement]:
    """The policies of a Cedar file. Comments and strings may hold semicolons; policies end at one.

    Text after the last semicolon comes out as a statement too: it will be refused, not ignored.
    """
    start: int | None = None
    for token in _TOKENS.finditer(text):
        kind = token.lastgroup
        if kind in ("space", "comment"):
            continue
        if start is None:
            start = token.start()
        if kind == "end":
            yield _statement(text, start, token.end(), name)
            start = None
    if start is not None:
        yield _statement(text, start, len(text), name)


_TOKENS = re.compile(
    r'(?P<space>\s+)|(?P<comment>//[^\n]*)|(?P<string>"(?:[^"\\]|\\.)*"?)|(?P<end>;)|(?P<other>[^\s";/]+|/)',
    re.DOTALL,
)


def _statement(text: str, start: int, end: int, name: str) -> Statement:
    return Statement(text[start:end], f"{name}:{text.count(chr(10), 0, start) + 1}")


def _schema(folder: Path) -> str:
    """The shipped schema: it belongs to the code. A copy in another folder has to be the same."""
    shipped = read_text(shipped_policies() / SCHEMA_FILE, f"policies/{SCHEMA_FILE}")
    own = folder / SCHEMA_FILE
    if own.exists() and read_text(own, f"{folder.name}/{SCHEMA_FILE}") != shipped:
        raise ConfigurationError(
            f"{folder.name}/{SCHEMA_FILE}:1: is not the schema of this version of the broker",
            hint="the schema is not a setting: delete this file",
        )
    return shipped


def files_of(folder: Path, sub: str, suffix: str) -> Iterator[tuple[Path, str]]:
    """Files and the names that messages call them. What would silently not be read is an error."""
    for path in _visible(folder / sub):
        name = f"{folder.name}/{sub}/{path.name}"
        if path.suffix != suffix or not path.is_file():
            raise ConfigurationError(
                f"{name}:1: is not read", hint=f"`{sub}/` holds `*{suffix}` files; rename it or move it away"
            )
        yield path, name


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(p for p in folder.iterdir() if not p.name.startswith(".") and not p.name.endswith("~"))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigurationError(f"{folder}: cannot be read: {error.strerror}") from error


def _role(root: Node, known: dict[str, str]) -> tuple[str, list[Allowance], frozenset[str]]:
    fields = root.mapping(("role", "allow", "may_delegate_to"), required=("role", "allow"))
    role = fields["role"].text()
    if not _ROLE_NAME.fullmatch(role):
        raise fields["role"].error(
            f"`{role}` is not a name for a role", "letters, digits, `_`, `.` and `-`, at most 64"
        )
    if role in known:
        raise fields["role"].error(f"role `{role}` is defined in {known[role]} already")
    entries = fields["allow"].items()
    allowances = [_allowance(entry, role, number) for number, entry in enumerate(entries, 1)]
    return role, allowances, _delegatees(fields)


def _delegatees(fields: dict[str, Node]) -> frozenset[str]:
    """Agents and roles by name: a role may be defined later, an agent enrolled later."""
    node = fields.get("may_delegate_to")
    if node is None:
        return frozenset()
    for item in node.items():
        if item.text() != "*" and not _ROLE_NAME.fullmatch(item.text()):
            raise item.error(
                f"`{item.text()}` names no agent or role", "name agents or roles, or `*` for all"
            )
    return frozenset(item.text() for item in node.items())


def _allowance(entry: Node, role: str, number: int) -> Allowance:
    fields = entry.mapping((*_KINDS, "side_effects"))
    if not _KINDS.keys() & fields.keys():
        raise entry.error("allows nothing", "name `tools`, `resources` or `prompts`")
    effects = _side_effects(fields)
    patterns = tuple(
        _pattern(item, kinds, effects if key == "tools" else None)
        for key, kinds in _KINDS.items()
        if key in fields
        for item in fields[key].items()
    )
    what = "; ".join(f"{key} {', '.join(n.text() for n in fields[key].items())}" for key in fields)
    text = f"{entry.place} role `{role}` allows {what}"
    return Allowance(f"{role}/allow/{number}", role, entry.place, text[:300], patterns)


def _side_effects(fields: dict[str, Node]) -> frozenset[SideEffect] | None:
    node = fields.get("side_effects")
    if node is None:
        return None
    if "tools" not in fields:
        raise node.error("`side_effects` narrows `tools`, and there are none")
    return frozenset(SideEffect(item.one_of(list(SideEffect))) for item in node.items())


def _pattern(item: Node, kinds: frozenset[Kind], effects: frozenset[SideEffect] | None) -> Pattern:
    glob = item.text()
    if not glob or _CONTROL.search(glob) or len(glob) > 2048:
        raise item.error("is not a pattern", "a pattern is a name in which `*` stands for any text")
    return Pattern(glob, kinds, effects, item.place)
