"""Do the connectors work, and are their tools what was approved? `broker connector …`."""

import getpass
import json
import shutil
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches, unified_diff
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from broker.edges.cli.app import noun
from broker.edges.cli.composition import Office, composition, configured, on_the_state, run
from broker.edges.cli.ink import visible
from broker.edges.cli.options import AsJson, Config
from broker.edges.cli.output import Output
from broker.errors import UnknownTarget
from broker.settings import Settings

if TYPE_CHECKING:
    from broker.catalog.pins import Pin

app = noun("Connectors: list, check, approve.")

GROUP = "mcp_tool_broker.connectors"
_HEADS = ("--", "++", "@@")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The connector.")]
OneTool = Annotated[str | None, typer.Argument(metavar="TOOL", help="Only this tool, by its upstream name.")]
Yes = Annotated[bool, typer.Option("--yes", help="Approve what is shown without being asked.")]


@app.command("list")
def list_(ctx: typer.Context, config: Config = None, as_json: AsJson = False) -> None:
    """What is installed, and which of it is enabled. Installed is not enabled."""
    settings = configured(config).settings
    enabled = settings.connectors
    none: Sequence[Pin] = ()
    pins = on_the_state(ctx, settings, _pins) if settings.state_dir.is_dir() else none
    rows: list[dict[str, object]] = [
        {
            "connector": name,
            "use": section.use,
            "prefix": name if section.prefix is None else section.prefix,
            "approved": sum(pin.connector == name and pin.approved is not None for pin in pins),
            "waiting": [pin.tool for pin in pins if pin.connector == name and pin.waits],
        }
        for name, section in enabled.items()
    ]
    used = {section.use for section in enabled.values()}
    installed = sorted(entry.name for entry in entry_points(group=GROUP) if entry.name not in used)
    blank: dict[str, object] = dict.fromkeys(("prefix", "approved", "waiting"), "-")
    rows += [{"connector": "(not enabled)", "use": name} | blank for name in installed]
    columns = ("connector", "use", "prefix", "approved", "waiting")
    Output(as_json=as_json).rows(columns, rows, empty="no connector is installed")


@app.command()
def approve(
    ctx: typer.Context,
    name: Name,
    tool: OneTool = None,
    *,
    yes: Yes = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show what has changed about a connector's tools since they were approved, and approve it."""
    from broker.catalog.pins import difference

    settings, output = configured(config).settings, Output(as_json=as_json)

    async def waiting(office: Office) -> "list[Pin]":
        return _chosen(settings, name, tool, await office.definitions.pins(name))

    shown = on_the_state(ctx, settings, waiting)
    rows = [_facts(pin, difference(pin)) for pin in shown]
    if not as_json:
        for pin in shown:
            output.item(None, _told(pin, difference(pin)))
    if not shown:
        output.note("nothing waits to be approved")
    elif yes or _agreed(as_json=as_json):

        async def change(office: Office) -> None:
            await office.definitions.approve(shown, by=getpass.getuser())

        on_the_state(ctx, settings, change)
        output.note(f"approved: {', '.join(pin.tool for pin in shown)}")
    else:
        output.note("nothing was approved; --yes approves what is shown")
    if as_json:
        output.item(rows, "")


@app.command()
def check(ctx: typer.Context, config: Config = None, as_json: AsJson = False) -> None:
    """Open every enabled connector, as the server would, and say what it offers."""
    loaded = configured(config)

    async def offers() -> list[dict[str, object]]:
        with _state_for_a_moment(loaded.settings) as trial:
            async with composition(ctx).running(trial, loaded.folder) as broker:
                return [
                    {
                        "connector": mount.name,
                        "state": mount.state,
                        "tools": len(mount.offer.tools),
                        "resources": len(mount.offer.resources) + len(mount.offer.templates),
                        "prompts": len(mount.offer.prompts),
                        "problem": mount.problem,
                    }
                    for mount in broker.catalog.mounts
                ]

    rows = run(offers)
    Output(as_json=as_json).rows(
        ("connector", "state", "tools", "resources", "prompts", "problem"),
        rows,
        empty="no connector is enabled: add a section [connectors.NAME] to broker.toml",
    )
    if any(row["state"] == "failed" for row in rows):
        raise typer.Exit(1)


async def _pins(office: Office) -> "Sequence[Pin]":
    return await office.definitions.pins()


def _chosen(settings: Settings, name: str, tool: str | None, pins: "Sequence[Pin]") -> "list[Pin]":
    if name not in settings.connectors:
        raise UnknownTarget(f"there is no connector `{name}`", hint="`broker connector list` shows all")
    if tool is not None and all(pin.tool != tool for pin in pins):
        near = get_close_matches(tool, [pin.tool for pin in pins], 1)
        hint = f"did you mean `{near[0]}`?" if near else "leave the tool out to see all that waits"
        raise UnknownTarget(f"`{name}` has no tool `{tool}`", hint=hint)
    return [pin for pin in pins if pin.waits and tool in (None, pin.tool)]


def _agreed(*, as_json: bool) -> bool:
    return not as_json and sys.stdin.isatty() and typer.confirm("approve?", err=True)


def _facts(pin: "Pin", parts: "Mapping[str, tuple[object, object]]") -> dict[str, object]:
    return {
        "tool": pin.tool,
        "because": pin.because,
        "serves": "pinned" if pin.serves else "nothing",
        "pinned": pin.digest or None,
        "offered": pin.offered_digest,
        "difference": {part: {"pinned": before, "offered": after} for part, (before, after) in parts.items()},
    }


def _told(pin: "Pin", parts: "Mapping[str, tuple[object, object]]") -> str:
    """The difference as a reader of patches knows it; what is invisible is spelt out."""
    serves = "is served as it was approved" if pin.serves else "is not served"
    lines = [f"{pin.tool} {serves}: {pin.because}"]
    for part, (before, after) in parts.items():
        lines.append(f"  {part}")
        old, new = _lines(before), _lines(after)
        lines += [
            f"    {line}" for line in unified_diff(old, new, n=1, lineterm="") if line[:2] not in _HEADS
        ]
    return visible("\n".join(lines))


def _lines(value: object) -> list[str]:
    if value is None:
        return []
    if isinstance(value, str):
        return value.splitlines()
    return json.dumps(value, indent=2, sort_keys=True).splitlines()


@contextmanager
def _state_for_a_moment(settings: Settings) -> Generator[Settings]:
    """The same settings on an empty state beside the real one, which a server may hold."""
    beside = settings.state_dir.absolute().parent
    folder = tempfile.mkdtemp(prefix=".broker-check-", dir=beside)
    try:
        yield settings.model_copy(update={"state_dir": Path(folder)})
    finally:
        shutil.rmtree(folder, ignore_errors=True)
