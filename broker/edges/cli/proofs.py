"""How is one call proven to somebody else? The verb `broker audit prove`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from broker.edges.cli.composition import Office, configured, on_the_state
from broker.edges.cli.kept import VERIFICATION_FAILED, kept_notes, signer_of
from broker.edges.cli.options import AsJson, Config
from broker.edges.cli.output import Output
from broker.errors import InvalidRequest, UnknownTarget

if TYPE_CHECKING:
    from broker.audit.checkpoint import Checkpoint
    from broker.audit.interface import LogHead, StoredRecord
    from broker.audit.prove import Proof
    from broker.model import Json

CallArgument = Annotated[str, typer.Argument(metavar="CALL", help="The call's id.")]
Since = Annotated[
    Path | None,
    typer.Option("--since", metavar="FILE", help="Signed checkpoints kept earlier: prove the log only grew."),
]
Receipt = Annotated[
    str | None,
    typer.Option("--receipt", metavar="JSON", help="What the caller got as io.toolbroker/receipt."),
]


@dataclass(frozen=True, slots=True)
class Proven:
    """One call's proof, with what it leads to."""

    log: str
    note: str
    checkpoint: "Checkpoint"
    proof: "Proof"
    problems: tuple[str, ...]


def prove(
    ctx: typer.Context,
    call: CallArgument,
    *,
    since: Since = None,
    receipt: Receipt = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Prove that the log holds a call's records, against a signed checkpoint. Exits with 6 if it does not."""
    older = kept_notes(since) if since else []
    held = _receipt(receipt) if receipt is not None else None

    async def work(office: Office) -> Proven:
        return await _prove(office, call, older, held)

    proven = on_the_state(ctx, configured(config).settings, work)
    output = Output(as_json=as_json)
    lines = [*_lines(proven, receipt=held is not None and not proven.problems), *proven.problems]
    verdict = output.ink("red", "does not hold") if proven.problems else output.ink("green", "proven")
    output.item(_data(call, proven), "\n".join([*lines, verdict]))
    if proven.problems:
        raise typer.Exit(VERIFICATION_FAILED)


async def _prove(office: Office, call: str, older: Sequence[str], receipt: "Json | None") -> Proven:
    from broker.audit.checkpoint import Note
    from broker.audit.prove import prove as proven
    from broker.audit.prove import receipt_problems
    from broker.audit.publisher import newest_note

    head, records = await _found(office, call)
    note = await newest_note(office.store.log, signer_of(office), head)
    checkpoint = Note.parse(note).checkpoint
    since, wrong = _believed(older, head, office.keys.log.public)
    proof = await proven(office.store.log, head.name, records, checkpoint, since)
    if receipt is not None:
        wrong += receipt_problems(receipt, head.name, records, checkpoint.size)
    return Proven(head.name, note, checkpoint, proof, (*proof.problems, *wrong))


async def _found(office: Office, call: str) -> "tuple[LogHead, list[StoredRecord]]":
    from broker.audit.interface import Filter

    for head in await office.store.log.logs():
        records = [
            r async for r in office.store.log.records(head.name, Filter(call=call)) if r.seq < head.size
        ]
        if records:
            return head, records
    raise UnknownTarget(f"the log holds no call `{call}`", hint="`broker calls tail` shows the newest")


def _believed(
    older: Sequence[str], head: "LogHead", public: Sequence[bytes]
) -> "tuple[list[Checkpoint], list[str]]":
    """Of the kept notes those of this log, and what is wrong with them."""
    from broker.audit.checkpoint import BadNote, Note

    good: list[Checkpoint] = []
    wrong: list[str] = []
    for text in older:
        try:
            note = Note.parse(text)
        except BadNote as error:
            wrong.append(f"the older checkpoint cannot be read: {error}")
            continue
        if note.checkpoint.origin != head.origin:
            continue
        if note.verified_by(public):
            good.append(note.checkpoint)
        else:
            wrong.append(f"the checkpoint at {note.checkpoint.size} is not signed by this deployment")
    if older and not good and not wrong:
        wrong.append(f"none of the older checkpoints is of the log `{head.origin}`")
    return good, wrong


def _receipt(text: str) -> "Json":
    try:
        receipt: object = json.loads(text)
    except json.JSONDecodeError:
        receipt = None
    if not isinstance(receipt, dict) or not {"log", "index", "leaf", "size"} <= set(cast("Json", receipt)):
        raise InvalidRequest(
            "the receipt is not an object with `log`, `index`, `leaf` and `size`",
            hint="pass what the caller got in `_meta` under `io.toolbroker/receipt`, in single quotes",
        )
    return cast("Json", receipt)


def _lines(proven: Proven, *, receipt: bool) -> list[str]:
    lines = [
        f"{proven.log} #{found.record.seq}: {_type(found.record)}, leaf {found.record.leaf.hex()[:16]}…,"
        f" {len(found.path)} hashes to the root"
        for found in proven.proof.records
    ]
    lines += [
        f"since {old.old.size} records: {len(old.path)} hashes to the root" for old in proven.proof.since
    ]
    lines += ["the receipt is for one of these records"] * receipt
    size, root = proven.checkpoint.size, proven.checkpoint.root.hex()
    return [*lines, f"checkpoint: {size} records, root {root[:16]}…, signed"]


def _data(call: str, proven: Proven) -> "Json":
    checkpoint = proven.checkpoint
    return {
        "ok": not proven.problems,
        "call": call,
        "log": proven.log,
        "origin": checkpoint.origin,
        "checkpoint": {"size": checkpoint.size, "root": checkpoint.root.hex(), "note": proven.note},
        "records": [
            {
                "seq": found.record.seq,
                "type": _type(found.record),
                "leaf": found.record.leaf.hex(),
                "proof": [step.hex() for step in found.path],
            }
            for found in proven.proof.records
        ],
        "since": [
            {"size": old.old.size, "root": old.old.root.hex(), "proof": [step.hex() for step in old.path]}
            for old in proven.proof.since
        ],
        "problems": list(proven.problems),
    }


def _type(record: "StoredRecord") -> str:
    """What the record says it is; one that was spoilt says nothing."""
    try:
        body: object = json.loads(record.body)
    except ValueError:
        return "unreadable"
    return str(cast("Json", body).get("type")) if isinstance(body, dict) else "unreadable"
