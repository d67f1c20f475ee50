"""How does a log leave the broker? The verb `broker audit export`."""

import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from broker.edges.cli.composition import Office, configured, on_the_state
from broker.edges.cli.kept import OneLog, chosen_heads, new_file, past_keys, progress, signer_of
from broker.edges.cli.options import AsJson, Config
from broker.edges.cli.output import Output
from broker.errors import InvalidRequest

if TYPE_CHECKING:
    from broker.audit.export import Range

Out = Annotated[
    Path,
    typer.Option("--out", metavar="PATH", help="A new folder or .zip; a new file for lines of a format."),
]
Format = Annotated[
    str,
    typer.Option(
        "--format",
        help="archive (with its verifier), tiles (C2SP tlog-tiles), or lines: jsonl, ocsf, otlp, cef.",
    ),
]
Where = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[CONDITION]...",
        help="Which calls, for lines of a format: as `broker calls tail` takes them.",
    ),
]
From = Annotated[
    str | None,
    typer.Option(
        "--from", metavar="SEQ|TIME", help="First record, by number (with --log) or time (RFC 3339)."
    ),
]
To = Annotated[str | None, typer.Option("--to", metavar="SEQ|TIME", help="Last record, by number or time.")]


def export(
    ctx: typer.Context,
    where: Where = None,
    *,
    out: Out,
    kind: Format = "archive",
    log: OneLog = None,
    start: From = None,
    end: To = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Write the log for somebody who has no broker: exact records, checkpoints, keys and verify.py.

    It goes up to a checkpoint that is signed for it. `python3 verify.py` in it needs Python alone.
    Other systems read other formats: OCSF 1.9, OTLP/JSON, CEF, or static tiles.
    """
    if kind != "archive":
        others = {"--from": start, "--to": end} | ({"a condition": where} if kind == "tiles" else {})
        if named := [name for name, value in others.items() if value]:
            raise InvalidRequest(f"{named[0]} does not go with --format {kind}", hint="leave it out")
        line = on_the_state(ctx, configured(config).settings, partial(_formatted, kind, where, log, out))
        Output(as_json=as_json).item({"out": str(out), "written": line}, f"{line} in {out}")
        return
    if where:
        raise InvalidRequest("an archive holds all calls: conditions are for lines", hint="--format jsonl")
    from broker.audit.export import export as exported
    from broker.audit.export import target
    from broker.audit.publisher import newest_note

    wanted = _range(start, end, log)

    async def work(office: Office) -> dict[str, int]:
        heads = await chosen_heads(office, log)
        signer = signer_of(office)
        signed = [(head, await newest_note(office.store.log, signer, head)) for head in heads]
        with progress() as told:
            return await exported(
                office.store.log,
                signed,
                target(out),
                public=signer.public,
                wanted=wanted,
                progress=told,
                past=past_keys(office),
            )

    counts = on_the_state(ctx, configured(config).settings, work)
    lines = [f"{name}: {count} records" for name, count in counts.items()]
    data = {"out": str(out), "logs": [{"log": name, "records": count} for name, count in counts.items()]}
    Output(as_json=as_json).item(data, "\n".join([*lines, f"exported to {out}"]))


async def _formatted(kind: str, where: list[str] | None, log: str | None, out: Path, office: Office) -> str:
    """Write lines of a format, or tiles; what was written, in words."""
    from broker.audit.export import target
    from broker.audit.feeds.formats import FORMATS, feed
    from broker.audit.publisher import newest_note
    from broker.audit.tlog import write_tiles
    from broker.documents import did_you_mean
    from broker.edges.call_filter import parse_filter

    heads = await chosen_heads(office, log)
    if kind == "tiles":
        into, records = target(out), 0
        for head in heads:
            note = await newest_note(office.store.log, signer_of(office), head)
            records += await write_tiles(office.store.log, head.name, note, into, below=f"{head.name}/")
        into.close()
        return f"{records} records as tiles"
    if kind not in FORMATS:
        known = [*FORMATS, "archive", "tiles"]
        raise InvalidRequest(
            f"there is no format `{kind}`", hint=did_you_mean(kind, known) or f"there are {', '.join(known)}"
        )
    wanted = parse_filter(where or [], now=time.time())
    chosen = [head for head in heads if wanted.log in {None, head.name}]
    lines = 0
    with new_file(out) as write:
        async for line in feed(office.store.log, chosen, wanted.calls, FORMATS[kind]):
            write(line)
            lines += 1
    return f"{lines} lines of {kind}"


def _range(start: str | None, end: str | None, log: str | None) -> "Range":
    """The records that are meant.

    Raises:
        InvalidRequest: an end is neither a number nor a time, or a number of no certain log.
    """
    from broker.audit.export import Range

    numbers = [text for text in (start, end) if text is not None and text.isdecimal()]
    if numbers and log is None:
        raise InvalidRequest("every log has its own numbers", hint="name the log with --log, or give times")
    return Range(
        first=int(start) if start in numbers else 0,
        last=int(end) if end in numbers else None,
        since=_time(start) if start not in (None, *numbers) else None,
        until=_time(end) if end not in (None, *numbers) else None,
    )


def _time(text: str | None) -> str:
    """A time as it stands in records."""
    try:
        time = datetime.fromisoformat(text or "")
    except ValueError:
        raise InvalidRequest(
            f"`{text}` is neither the number of a record nor a time", hint="2026-01-31T12:00:00Z is a time"
        ) from None
    given = time if time.tzinfo else time.replace(tzinfo=UTC)
    return f"{given.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
