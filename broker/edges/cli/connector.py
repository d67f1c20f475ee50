"""Do the connectors work? `broker connector` names what is installed and tries what is enabled."""

import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path

import typer

from broker.edges.cli.app import noun
from broker.edges.cli.composition import composition, configured, run
from broker.edges.cli.options import AsJson, Config
from broker.edges.cli.output import Output
from broker.settings import Settings

app = noun("Connectors: list, check.")

GROUP = "mcp_tool_broker.connectors"


@app.command("list")
def list_(config: Config = None, as_json: AsJson = False) -> None:
    """What is installed, and which of it is enabled. Installed is not enabled."""
    enabled = configured(config).settings.connectors
    rows = [
        {"connector": name, "use": section.use, "prefix": name if section.prefix is None else section.prefix}
        for name, section in enabled.items()
    ]
    used = {section.use for section in enabled.values()}
    installed = sorted(entry.name for entry in entry_points(group=GROUP) if entry.name not in used)
    rows += [{"connector": "(not enabled)", "use": name, "prefix": "-"} for name in installed]
    Output(as_json=as_json).rows(("connector", "use", "prefix"), rows, empty="no connector is installed")


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


@contextmanager
def _state_for_a_moment(settings: Settings) -> Generator[Settings]:
    """The same settings on an empty state beside the real one, which a server may hold."""
    beside = settings.state_dir.absolute().parent
    folder = tempfile.mkdtemp(prefix=".broker-check-", dir=beside)
    try:
        yield settings.model_copy(update={"state_dir": Path(folder)})
    finally:
        shutil.rmtree(folder, ignore_errors=True)
