"""What would a file of agents change? `broker agent plan FILE`, `broker agent apply FILE`."""

import getpass
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from broker.edges.cli.agent_facts import kept, warn_of_unknown_roles
from broker.edges.cli.composition import Office, configured, on_the_state, policies_of
from broker.edges.cli.ink import visible
from broker.edges.cli.options import AsJson, Config
from broker.edges.cli.output import Output, dollars
from broker.errors import ConfigurationError
from broker.model import Agent, AgentId, AgentStatus, Json, MicroUSD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.documents import Node
    from broker.identity.declared import Difference
    from broker.settings import Settings

DIFFERENCES = 1
"""Exit code of a plan where file and state differ."""

_TOLD = {
    "add": "new",
    "suspend": "not in the file",
    "absent": "not in the file; left alone (--suspend-absent suspends it)",
}

File = Annotated[Path, typer.Argument(help="The file of agents.", exists=True, dir_okay=False)]
SuspendAbsent = Annotated[
    bool, typer.Option("--suspend-absent", help="Suspend active agents that the file does not name.")
]
SecretsDir = Annotated[
    Path | None,
    typer.Option(
        "--secrets-dir", help="Write new secrets there, NAME.secret with mode 0600; do not print them."
    ),
]


@dataclass(frozen=True, slots=True)
class Applied:
    """One difference, and the secret of an agent that is new."""

    difference: "Difference"
    secret: str | None = None


def plan(
    ctx: typer.Context,
    file: File,
    *,
    suspend_absent: SuspendAbsent = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """What `apply` would change, and what it would leave although file and state differ.

    Ends with 0 if they agree and with 1 if they do not.
    """
    from broker.identity.declared import read_agents

    settings, output = configured(config).settings, Output(as_json=as_json)
    look = partial(_differences, read_agents(file), suspend_absent=suspend_absent)
    found = on_the_state(ctx, settings, look, create=True)
    _tell(output, [Applied(difference) for difference in found])
    _warn(settings, found, output)
    if found:
        raise typer.Exit(DIFFERENCES)


def apply_(
    ctx: typer.Context,
    file: File,
    *,
    suspend_absent: SuspendAbsent = False,
    secrets_dir: SecretsDir = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make the state agree with a file: add and change agents. Nothing is ever deleted or resumed."""
    from broker.identity.declared import read_agents

    settings, output = configured(config).settings, Output(as_json=as_json)
    declared = read_agents(file)
    if secrets_dir is not None and not secrets_dir.is_dir():
        raise ConfigurationError(f"there is no folder `{secrets_dir}`", hint="make it first, mode 0700")

    async def change(office: Office) -> list[Applied]:
        found = await _differences(declared, office, suspend_absent=suspend_absent)
        for difference in found:
            if difference.kind == "add" and secrets_dir is not None:
                _must_be_new(_secret_file(secrets_dir, difference.agent.id))
        return [await _apply(office, difference, f"{file}", secrets_dir) for difference in found]

    applied = on_the_state(ctx, settings, change, create=True)
    _tell(output, applied)
    if secrets_dir is None and any(one.secret for one in applied):
        output.note("secrets are not shown again")
    _warn(settings, [one.difference for one in applied], output)


def _must_be_new(file: Path) -> None:
    """Nothing is begun where some secret would have no file to go to."""
    if file.exists():
        raise ConfigurationError(f"`{file}` exists already", hint="remove it, or name another folder")


async def _differences(
    declared: "dict[AgentId, tuple[Agent, Node]]", office: Office, *, suspend_absent: bool
) -> "list[Difference]":
    from broker.identity.declared import differences

    return differences(declared, await office.store.agents.agents(), suspend_absent=suspend_absent)


async def _apply(office: Office, difference: "Difference", file: str, secrets_dir: Path | None) -> Applied:
    from broker.identity.declared import Kind, decided

    by, agent = getpass.getuser(), difference.agent
    match difference.kind:
        case Kind.ADD:
            return Applied(difference, await _add(office, agent, by, secrets_dir))
        case Kind.CHANGE:
            await office.journal.change_agent(agent.id, lambda now: decided(now, agent), by=by, reason=file)
        case Kind.SUSPEND:
            await office.journal.set_status(agent.id, AgentStatus.SUSPENDED, by=by, reason=f"not in {file}")
        case Kind.ABSENT | Kind.INACTIVE:
            pass
    return Applied(difference)


async def _add(office: Office, agent: Agent, by: str, secrets_dir: Path | None) -> str | None:
    """Enrol an agent; gives its secret unless that went into a file."""
    from broker.identity.clients import digest, new_secret

    secret = new_secret()
    new = replace(agent, created_at=int(time.time()))
    file = _secret_file(secrets_dir, agent.id) if secrets_dir is not None else None
    with kept(secret, file):
        await office.journal.enrol(new, digest(secret), by=by)
    return secret if file is None else None


def _secret_file(folder: Path, agent: AgentId) -> Path:
    return folder / f"{agent}.secret"


def _tell(output: Output, applied: "Sequence[Applied]") -> None:
    if output.as_json:
        output.item([_facts(one) for one in applied], "")
        return
    for one in applied:
        difference = one.difference
        secret = f"  client secret  {one.secret}" if one.secret else ""
        output.event({}, visible(f"{difference.kind:9} {difference.agent.id:24} {_what(difference)}{secret}"))
    if not applied:
        output.note("file and state agree")


def _facts(one: Applied) -> Json:
    difference = one.difference
    fields = {
        name: {"now": _plain(now), "file": _plain(file)} for name, (now, file) in difference.fields.items()
    }
    secret = {"client_secret": one.secret} if one.secret else {}
    return {"change": difference.kind, "agent": difference.agent.id, "fields": fields} | secret


def _what(difference: "Difference") -> str:
    if difference.kind == "inactive":
        now = difference.agent.status
        back = " (broker agent resume)" if now is AgentStatus.SUSPENDED else ""
        return f"is {now}, which a file does not change{back}"
    told = _TOLD.get(difference.kind)
    if told is not None:
        return told
    parts = [
        f"{name} {_shown(name, now)} → {_shown(name, file)}"
        for name, (now, file) in difference.fields.items()
    ]
    return ", ".join(parts)


def _shown(name: str, value: Any) -> str:
    if name == "cap_micro_usd" and value is not None:
        return dollars(MicroUSD(value))
    plain = _plain(value)
    if isinstance(plain, dict):
        return " ".join(f"{key}={text}" for key, text in cast("Json", plain).items()) or "-"
    if isinstance(plain, list):
        return " ".join(cast("list[str]", plain))
    return "-" if plain is None else str(plain)


def _plain(value: Any) -> Any:
    return sorted(cast("frozenset[str]", value)) if isinstance(value, frozenset) else value


def _warn(settings: "Settings", found: "Sequence[Difference]", output: Output) -> None:
    roles = frozenset(role for one in found if one.kind in {"add", "change"} for role in one.agent.roles)
    if roles:
        warn_of_unknown_roles(policies_of(settings), roles, output)
