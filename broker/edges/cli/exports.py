"""How does a log leave the broker? The verb `broker audit export`."""

import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from broker.edges.cli.composition import Office, configured, on_the_state
from broker.edges.cli.kept import OneLog, chosen_heads, signer_of
from broker.edges.cli.options import AsJson, Config
from broker.edges.cli.output import Output
from broker.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Generator

    from broker.audit.export import Progress, Range

Out = Annotated[Path, typer.Option("--out", metavar="PATH", help="A new folder, or a new file .zip.")]
From = Annotated[
    str | None,
    typer.Option(
        "--from", metavar="SEQ|TIME", help="First record, by number (with --log) or time (RFC 3339)."
    ),
]
To = Annotated[str | None, typer.Option("--to", metavar="SEQ|TIME", help="Last record, by number or time.")]


def export(
    ctx: typer.Context,
    *,
    out: Out,
    log: OneLog = None,
    start: From = None,
    end: To = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Write the log for somebody who has no broker: exact records, checkpoints, keys and verify.py.

    It goes up to a checkpoint that is signed for it. `python3 verify.py` in it needs Python alone.
    """
    from broker.audit.export import export as exported
    from broker.audit.export import target
    from broker.audit.publisher import newest_note

    wanted = _range(start, end, log)

    async def work(office: Office) -> dict[str, int]:
        heads = await chosen_heads(office, log)
        signer = signer_of(office)
        signed = [(head, await newest_note(office.store.log, signer, head)) for head in heads]
        with _progress() as told:
            return await exported(
                office.store.log, signed, target(out), public=signer.public, wanted=wanted, progress=told
            )

    counts = on_the_state(ctx, configured(config).settings, work)
    lines = [f"{name}: {count} records" for name, count in counts.items()]
    data = {"out": str(out), "logs": [{"log": name, "records": count} for name, count in counts.items()]}
    Output(as_json=as_json).item(data, "\n".join([*lines, f"exported to {out}"]))


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


@contextmanager
def _progress() -> "Generator[Progress]":
    """Shows how far it is on a terminal; nothing elsewhere."""
    shown = sys.stderr.isatty()

    def told(name: str, done: int, of: int) -> None:
        if shown:
            print(f"\r\x1b[K{name}: {done:,} of {of:,} records", end="", file=sys.stderr, flush=True)

    yield told
    if shown:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
