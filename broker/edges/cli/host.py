"""How does an agent host find the broker? `broker host` prints or writes the host's own configuration."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from broker.edges.cli.app import noun
from broker.edges.cli.hosts.files import merged, replace, toml_text
from broker.edges.cli.hosts.formats import HOSTS, Host, Registration, Scope, Transport
from broker.edges.cli.options import AsJson, ClientId, Url
from broker.edges.cli.output import Output
from broker.errors import ConfigurationError, InvalidRequest, UnknownTarget

app = noun("Register the broker in an agent host: list, print, add.")

HostName = Annotated[str, typer.Argument(metavar="HOST", help=f"One of: {', '.join(HOSTS)}.")]
By = Annotated[Transport, typer.Option(help="stdio renews its tokens by itself; http needs BROKER_TOKEN.")]
In = Annotated[Scope | None, typer.Option(help="Which of the host's files [the user's, if it has one].")]
EntryName = Annotated[str, typer.Option("--name", help="What the host calls the broker.")]
SecretPath = Annotated[
    Path | None,
    typer.Option("--secret-file", help="File with the secret [~/.config/broker/CLIENT_ID.secret]."),
]
WriteSecret = Annotated[
    bool, typer.Option("--write-secret", help="Put BROKER_CLIENT_SECRET itself into the entry.")
]


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """The hosts whose format is known, and their files."""
    rows = [
        {
            "host": host.name,
            "title": host.title,
            "transports": ["stdio", "http"] if host.http else ["stdio"],
            "files": [f"{'~/' if scope is Scope.USER else ''}{file}" for scope, file in host.files.items()],
        }
        for host in HOSTS.values()
    ]
    Output(as_json=as_json).rows(("host", "title", "transports", "files"), rows, empty="")


@app.command("print")
def print_(
    host: HostName,
    *,
    url: Url = None,
    client_id: ClientId = None,
    secret_file: SecretPath = None,
    transport: By = Transport.STDIO,
    name: EntryName = "broker",
    write_secret: WriteSecret = False,
) -> None:
    """Print what has to stand in the host's file."""
    chosen = _host(host, transport)
    registration = _registration(name, url, client_id, secret_file, write_secret=write_secret)
    document = chosen.document(registration, transport)
    toml = any(file.endswith(".toml") for file in chosen.files.values())
    print(toml_text(document) if toml else json.dumps(document, indent=2))


@app.command()
def add(
    host: HostName,
    *,
    url: Url = None,
    client_id: ClientId = None,
    secret_file: SecretPath = None,
    transport: By = Transport.STDIO,
    name: EntryName = "broker",
    scope: In = None,
    write_secret: WriteSecret = False,
    as_json: AsJson = False,
) -> None:
    """Put the broker into the host's own file, or print the host's own command where it has one for that."""
    chosen = _host(host, transport)
    registration = _registration(name, url, client_id, secret_file, write_secret=write_secret)
    output = Output(as_json=as_json)
    if not (registration.secret or registration.secret_file.exists()) and transport is Transport.STDIO:
        output.note(f"`{registration.secret_file}` is not there yet; the host will need it")
    where = scope or next(iter(chosen.files), Scope.USER)
    if where not in chosen.files:
        _by_command(chosen, registration, transport, where, output)
        return
    path = (Path.home() if where is Scope.USER else Path.cwd()) / chosen.files[where]
    text = merged(path, chosen.document(registration, transport))
    kept = replace(path, text) if text is not None else None
    said = "is there already" if text is None else "added" + (f"; the old file is {kept}" if kept else "")
    output.item(
        {"file": str(path), "changed": text is not None, "backup": str(kept) if kept else None},
        f"{path}: `{name}` {said}",
    )


def _by_command(
    host: Host, registration: Registration, transport: Transport, scope: Scope, output: Output
) -> None:
    if host.command is None:
        raise InvalidRequest(
            f"{host.title} has no file for --scope {scope}",
            hint=f"`broker host print {host.name}` shows the entry",
        )
    line = host.command(registration, transport, scope)
    output.item({"command": line}, line)
    output.note(f"{host.title} keeps these itself: run the command above")


def _host(name: str, transport: Transport) -> Host:
    host = HOSTS.get(name)
    if host is None:
        raise UnknownTarget(f"no host `{name}` is known", hint=f"use one of {', '.join(HOSTS)}")
    if transport is Transport.HTTP and host.http is None:
        raise InvalidRequest(
            f"{host.title} cannot refer to a token over http",
            hint="use --transport stdio, which renews tokens",
        )
    return host


def _registration(
    name: str, url: str | None, client_id: str | None, secret_file: Path | None, *, write_secret: bool
) -> Registration:
    from broker.edges.cli.remote.credentials import base_url

    if not client_id:
        raise ConfigurationError("which agent is this host?", hint="give --client-id, the agent's id")
    secret = os.environ.get("BROKER_CLIENT_SECRET") if write_secret else None
    if write_secret and not secret:
        raise ConfigurationError("there is no secret to write", hint="export BROKER_CLIENT_SECRET=…")
    default = Path.home() / ".config" / "broker" / f"{client_id}.secret"
    return Registration(name, base_url(url), client_id, (secret_file or default).absolute(), secret)
