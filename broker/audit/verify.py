"""Is the log whole, and does it make sense? Every record is hashed again, every promise checked.

Hashes alone show an edit only to whoever holds an older signed checkpoint: an attacker who owns
the file can hash everything anew. So roots are compared with the signed checkpoints in the store
and with those that were `kept` elsewhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import orjson

from broker.audit.checkpoint import BadNote, Checkpoint, Note
from broker.audit.interface import Event, LogHead, LogReader, StoredRecord
from broker.audit.meaning import Meaning
from broker.audit.record import FORMAT
from broker.audit.tree import leaf_hash, push, root_of


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and where: the sequence number of the first record concerned."""

    log: str
    seq: int
    what: str


@dataclass(frozen=True, slots=True)
class VerifiedLog:
    """What was found of one log: records read, their root, valid checkpoints, calls without an end."""

    name: str
    origin: str
    size: int
    root: bytes
    checkpoints: int
    signed_size: int
    open_calls: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a verification: it verifies if there are no problems."""

    logs: tuple[VerifiedLog, ...]
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether everything holds."""
        return not self.problems


async def verify(log: LogReader, *, keys: Sequence[bytes], kept: Sequence[str] = ()) -> Report:
    """Read every log to its end and check it.

    Args:
        log: where the records are.
        keys: the Ed25519 public keys (32 raw bytes) whose checkpoints are believed.
        kept: signed notes that were kept outside the store, of any log.
    """
    heads = await log.logs()
    problems: list[Problem] = []
    outside = _kept_notes(kept, keys, {head.origin for head in heads}, problems)
    found: list[VerifiedLog] = []
    for head in heads:
        reading = _Reading(head)
        signed = [c for c in outside if c.origin == head.origin]
        signed += reading.believed(await log.checkpoints(head.name), keys)
        reading.expect(signed)
        async for record in log.records(head.name):
            if record.seq >= head.size:
                await _grown(log, head, record, problems)
                break
            reading.read(record)
        found.append(reading.finish(len(signed)))
        problems += reading.problems
    return Report(tuple(found), tuple(problems))


class _Reading:
    """One log, read from its first record to its last."""

    def __init__(self, head: LogHead) -> None:
        self.problems: list[Problem] = []
        self._head = head
        self._next = 0
        self._frontier: list[bytes] = []
        self._last_ts = ""
        self._expected: dict[int, Checkpoint] = {}
        self._signed = 0
        self._broken = False
        self._meaning = Meaning()

    def believed(self, notes: Sequence[str], keys: Sequence[bytes]) -> list[Checkpoint]:
        """The checkpoints among these notes that one of the keys has signed for this log."""
        good: list[Checkpoint] = []
        for text in notes:
            checkpoint, why = _opened(text, keys)
            if checkpoint is None or checkpoint.origin != self._head.origin:
                seq = checkpoint.size if checkpoint else 0
                self._report(seq, why or "a stored checkpoint belongs to another log")
            else:
                good.append(checkpoint)
        return good

    def expect(self, signed: Sequence[Checkpoint]) -> None:
        """Note which roots have been signed at which sizes."""
        for checkpoint in signed:
            other = self._expected.setdefault(checkpoint.size, checkpoint)
            if other.root != checkpoint.root:
                self._report(
                    checkpoint.size, f"two signed checkpoints disagree on the first {other.size} records"
                )
        self._compare()

    def read(self, record: StoredRecord) -> None:
        """Take the next record in."""
        if record.seq != self._next:
            self._broken = True
            self._report(self._next, f"record {self._next} is missing: the next one is {record.seq}")
        if leaf_hash(record.body) != record.leaf:
            self._report(record.seq, "the record does not have the hash it was stored with")
        self._check_body(record)
        if not self._broken:
            push(self._frontier, self._next, record.leaf)
        self._next = record.seq + 1
        self._compare()

    def finish(self, checkpoints: int) -> VerifiedLog:
        """Compare the end of the log with its head and with what was signed."""
        root = root_of(self._frontier)
        if self._next < self._head.size:
            self._broken = True
            self._report(self._next, f"the log ends here, its head counts {self._head.size} records")
        if not self._broken and root != self._head.root:
            self._report(self._signed, "the records from here on do not have the root in the log's head")
        ahead = [size for size in self._expected if size > self._next]
        if ahead:
            self._report(self._next, f"the log ends here, a signed checkpoint covers {max(ahead)} records")
        return VerifiedLog(
            self._head.name,
            self._head.origin,
            self._next,
            root,
            checkpoints,
            self._signed,
            self._meaning.open_calls,
        )

    def _compare(self) -> None:
        expected = self._expected.get(self._next)
        if expected is None or self._broken:
            return
        if root_of(self._frontier) == expected.root:
            self._signed = self._next
            return
        self._broken = True
        last = self._next - 1
        self._report(self._signed, f"records {self._signed} to {last} are not those that were signed")

    def _check_body(self, record: StoredRecord) -> None:
        fields = _parsed(record.body)
        if fields is None:
            self._report(record.seq, "the record is not a JSON object")
            return
        for what in self._envelope(fields, record.seq):
            self._report(record.seq, what)
        for what in self._meaning.read(record.seq, fields):
            self._report(record.seq, what)

    def _envelope(self, body: dict[str, Any], seq: int) -> list[str]:
        """What is wrong with the fields that the log itself has set."""
        wrong: list[str] = []
        if body.get("v") != FORMAT:
            wrong.append("the record has an unknown format")
        if body.get("log") != self._head.origin:
            wrong.append(f"the record belongs to the log `{body.get('log')}`")
        if body.get("seq") != seq:
            wrong.append(f"the record was written as number {body.get('seq')}")
        if (body.get("type") == Event.LOG_OPENED) != (seq == 0):
            wrong.append("a log begins with one `log.opened`, and has no other")
        ts = body.get("ts")
        if not isinstance(ts, str):
            return [*wrong, "the record has no time"]
        if ts < self._last_ts:
            wrong.append("the record is older than the one before it")
        self._last_ts = ts
        return wrong

    def _report(self, seq: int, what: str) -> None:
        self.problems.append(Problem(self._head.name, seq, what))


def _parsed(body: bytes) -> dict[str, Any] | None:
    try:
        value: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


async def _grown(log: LogReader, head: LogHead, record: StoredRecord, problems: list[Problem]) -> None:
    """A record beyond the head was appended meanwhile, or smuggled in."""
    sizes = {now.name: now.size for now in await log.logs()}
    if sizes.get(head.name, 0) <= record.seq:
        problems.append(Problem(head.name, record.seq, f"the log's head counts only {head.size} records"))


def _kept_notes(
    notes: Sequence[str], keys: Sequence[bytes], origins: set[str], problems: list[Problem]
) -> list[Checkpoint]:
    good: list[Checkpoint] = []
    for text in notes:
        checkpoint, why = _opened(text, keys)
        if checkpoint is None:
            problems.append(Problem("", 0, why))
        elif checkpoint.origin not in origins:
            problems.append(Problem(checkpoint.origin, 0, "a signed checkpoint is of a log that is not here"))
        else:
            good.append(checkpoint)
    return good


def _opened(text: str, keys: Sequence[bytes]) -> tuple[Checkpoint | None, str]:
    try:
        note = Note.parse(text)
    except BadNote as error:
        return None, f"a checkpoint cannot be read: {error}"
    if not note.verified_by(keys):
        return None, f"the checkpoint at {note.checkpoint.size} is not signed by a known key"
    return note.checkpoint, ""
