"""What is wrong with this installation? Each check looks at one thing and says what to do about it."""

import importlib.metadata
import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

from broker.edges.cli.app import noun
from broker.edges.cli.composition import configured, policies_of
from broker.edges.cli.ink import Ink
from broker.edges.cli.options import AsJson, Config
from broker.edges.cli.output import Output
from broker.errors import BrokerError

if TYPE_CHECKING:
    from broker.settings import Settings

app = noun("Find out what is wrong with this installation.", single=True)

DISTRIBUTION = "mcp-tool-broker"


class State(StrEnum):
    """How a check went."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


_STYLES = {State.OK: "green", State.WARNING: "yellow", State.FAILED: "red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    check: str
    state: State
    what: str
    hint: str | None = None


@app.command()
def doctor(config: Config = None, as_json: AsJson = False) -> None:
    """Check installation, configuration, policies, connectors, port and state. Exits with 1 if any fails."""
    output = Output(as_json=as_json)
    findings = [*distribution(importlib.metadata.packages_distributions().get("broker", ()))]
    try:
        loaded = configured(config)
    except BrokerError as error:
        findings.append(Finding("configuration", State.FAILED, error.message, error.hint))
    else:
        where = str(loaded.file) if loaded.file else "no broker.toml, the defaults are in force"
        findings.append(Finding("configuration", State.OK, where))
        findings += _policies(policies_of(loaded.settings))
        findings += commands(loaded.settings)
        findings += port(loaded.settings)
        findings += state(loaded.settings.state_dir)
    data = [{"check": f.check, "state": f.state, "what": f.what, "hint": f.hint} for f in findings]
    output.item(data, "\n".join(line for finding in findings for line in _lines(finding, output.ink)))
    if any(finding.state is State.FAILED for finding in findings):
        raise typer.Exit(1)


def distribution(owners: Sequence[str]) -> Iterator[Finding]:
    """Whether another distribution has put its own package `broker` into this environment."""
    others = sorted(set(owners) - {DISTRIBUTION})
    if others:
        hint = "install the broker in an environment of its own, e.g. `uv tool install mcp-tool-broker`"
        yield Finding(
            "installation", State.FAILED, f"also owned by {', '.join(others)}: package `broker`", hint
        )
    else:
        yield Finding("installation", State.OK, f"{DISTRIBUTION} {importlib.metadata.version(DISTRIBUTION)}")


def _policies(folder: Path) -> Iterator[Finding]:
    from broker.edges.cli.policy_folder import loaded_policies

    try:
        engine = loaded_policies(folder)
    except BrokerError as error:
        yield Finding("policies", State.FAILED, error.message, error.hint)
        return
    yield Finding("policies", State.OK, f"{folder}: roles {', '.join(sorted(engine.roles))}")


def commands(settings: "Settings") -> Iterator[Finding]:
    """Whether the connectors are installed and the commands they start are there."""
    from broker.catalog.installed import installed

    usable = installed()
    for name, section in settings.connectors.items():
        check = f"connector {name}"
        if section.use not in usable:
            hint = f"installed are: {', '.join(usable)}"
            yield Finding(check, State.FAILED, f"there is no connector `{section.use}`", hint)
            continue
        command = section.settings.get("command")
        program = str(cast("list[object]", command)[0]) if isinstance(command, list) and command else None
        if program is not None and shutil.which(program) is None:
            hint = "install it, or write the absolute path of a program that may be executed"
            yield Finding(check, State.FAILED, f"cannot start `{program}`", hint)
        else:
            yield Finding(check, State.OK, str(program or section.settings.get("url") or section.use))


def port(settings: "Settings") -> Iterator[Finding]:
    """Whether the port can be had, or who has it."""
    server = settings.server
    address = f"{server.host}:{server.port}"
    try:
        with socket.create_server((server.host, server.port), family=_family(server.host)):
            yield Finding("port", State.OK, f"{address} is free")
    except OSError as error:
        what = f"{address}: {(error.strerror or str(error)).lower()}"
        yield Finding(
            "port", State.WARNING, what, "a broker that is running already is fine; else change server.port"
        )


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def state(folder: Path) -> Iterator[Finding]:
    """Whether the state can be written, and by nobody else: it holds the signing keys."""
    if not folder.exists():
        writable = os.access(next(parent for parent in folder.absolute().parents if parent.exists()), os.W_OK)
        what = f"{folder} will be made" if writable else f"{folder} cannot be made"
        yield Finding("state", State.OK if writable else State.FAILED, what)
        return
    open_to_others = [
        path for path in (folder, *folder.iterdir()) if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    ]
    if not os.access(folder, os.W_OK):
        yield Finding("state", State.FAILED, f"{folder} cannot be written", "run as the broker's own user")
    elif open_to_others:
        what = f"open to others: {', '.join(str(path) for path in open_to_others)}"
        yield Finding("state", State.FAILED, what, f"chmod -R go-rwx {folder}")
    else:
        yield Finding("state", State.OK, f"{folder} belongs to this user alone")


def _lines(finding: Finding, ink: Ink) -> Iterator[str]:
    mark: Callable[[str], str] = lambda text: ink(_STYLES[finding.state], text)  # noqa: E731
    yield f"{mark(f'{finding.state:8}')} {finding.check:16} {finding.what}"
    if finding.hint:
        yield f"{' ' * 26}{finding.hint}"
