"""Do the policies hold together? `broker policy check` loads them as the server does, and reads further."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from broker.edges.cli.composition import Office, configured, on_the_state
from broker.edges.cli.ink import Ink, visible
from broker.edges.cli.options import AsJson, Config
from broker.edges.cli.output import Output
from broker.edges.cli.policy_folder import Known, Policies, folder_of, known_targets, loaded_policies
from broker.model import Agent, Json

if TYPE_CHECKING:
    from broker.policy.review import Remark, World
    from broker.settings import Settings

Strict = Annotated[bool, typer.Option("--strict", help="Exit with 1 if there is a warning.")]


def check(
    ctx: typer.Context,
    *,
    strict: Strict = False,
    policies: Policies = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Read, compile and validate all policy files, and say what in them can have no effect.

    A mistake is shown with file and line; the exit code is 2. A warning changes it only with --strict.
    """
    from broker.policy.load import load_sources
    from broker.policy.review import review

    settings = configured(config).settings
    folder = folder_of(policies, settings)
    engine = loaded_policies(folder)
    known, agents = known_targets(settings, folder), _agents(ctx, settings)
    remarks = review(load_sources(folder), _world(settings, folder, known, agents))
    warnings = [remark for remark in remarks if not remark.note]
    output = Output(as_json=as_json)
    roles = sorted(engine.roles)
    output.item(
        {
            "ok": True,
            "folder": str(folder),
            "version": engine.version,
            "roles": roles,
            "catalogue": None if known.noted_at is None else {"noted_at": known.noted_at, "targets": len(known.targets)},
            "agents": None if agents is None else len(agents),
            "remarks": [_data(remark) for remark in remarks],
        },
        "\n".join(
            [
                *_lines(remarks, output.ink),
                f"{folder}: no mistakes" + (f", {_counted(len(warnings), 'warning')}" if warnings else ""),
                f"roles      {', '.join(roles)}",
                f"catalogue  {known.said}",
                f"agents     {_counted(len(agents), 'agent') if agents is not None else 'none known: no state here'}",
                f"version    {engine.version}",
            ]
        ),
    )
    if strict and warnings:
        raise typer.Exit(1)


def _agents(ctx: typer.Context, settings: "Settings") -> Sequence[Agent] | None:
    """The enrolled agents; None where there is no state to read them from."""
    if not (settings.state_dir / "broker.db").exists():
        return None

    async def agents(office: Office) -> Sequence[Agent]:
        return await office.store.agents.agents()

    return on_the_state(ctx, settings, agents)


def _world(
    settings: "Settings", folder: Path, known: Known, agents: Sequence[Agent] | None
) -> "World":
    from broker.policy.review import World

    prefixes = {name: name if each.prefix is None else each.prefix for name, each in settings.connectors.items()}
    return World(
        targets=None if known.noted_at is None else known.targets,
        agents=agents,
        connectors=prefixes or None,
    )


def _lines(remarks: "Sequence[Remark]", ink: Ink) -> Iterator[str]:
    for remark in remarks:
        level = ink("dim", "note") if remark.note else ink("yellow", "warning")
        yield f"{visible(remark.place)}: {level}: {visible(remark.text)}"
        if remark.hint:
            yield f"  {ink('cyan', 'hint')}: {visible(remark.hint)}"
    if remarks:
        yield ""


def _data(remark: "Remark") -> Json:
    level = "note" if remark.note else "warning"
    return {"level": level, "place": remark.place, "text": remark.text, "hint": remark.hint}


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
