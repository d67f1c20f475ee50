"""How does a backup become the state again? It is put there, and verified before anybody uses it."""

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from broker.edges.cli.app import noun
from broker.edges.cli.composition import Office, composition, configured, on_the_state
from broker.edges.cli.kept import VERIFICATION_FAILED, kept_notes
from broker.edges.cli.options import AsJson, Config
from broker.edges.cli.output import Output

if TYPE_CHECKING:
    from broker.audit.verify import Report

app = noun("Put a backup in place of the state.", single=True)

Backup = Annotated[Path, typer.Argument(metavar="FILE", help="What `broker backup` wrote.")]
KeysFile = Annotated[
    Path | None, typer.Option("--keys", metavar="FILE", help="The keys of payloads that belong to it.")
]
Kept = Annotated[
    list[Path] | None,
    typer.Option("--checkpoint", help="Signed checkpoints kept elsewhere: an older state is refused."),
]


@app.command()
def restore(
    ctx: typer.Context,
    file: Backup,
    *,
    keys: KeysFile = None,
    checkpoint: Kept = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Put a backup where no state is, and verify it. If anything is wrong it is taken away: exit code 6."""
    from broker.audit.verify import verify

    settings = configured(config).settings
    notes = [note for path in checkpoint or [] for note in kept_notes(path)]

    async def check(office: Office) -> "Report":
        store, trusted = office.store, office.keys.log.public
        report = await verify(store.log, keys=trusted, kept=notes, payloads=store.payloads)
        if report.ok:
            await office.journal.restored(by=getpass.getuser(), checked=len(notes))
        return report

    composition(ctx).restore(settings, file, keys)
    try:
        report = on_the_state(ctx, settings, check)
    except BaseException:
        composition(ctx).take_away(settings)
        raise
    output = Output(as_json=as_json)
    lines = [f"{log.name}: {log.size} records" for log in report.logs]
    problems = [{"log": p.log, "seq": p.seq, "what": p.what} for p in report.problems]
    lines += [f"{p['log']} #{p['seq']}: {p['what']}" for p in problems]
    lines.append("restored" if report.ok else "does not verify: nothing was restored")
    output.item({"ok": report.ok, "problems": problems}, "\n".join(lines))
    if not report.ok:
        composition(ctx).take_away(settings)
        raise typer.Exit(VERIFICATION_FAILED)
