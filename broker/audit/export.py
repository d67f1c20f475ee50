"""How is a log handed to somebody who has no broker? Files with exact bytes, and a verifier beside them.

manifest.json                     format, logs with their ranges, SHA-256 of every other file
keys.txt                          the verifier keys of each log (C2SP signed-note), and when old ones signed
logs/N/records.jsonl              the records in range, one a line: the bytes that were hashed
logs/N/leaves.bin                 the hashes of all leaves, 32 bytes each
logs/N/checkpoints.txt            the signed checkpoints
verify.py                         checks all of it, with Python alone
"""

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import orjson

from broker.audit import offline
from broker.audit.checkpoint import BadNote, Checkpoint, Note, PastKey, verifier_key
from broker.audit.interface import LogHead, LogReader
from broker.errors import ConfigurationError

Write = Callable[[bytes], object]
Progress = Callable[[str, int, int], None]
"""Told now and then: the log's name, its records done, its records in all."""
_EVERY = 2000
_VERIFIER = Path(offline.__file__)


@dataclass(frozen=True, slots=True)
class Range:
    """Which records to export, by number or by time; both ends are in it.

    Args:
        first: number of the first record; `last`: of the last.
        since: time of the first record at the earliest; `until`: of the last at the latest, as
            in records (RFC 3339, UTC, microseconds).
    """

    first: int = 0
    last: int | None = None
    since: str | None = None
    until: str | None = None

    @property
    def by_time(self) -> bool:
        """Whether the times of records have to be read."""
        return self.since is not None or self.until is not None


class _Files:
    """Files of an export as they are written, with their hashes."""

    def __init__(self, target: "Folder | Zip") -> None:
        self._target = target
        self.digests: dict[str, str] = {}

    @contextmanager
    def writing(self, name: str) -> Generator[Write]:
        digest = hashlib.sha256()
        with self._target.put(name) as write:

            def both(data: bytes) -> None:
                digest.update(data)
                write(data)

            yield both
        self.digests[name] = digest.hexdigest()

    def write(self, name: str, data: bytes) -> None:
        with self.writing(name) as write:
            write(data)


class Folder:
    """A new folder, readable by its owner alone.

    Raises:
        ConfigurationError: it is there already and holds something, or cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise _taken(path)
        except OSError as error:
            raise _unwritable(path, error) from error

    @contextmanager
    def put(self, name: str) -> Generator[Write]:
        """Write one file."""
        path = self._path / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "xb", opener=_private) as file:
                yield file.write
        except OSError as error:
            raise _unwritable(path, error) from error

    def close(self) -> None:
        """Nothing is left to do."""


class Zip:
    """A new zip file, readable by its owner alone.

    Raises:
        ConfigurationError: it is there already, or cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = open(path, "xb", opener=_private)  # noqa: SIM115 - closed by `close`
        except FileExistsError as error:
            raise _taken(path) from error
        except OSError as error:
            raise _unwritable(path, error) from error
        self._zip = zipfile.ZipFile(self._file, "w", zipfile.ZIP_DEFLATED, compresslevel=1)

    @contextmanager
    def put(self, name: str) -> Generator[Write]:
        """Write one file."""
        try:
            with self._zip.open(name, "w", force_zip64=True) as file:
                yield file.write
        except OSError as error:
            raise _unwritable(self._path, error) from error

    def close(self) -> None:
        """Write the table of contents."""
        try:
            self._zip.close()
            self._file.close()
        except OSError as error:
            raise _unwritable(self._path, error) from error


def target(path: Path) -> Folder | Zip:
    """A zip for a name that ends so, a folder for any other."""
    return Zip(path) if path.suffix == ".zip" else Folder(path)


async def export(
    log: LogReader,
    signed: Sequence[tuple[LogHead, str]],
    into: Folder | Zip,
    *,
    public: bytes,
    wanted: Range,
    progress: Progress,
    past: Sequence[PastKey] = (),
) -> dict[str, int]:
    """Write an export of these logs up to their signed checkpoints; how many records of each.

    Args:
        log: where the records are.
        signed: the logs, each with the signed note up to which it goes.
        into: where the files go.
        public: the key that signs checkpoints (32 raw bytes).
        wanted: which records; the hashes of all leaves are in every export.
        progress: told how far it is.
        past: the keys that signed before.

    Raises:
        ConfigurationError: the files cannot be written.
    """
    files = _Files(into)
    logs: list[dict[str, Any]] = []
    for number, (head, note) in enumerate(signed):
        checkpoint = Note.parse(note).checkpoint
        logs.append(await _log(log, head.name, checkpoint, files, _Part(f"logs/{number}", wanted, progress)))
    files.write("keys.txt", "".join(_keys([head for head, _ in signed], public, past)).encode())
    files.write("verify.py", _VERIFIER.read_bytes())  # noqa: ASYNC240 - one small file, as all writing here
    manifest = {"format": offline.FORMAT, "logs": logs, "files": files.digests}
    files.write("manifest.json", json.dumps(manifest, indent=2).encode() + b"\n")
    into.close()
    return {entry["name"]: entry["end"] - entry["first"] for entry in logs}


def _keys(heads: Sequence[LogHead], public: bytes, past: Sequence[PastKey]) -> Iterator[str]:
    """Lines with the keys of logs; above one that signs no more a comment says when it did."""
    yield from (f"{verifier_key(head.origin, public)}\n" for head in heads)
    for key in past:
        since, until = (datetime.fromtimestamp(at, UTC).isoformat() for at in (key.since, key.until))
        yield f"# signed from {since} to {until}:\n"
        yield from (f"{verifier_key(head.origin, key.public)}\n" for head in heads)


@dataclass(frozen=True, slots=True)
class _Part:
    """Where one log goes, and what of it."""

    folder: str
    wanted: Range
    progress: Progress


async def _log(
    log: LogReader, name: str, checkpoint: Checkpoint, files: _Files, part: _Part
) -> dict[str, Any]:
    leaves = bytearray()
    chosen = _Chosen(part.wanted)
    size = pruned = 0
    with files.writing(f"{part.folder}/records.jsonl") as write:
        async for record in log.records(name):
            if size == checkpoint.size:
                break
            leaves += record.leaf
            if not record.body and pruned == size:
                pruned += 1
            elif chosen.has(size, record.body):
                write(record.body + b"\n")
            size += 1
            if size % _EVERY == 0:
                part.progress(name, size, checkpoint.size)
    notes = [note for note in await log.checkpoints(name) if not _later(note, checkpoint)]
    files.write(f"{part.folder}/leaves.bin", bytes(leaves))
    files.write(f"{part.folder}/checkpoints.txt", "\n".join(notes).encode())
    first, end = chosen.bounds(size)
    return {
        "name": name,
        "origin": checkpoint.origin,
        "folder": part.folder,
        "size": size,
        "first": first,
        "end": end,
        "pruned": pruned,
        "root": checkpoint.root.hex(),
    }


def _later(note: str, checkpoint: Checkpoint) -> bool:
    """Whether a note was signed while the export was written. A spoilt one is for the verifier to name."""
    try:
        return Note.parse(note).checkpoint.size > checkpoint.size
    except BadNote:
        return False


class _Chosen:
    """Which records of one log are in the range: one run of them, whatever their times are."""

    def __init__(self, wanted: Range) -> None:
        self._wanted = wanted
        self._first: int | None = None
        self._end: int | None = None

    def has(self, seq: int, body: bytes) -> bool:
        """Whether the next record is in the range."""
        if self._end is not None:
            return False
        ts = _time_of(body) if self._wanted.by_time else ""
        if self._first is None:
            if seq < self._wanted.first or ts < (self._wanted.since or ""):
                return False
            self._first = seq
        last, until = self._wanted.last, self._wanted.until
        if (last is not None and seq > last) or (until is not None and ts > until):
            self._end = seq
            return False
        return True

    def bounds(self, size: int) -> tuple[int, int]:
        """The first record and the one after the last."""
        first = size if self._first is None else self._first
        return first, size if self._end is None else self._end


def _time_of(body: bytes) -> str:
    """When it was written; a record that was spoilt belongs to no time."""
    try:
        fields: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    return str(cast("dict[str, Any]", fields).get("ts", "")) if isinstance(fields, dict) else ""


def _taken(path: Path) -> ConfigurationError:
    return ConfigurationError(f"`{path}` is there already", hint="name a file or folder that is new")


def _unwritable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"cannot write `{path}`: {error.strerror or error}")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
