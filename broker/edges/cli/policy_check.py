"""Do the policies hold together? `broker policy check` loads them as the server does, and reads further."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from broker.edges.cli.composition import Office, configured, on_the_state
from broker.edges.cli.ink import Ink, visible
from broker.edges.cli.options import AsJson, Config
from broker.edges.cli.output import Output
from broker.edges.cli.policy_folder import Known, Policies, folder_of, known_targets, loaded_policies
from broker.errors import ConfigurationError
from broker.model import Agent, Json

if TYPE_CHECKING:
    from broker.policy.review import Remark, World
    from broker.settings import Settings

MISTAKEN = 2

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

    Mistakes are shown with file and line; the exit code is 2. Warnings change it only with --strict.
    """
    from broker.policy.load import load_sources
    from broker.policy.review import review

    settings = configured(config).settings
    folder = folder_of(policies, settings)
    output = Output(as_json=as_json)
    mistakes = _mistakes(folder)
    if mistakes:
        data = {"ok": False, "folder": str(folder), "mistakes": [_mistake_data(m) for m in mistakes]}
        if as_json:
            output.item(data, "")
        else:
            output.note("\n".join(_mistake_lines(mistakes, Ink.on(sys.stderr))))
        raise typer.Exit(MISTAKEN)
    known, agents = known_targets(settings, folder), _agents(ctx, settings)
    remarks = review(load_sources(folder), _world(settings, known, agents))
    _report(output, folder, remarks, known, agents)
    if strict and any(not remark.note for remark in remarks):
        raise typer.Exit(1)


def _mistakes(folder: Path) -> list[ConfigurationError]:
    """Everything that keeps the folder from being put in force, without what only follows from it."""
    from broker.policy.compile import compile_sources
    from broker.policy.load import load_sources

    found: list[ConfigurationError] = []
    try:
        compile_sources(load_sources(folder, found.append), found.append)
        if not found:
            loaded_policies(folder)
    except ConfigurationError as mistake:
        found.append(mistake)
    return found


def _agents(ctx: typer.Context, settings: "Settings") -> Sequence[Agent] | None:
    """The enrolled agents; None where there is no state to read them from."""
    if not (settings.state_dir / "broker.db").exists():
        return None

    async def agents(office: Office) -> Sequence[Agent]:
        return await office.store.agents.agents()

    return on_the_state(ctx, settings, agents)


def _world(settings: "Settings", known: Known, agents: Sequence[Agent] | None) -> "World":
    from broker.policy.review import World

    connectors = {
        name: name if each.prefix is None else each.prefix for name, each in settings.connectors.items()
    }
    targets = None if known.noted_at is None else known.targets
    return World(targets=targets, agents=agents, connectors=connectors or None)


def _report(
    output: Output,
    folder: Path,
    remarks: "Sequence[Remark]",
    known: Known,
    agents: Sequence[Agent] | None,
) -> None:
    engine = loaded_policies(folder)
    roles = sorted(engine.roles)
    warnings = sum(not remark.note for remark in remarks)
    data = {
        "ok": True,
        "folder": str(folder),
        "version": engine.version,
        "roles": roles,
        "catalogue": known.as_json(),
        "agents": None if agents is None else len(agents),
        "remarks": [_remark_data(remark) for remark in remarks],
    }
    lines = [
        *_remark_lines(remarks, output.ink),
        f"{folder}: no mistakes" + (f", {_counted(warnings, 'warning')}" if warnings else ""),
        f"roles      {', '.join(roles)}",
        f"catalogue  {known.said}",
        f"agents     {'none known: no broker state here' if agents is None else len(agents)}",
        f"version    {engine.version}",
    ]
    output.item(data, "\n".join(lines))


def _mistake_lines(mistakes: Sequence[ConfigurationError], ink: Ink) -> Iterator[str]:
    for mistake in mistakes:
        yield f"{ink('red', 'configuration')}: {visible(mistake.message)}"
        if mistake.hint:
            yield f"{ink('cyan', 'hint')}: {visible(mistake.hint)}"
    yield f"{_counted(len(mistakes), 'mistake')}; nothing of this folder would be put in force"


def _mistake_data(mistake: ConfigurationError) -> Json:
    return {"message": mistake.message, "hint": mistake.hint}


def _remark_lines(remarks: "Sequence[Remark]", ink: Ink) -> Iterator[str]:
    for remark in remarks:
        level = ink("dim", "note") if remark.note else ink("yellow", "warning")
        yield f"{visible(remark.place)}: {level}: {visible(remark.text)}"
        if remark.hint:
            yield f"  {ink('cyan', 'hint')}: {visible(remark.hint)}"


def _remark_data(remark: "Remark") -> Json:
    level = "note" if remark.note else "warning"
    return {"level": level, "place": remark.place, "text": remark.text, "hint": remark.hint}


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
