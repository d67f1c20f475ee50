"""What did the operator write? Roles in YAML and hard rules in Cedar, each with file and line."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import broker
from broker.declared import Declarations, read_declarations
from broker.documents import read_text, read_yaml
from broker.errors import ConfigurationError
from broker.policy.conditions import names_of
from broker.policy.roles import Allowance, RoleFile, read_role

SCHEMA_FILE = "schema.cedarschema"


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
    declarations: Declarations = field(default_factory=Declarations)
    delegates: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    """By role, the agents and roles that who has it may delegate to; `*` is everybody."""


def shipped_policies() -> Path:
    """The folder that comes with the broker: in the wheel, else in the checkout."""
    packaged = Path(broker.__file__).parent / "_policies"
    return packaged if packaged.is_dir() else Path(broker.__file__).parent.parent / "policies"


def load_sources(folder: Path) -> Sources:
    """Read `roles/*.yaml`, `rules/*.cedar` and what `tools/*.yaml` declares.

    Raises:
        ConfigurationError: the first mistake, with file and line.
    """
    if not (folder / "roles").is_dir() and not (folder / "rules").is_dir():
        raise ConfigurationError(
            f"{folder}: holds neither `roles/` nor `rules/`", hint="`policies_dir` names the folder with both"
        )
    declarations = read_declarations(folder)
    names = names_of(declarations.arguments)
    found: dict[str, RoleFile] = {}
    for path, name in _files(folder, "roles", ".yaml"):
        file = read_role(read_yaml(path, name), names, found)
        found[file.role] = file
    statements = [
        s for path, name in _files(folder, "rules", ".cedar") for s in split(read_text(path, name), name)
    ]
    return Sources(
        schema=_schema(folder),
        roles=frozenset(found),
        allowances=tuple(entry for file in found.values() for entry in file.allowances),
        statements=tuple(statements),
        declarations=declarations,
        delegates={role: file.delegates for role, file in found.items()},
    )


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


def _files(folder: Path, sub: str, suffix: str) -> Iterator[tuple[Path, str]]:
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
