"""Is the log whole, and does it make sense? Every record is hashed again, every promise checked.

Hashes alone show an edit only to whoever holds an older signed checkpoint: an attacker who owns
the file can hash everything anew. So roots are compared with the signed checkpoints in the store
and with those that were `kept` elsewhere.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, cast

import orjson

from broker.audit.absent import Absences
from broker.audit.checkpoint import BadNote, Checkpoint, Note
from broker.audit.interface import SYSTEM_LOG, Event, LogHead, LogReader, StoredRecord
from broker.audit.offline import Story
from broker.audit.payloads import PayloadStore
from broker.audit.record import FORMAT
from broker.audit.tiles import WIDTH, GrowingTree

Progress = Callable[[str, int, int], None]
"""Told now and then: the log's name, its records done, its records in all."""
_OPENED = Event.LOG_OPENED.value
_TENANT = Event.TENANT_CHECKPOINT.value


def _untold(_: str, __: int, ___: int) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and where: the sequence number of the first record concerned."""

    log: str
    seq: int
    what: str


@dataclass(frozen=True, slots=True)
class VerifiedLog:
    """What was found of one log: records read, their root, valid checkpoints, calls without an end; and of
    how many records, from the first, only the hash is left because their time was over.
    """

    name: str
    origin: str
    size: int
    root: bytes
    checkpoints: int
    signed_size: int
    open_calls: tuple[str, ...]
    pruned: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a verification: it verifies if there are no problems."""

    logs: tuple[VerifiedLog, ...]
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether everything holds."""
        return not self.problems


async def verify(
    log: LogReader,
    *,
    keys: Sequence[bytes],
    kept: Sequence[str] = (),
    payloads: PayloadStore | None = None,
    progress: Progress = _untold,
) -> Report:
    """Read every log to its end and check it.

    Args:
        log: where the records are.
        keys: the Ed25519 public keys (32 raw bytes) whose checkpoints are believed.
        kept: signed notes that were kept outside the store, of any log.
        payloads: what was said in calls, held against what the log commits to.
        progress: told now and then how far it is.
    """
    heads = sorted(await log.logs(), key=lambda head: (head.name != SYSTEM_LOG, head.name))
    problems: list[Problem] = []
    outside = _kept_notes(kept, keys, {head.origin for head in heads}, problems)
    found: list[VerifiedLog] = []
    told: list[Checkpoint] = []
    for head in heads:
        absences = None if payloads is None else Absences(log, head.name, payloads)
        reading = _Reading(head, told, absences)
        signed = [c for c in outside if c.origin == head.origin]
        reading.expect([c for c in told if c.origin == head.origin])
        signed += reading.believed(await log.checkpoints(head.name), keys)
        reading.expect(signed)
        async for record in log.records(head.name):
            if record.seq >= head.size:
                await _grown(log, head, record, problems)
                break
            reading.read(record)
            if (record.seq + 1) % WIDTH == 0:
                reading.tile(await log.tile(head.name, 0, record.seq // WIDTH))
                progress(head.name, record.seq + 1, head.size)
                if absences is not None:
                    await absences.look()
        if absences is not None:
            reading.lacks(await absences.unexcused())
        found.append(reading.finish(len(signed)))
        problems += reading.problems
    gone = sorted({c.origin for c in told} - {head.origin for head in heads})
    problems += [Problem(origin, 0, "the system log tells of a log that is not here") for origin in gone]
    if payloads is not None:
        problems += [
            Problem(name, seq, "what is kept of the call is not what the record commits to")
            async for name, seq in payloads.broken()
        ]
    return Report(tuple(sorted(found, key=lambda log: log.name)), tuple(problems))


class _Reading:
    """One log, read from its first record to its last."""

    def __init__(self, head: LogHead, told: list[Checkpoint], absences: Absences | None) -> None:
        self.problems: list[Problem] = []
        self._head = head
        self._next = 0
        self._tree = GrowingTree()
        self._last_ts = ""
        self._expected: dict[int, Checkpoint] = {}
        self._signed = 0
        self._broken = False
        self._story = Story(whole=True)
        self._told = told if head.name == SYSTEM_LOG else None
        self._absences = absences
        self._gone = 0

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
        seq, leaf, body = record.seq, record.leaf, record.body
        if seq != self._next:
            self._broken = True
            self._report(self._next, f"record {self._next} is missing: the next one is {seq}")
        if not body and seq == self._gone:
            self._gone += 1
            self._story.begins_later()
        else:
            if sha256(b"\0" + body).digest() != leaf:
                self._report(seq, "the record does not have the hash it was stored with")
            self._check_body(seq, body)
        if not self._broken:
            self._tree.add(leaf)
        self._next = seq + 1
        if self._next in self._expected:
            self._compare()

    def tile(self, kept: bytes) -> None:
        """Compare the hashes of the last full tile with those that are kept for proofs."""
        if kept and not self._broken and kept != self._tree.last_tile:
            first = self._next - WIDTH
            self._report(first, f"the hashes kept of the records from {first} on are not theirs")

    def lacks(self, gone: Sequence[int]) -> None:
        """Report records whose payloads are gone."""
        for seq in gone:
            self._report(
                seq, "what was kept of the call is gone: nobody was erased, and its time is not over"
            )

    def finish(self, checkpoints: int) -> VerifiedLog:
        """Compare the end of the log with its head and with what was signed."""
        root = self._tree.root
        if self._next < self._head.size:
            self._broken = True
            self._report(self._next, f"the log ends here, its head counts {self._head.size} records")
        if not self._broken and root != self._head.root:
            self._report(self._signed, "the records from here on do not have the root in the log's head")
        pruned = self._story.pruned
        if self._gone > pruned:
            gone = f"the bodies of records {pruned} to {self._gone - 1} are gone"
            self._report(pruned, f"{gone}, and no record says why")
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
            tuple(self._story.open),
            self._gone,
        )

    def _compare(self) -> None:
        expected = self._expected.get(self._next)
        if expected is None or self._broken:
            return
        if self._tree.root == expected.root:
            self._signed = self._next
            return
        self._broken = True
        last = self._next - 1
        self._report(self._signed, f"records {self._signed} to {last} are not those that were signed")

    def _check_body(self, seq: int, body: bytes) -> None:
        try:
            fields: Any = orjson.loads(body)
        except orjson.JSONDecodeError:
            fields = None
        if not isinstance(fields, dict):
            self._report(seq, "the record is not a JSON object")
            return
        known = cast("dict[str, Any]", fields)
        ts = known.get("ts")
        if not self._as_set(known, seq, ts):
            for what in self._envelope(known, seq):
                self._report(seq, what)
        if isinstance(ts, str):
            self._last_ts = ts
        if self._absences is not None:
            self._absences.note(seq, known)
        for what in self._story.read(seq, known):
            self._report(seq, what)
        if self._told is not None and known.get("type") == _TENANT:
            self._tell(seq, known, self._told)

    def _tell(self, seq: int, body: dict[str, Any], told: list[Checkpoint]) -> None:
        """Take in what the system log says of another log."""
        try:
            told.append(Checkpoint(str(body["origin"]), int(body["size"]), bytes.fromhex(body["root"])))
        except (KeyError, TypeError, ValueError):
            self._report(seq, "the record lacks what a record of its type has")

    def _as_set(self, body: dict[str, Any], seq: int, ts: object) -> bool:
        """Whether the log's own fields are all as they should be; `_envelope` says what is not."""
        return (
            body.get("v") == FORMAT
            and body.get("seq") == seq
            and body.get("log") == self._head.origin
            and (body.get("type") == _OPENED) == (seq == 0)
            and isinstance(ts, str)
            and ts >= self._last_ts
        )

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
        return wrong

    def _report(self, seq: int, what: str) -> None:
        self.problems.append(Problem(self._head.name, seq, what))


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
