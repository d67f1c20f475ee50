"""What is kept about a person, and how is it erased? `broker subject` works on the state, server or not."""

import getpass
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from broker.edges.cli.app import noun
from broker.edges.cli.composition import Office, configured, on_the_state
from broker.edges.cli.options import AsJson, Config
from broker.edges.cli.output import Output
from broker.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.audit.payloads import About, Erased, Subject

app = noun("People whom calls are about: list, export, erase.")

_COLUMNS = ("subject", "log", "identity", "since", "payloads")

Who = Annotated[
    str,
    typer.Argument(
        metavar="WHO", help="What names the person, or the pseudonym `list` shows; `-` reads it from stdin."
    ),
]
Log = Annotated[str | None, typer.Option("--log", metavar="NAME", help="Only in this organisation.")]
Basis = Annotated[str, typer.Option(help="On what grounds; goes into the log. Never name the person in it.")]
OutFolder = Annotated[
    Path | None, typer.Option("--out", metavar="FOLDER", help="Write subject.json and subject.html there.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask: what is erased cannot be brought back.")]


@app.command("list")
def list_(ctx: typer.Context, config: Config = None, as_json: AsJson = False) -> None:
    """Everybody who is known: by name where a declared argument named them, else by pseudonym alone."""

    async def look(office: Office) -> "Sequence[Subject]":
        return await office.payloads.subjects()

    found = on_the_state(ctx, configured(config).settings, look)
    Output(as_json=as_json).rows(_COLUMNS, [_row(subject) for subject in found], empty="nobody is known")


@app.command()
def export(
    ctx: typer.Context,
    who: Who,
    *,
    basis: Basis,
    out: OutFolder = None,
    log: Log = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Everything that is kept about a person, for them: what was recorded and what was said."""
    from broker.edges.cli.subject_pages import as_data, as_page, write_new

    named = _named(who)

    async def look(office: Office) -> "Sequence[About]":
        return await office.payloads.about(named, log=log, by=getpass.getuser(), basis=basis)

    found = on_the_state(ctx, configured(config).settings, look)
    output, data = Output(as_json=as_json), as_data(found)
    if out is None:
        output.item(data, as_page(data, html=False))
        return
    write_new(out, data)
    output.item({"out": str(out), "records": len(data["records"])}, f"exported to {out}")


@app.command()
def erase(
    ctx: typer.Context,
    who: Who,
    *,
    basis: Basis,
    yes: Yes = False,
    log: Log = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Destroy the keys of a person, and with them all that was said about them. Prints a receipt."""
    named = _named(who)
    if not yes:
        if not sys.stdin.isatty():
            raise InvalidRequest("what is erased cannot be brought back", hint="say --yes")
        typer.confirm("This cannot be undone. Erase?", abort=True, err=True)

    async def work(office: Office) -> "Sequence[Erased]":
        return await office.payloads.erase(named, log=log, by=getpass.getuser(), basis=basis)

    erased = on_the_state(ctx, configured(config).settings, work)
    data = [
        {
            "subject": one.subject,
            "payloads": one.payloads,
            "receipt": {"log": one.log, "index": one.seq, "leaf": one.leaf, "size": one.seq + 1},
        }
        for one in erased
    ]
    lines = [
        f"{one.subject}: keys and {one.payloads} payloads destroyed\n"
        f"receipt: log {one.log} #{one.seq} leaf {one.leaf}"
        for one in erased
    ]
    Output(as_json=as_json).item(data, "\n".join(lines))


def _named(who: str) -> str:
    """Whoever is meant. What names a person need not stand in the list of processes."""
    named = sys.stdin.readline().strip() if who == "-" else who.strip()
    if not named:
        raise InvalidRequest("nobody is named", hint="an e-mail address, a customer's number, a pseudonym")
    return named


def _row(subject: "Subject") -> dict[str, object]:
    return {
        "subject": subject.id,
        "log": subject.log,
        "identity": subject.identity,
        "since": datetime.fromtimestamp(subject.created_at, UTC).isoformat(),
        "payloads": subject.payloads,
    }
