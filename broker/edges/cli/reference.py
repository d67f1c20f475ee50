"""Where do the reference pages come from? From the settings model and the commands' own help.

`python -m broker.edges.cli.reference` writes them; a test says when they are out of date.
"""

import contextlib
import importlib
import io
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer.main import get_command

from broker.configuration.load import PREFIX
from broker.edges.cli.main import NOUNS
from broker.settings import Section, Settings

WIDTH = 100


def settings_page() -> str:
    """`docs/reference/settings.md`."""
    lines = [
        "# Settings",
        "",
        "Made from `broker/settings.py` by `python -m broker.edges.cli.reference`.",
        "",
        "One file, `broker.toml`. The environment overrides it, options of the command line override both:",
        f"`{PREFIX}SERVER__PORT=9000` sets `port` in `[server]`. Relative paths start from its folder.",
        "`broker config show` prints what is in force and where each value comes from.",
        "",
        *_table("Top of the file", Settings),
    ]
    lines += _sections(Settings, "")
    return "\n".join(lines) + "\n"


def commands_page() -> str:
    """`docs/reference/cli.md`."""
    lines = [
        "# Commands",
        "",
        "Made from the commands' own help by `python -m broker.edges.cli.reference`.",
        "",
        "Data goes to stdout, everything else to stderr. With `--json` stdout holds one JSON value",
        "(streams: one a line), also for an error:",
        '`{"error": {"code": …, "message": …, "hint": …}}`. In a pipe the columns of lists are separated',
        "by tabs. `NO_COLOR` is honoured.",
        "",
        "Exit codes: 0 done · 1 failed · 2 usage or configuration · 3 refused (policy, guardrail, budget) ·",
        "4 not authenticated · 5 not found · 6 verification failed · 130 interrupted.",
    ]
    for noun, what in NOUNS.items():
        lines += ["", f"## broker {noun}", "", f"{what}."]
        for words, text in _helps(noun):
            if len(words) > 1:
                lines += ["", f"### broker {' '.join(words)}"]
            lines += ["", "```text", text, "```"]
    return "\n".join(lines) + "\n"


def write_pages(folder: Path) -> None:
    """Write both pages into `docs/reference`."""
    (folder / "settings.md").write_text(settings_page(), encoding="utf-8")
    (folder / "cli.md").write_text(commands_page(), encoding="utf-8")


def _table(title: str, section: type[BaseModel]) -> Iterator[str]:
    yield f"## {title}"
    yield ""
    yield "| setting | type | default | what it is |"
    yield "|---|---|---|---|"
    for name, info in section.model_fields.items():
        if _section(info.annotation) is None:
            yield f"| `{name}` | {_type(info)} | {_default(info)} | {info.description} |"


def _sections(model: type[BaseModel], above: str) -> Iterator[str]:
    for name, info in model.model_fields.items():
        section = _section(info.annotation)
        if section is not None:
            place = f"{above}{name}.NAME" if get_origin(info.annotation) is dict else f"{above}{name}"
            yield ""
            yield from _table(f"`[{place}]`", section)
            yield from _sections(section, f"{place}.")


def _section(annotation: object) -> type[Section] | None:
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, Section):
            return candidate
    return None


def _type(info: FieldInfo) -> str:
    bounds = [
        f"{sign} {getattr(m, name)}" for m in info.metadata for name, sign in _BOUNDS if hasattr(m, name)
    ]
    return " ".join([_named(info.annotation), *bounds])


_BOUNDS = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))
_NAMES: dict[Any, str] = {str: "text", int: "integer", float: "number", bool: "true/false", Path: "path"}


def _named(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in inner)
    if origin in (Union, types.UnionType):
        return _named(next(part for part in inner if part is not type(None)))
    if origin is tuple:
        return f"list of {_named(inner[0])}"
    return "table" if origin is dict else _NAMES[annotation]


def _default(info: FieldInfo) -> str:
    value: object = info.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined:
        return "required"
    if value is None or value in ((), {}):
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _helps(noun: str) -> Iterator[tuple[list[str], str]]:
    app = importlib.import_module(f"broker.edges.cli.{noun}").app
    for verb in getattr(get_command(app), "commands", {None: None}):
        words = [noun, verb] if verb else [noun]
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
            app(args=[*words[1:], "--help"], prog_name=f"broker {noun}", terminal_width=WIDTH)
        yield words, out.getvalue().strip()


if __name__ == "__main__":
    write_pages(Path(__file__).parents[3] / "docs" / "reference")
