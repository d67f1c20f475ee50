"""Is the log whole, and who vouches for it? `broker audit` works beside the server."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from broker.edges.cli.app import noun
from broker.edges.cli.composition import Office, configured, on_the_state
from broker.edges.cli.exports import export
from broker.edges.cli.kept import VERIFICATION_FAILED, OneLog, chosen_heads, kept_notes, progress, signer_of
from broker.edges.cli.options import AsJson, Config
from broker.edges.cli.output import Output
from broker.edges.cli.proofs import prove
from broker.errors import ConfigurationError

if TYPE_CHECKING:
    from broker.model import Json

app = noun("The log: verify, prove, export, feeds, checkpoint, keys.")

Kept = Annotated[
    list[Path] | None,
    typer.Option("--checkpoint", help="A file of signed checkpoints that was kept elsewhere."),
]
OutFile = Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write them to a file instead.")]


@app.command()
def verify(
    ctx: typer.Context, checkpoint: Kept = None, config: Config = None, as_json: AsJson = False
) -> None:
    """Check hashes, signatures, consistency and meaning of every log. Exits with 6 if anything is wrong."""
    from broker.audit.verify import Report
    from broker.audit.verify import verify as verified

    kept = [note for path in checkpoint or [] for note in kept_notes(path)]

    async def check(office: Office) -> Report:
        store, trusted = office.store, office.keys.log.public
        with progress() as told:
            return await verified(store.log, keys=trusted, kept=kept, payloads=store.payloads, progress=told)

    report = on_the_state(ctx, configured(config).settings, check)
    output = Output(as_json=as_json)
    problems = [{"log": p.log, "seq": p.seq, "what": p.what} for p in report.problems]
    logs = [
        {
            "log": log.name,
            "origin": log.origin,
            "records": log.size,
            "root": log.root.hex(),
            "checkpoints": log.checkpoints,
            "signed_to": log.signed_size,
            "open_calls": list(log.open_calls),
            "pruned": log.pruned,
        }
        for log in report.logs
    ]
    lines = [
        f"{log['log']}: {log['records']} records, root {str(log['root'])[:16]}…,"
        f" signed to {log['signed_to']}, {len(found.open_calls)} calls open"
        + (f", of the first {found.pruned} only the hashes" if found.pruned else "")
        for log, found in zip(logs, report.logs, strict=True)
    ]
    lines += [f"{p['log']} #{p['seq']}: {p['what']}" for p in problems]
    verdict = output.ink("green", "verified") if report.ok else output.ink("red", "does not verify")
    output.item({"ok": report.ok, "logs": logs, "problems": problems}, "\n".join([*lines, verdict]))
    if not report.ok:
        raise typer.Exit(VERIFICATION_FAILED)


app.command()(prove)
app.command()(export)


@app.command()
def checkpoint(
    ctx: typer.Context,
    log: OneLog = None,
    out: OutFile = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """The newest signed checkpoint of each log, signed now if the log has grown.

    Keep it where nobody who can write the state can write too; `verify --checkpoint` reads it.
    """
    from broker.audit.checkpoint import Note
    from broker.audit.publisher import newest_note

    async def signed(office: Office) -> list[tuple[str, str]]:
        heads = await chosen_heads(office, log)
        return [(head.name, await newest_note(office.store.log, signer_of(office), head)) for head in heads]

    notes = on_the_state(ctx, configured(config).settings, signed)
    text = "\n".join(note for _, note in notes)
    if out is not None:
        _write(out, text)
        text = f"{len(notes)} checkpoints are in {out}\n"
    data: list[Json] = []
    for name, note in notes:
        told = Note.parse(note).checkpoint
        data.append(
            {"log": name, "origin": told.origin, "size": told.size, "root": told.root.hex(), "note": note}
        )
    Output(as_json=as_json).item(data, text.removesuffix("\n"))


@app.command()
def keys(ctx: typer.Context, config: Config = None, as_json: AsJson = False) -> None:
    """The keys of each log's checkpoints, as others pin them (C2SP signed-note verifier key).

    Those that were rotated come last: what they signed still verifies.
    """
    from broker.audit.checkpoint import verifier_key

    async def look(office: Office) -> "list[Json]":
        return [
            {
                "log": head.name,
                "key": verifier_key(head.origin, key.public),
                "from": key.created_at,
                "until": key.until,
            }
            for key in office.keys.log.all
            for head in await office.store.log.logs()
        ]

    found = on_the_state(ctx, configured(config).settings, look)
    Output(as_json=as_json).item(found, "\n".join(str(one["key"]) for one in found))


@app.command()
def feeds(ctx: typer.Context, config: Config = None, as_json: AsJson = False) -> None:
    """The continuous exports of the settings: where each goes, and how many records it is behind."""
    from broker.audit.feeds.following import behind

    settings = configured(config).settings

    async def look(office: Office) -> list[dict[str, object]]:
        heads, store = await office.store.log.logs(), office.store.feeds
        return [
            {
                "feed": name,
                "format": feed.format,
                "to": str(feed.url or feed.file),
                "behind": behind(heads, await store.delivered(name)),
            }
            for name, feed in settings.audit.feeds.items()
        ]

    found = on_the_state(ctx, settings, look)
    Output(as_json=as_json).rows(("feed", "format", "to", "behind"), found, empty="no feeds")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"cannot write `{path}`: {error.strerror}") from error
