"""Cut the power: only what was synced to the disk is left, and nothing acknowledged may be missing.

A file system under SQLite keeps every write back from a second folder, the disk, until the file is
synced. Cutting the power means to go on with that folder.

BROKER_POWER_LOSS_TRIALS makes it longer: so many cuts at least, after batches in another order each time.
"""

import asyncio
import itertools
import os
import random
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from broker.audit.interface import Entry, Event
from broker.audit.verify import verify
from broker.storage.sqlite import connection, open_store

# ruff: noqa: N802 - SQLite names these methods

USUAL = "unix"


class Disk(apsw.VFS):
    """Passes everything on, and keeps in `folder` what would survive a power cut."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.waiting: dict[str, list[Callable[[Any], None]]] = defaultdict(list)
        super().__init__("disk", USUAL, makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> "DiskFile":
        return DiskFile(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        super().xDelete(filename, syncdir)
        self.waiting.pop(filename, None)
        self.kept(filename).unlink(missing_ok=True)

    def kept(self, filename: str) -> Path:
        return self.folder / Path(filename).name

    def sync(self, filename: str) -> None:
        path = self.kept(filename)
        path.touch()
        with path.open("r+b") as file:
            for change in self.waiting.pop(filename, []):
                change(file)


class DiskFile(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        self.disk = disk
        self.name = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        super().__init__(USUAL, name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        super().xWrite(data, offset)
        kept = bytes(data)

        def change(file: Any) -> None:
            file.seek(offset)
            file.write(kept)

        self.disk.waiting[self.name].append(change)

    def xTruncate(self, newsize: int) -> None:
        super().xTruncate(newsize)
        self.disk.waiting[self.name].append(lambda file: file.truncate(newsize))

    def xSync(self, flags: int) -> None:
        super().xSync(flags)
        self.disk.sync(self.name)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    disk = Disk(folder)
    yield disk
    apsw.set_default_vfs(USUAL)
    disk.unregister()


async def write_until_the_power_fails(
    disk: Disk, path: Path, batches: list[int]
) -> list[tuple[Path, list[str]]]:
    """After each batch: what is on the disk at that moment, and the leaves of all receipts so far."""
    receipts: list[str] = []
    cuts: list[tuple[Path, list[str]]] = []
    numbers = itertools.count()
    async with open_store(path, deployment="broker.test", serve=True, payload_key=bytes(32)) as store:

        async def append() -> None:
            entry = Entry("acme", Event.CALL_DENIED, {"text": "x" * 700}, f"c{next(numbers)}", "a")
            receipts.append((await store.journal.append(entry)).leaf)

        for number, size in enumerate(batches):
            await asyncio.gather(*(append() for _ in range(size)))
            after = path.parent / f"cut-{number}"
            shutil.copytree(disk.folder, after)
            cuts.append((after / path.name, list(receipts)))
    return cuts


async def missing(path: Path, receipts: list[str]) -> int:
    """How many acknowledged records are not in the file; what is in it has to verify."""
    async with open_store(path, deployment="broker.test", serve=True, payload_key=bytes(32)) as store:
        report = await verify(store.log, keys=[])
        assert report.problems == ()
        left = {record.leaf.hex() async for record in store.log.records("acme")}
        return len(set(receipts) - left)


BATCHES = [1, 30, 1, 100, 1, 200, 3]
RUNS = -(-int(os.environ.get("BROKER_POWER_LOSS_TRIALS", "7")) // len(BATCHES))


@pytest.mark.parametrize("run", range(RUNS))
async def test_no_acknowledged_record_is_lost_when_the_power_fails(disk: Disk, tmp_path: Path, run: int):
    batches = BATCHES if run == 0 else random.Random(run).sample(BATCHES, len(BATCHES))  # noqa: S311 - an order
    for path, receipts in await write_until_the_power_fails(disk, tmp_path / "broker.db", batches):
        assert await missing(path, receipts) == 0


async def test_this_disk_does_lose_what_was_not_synced(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(connection, "_DURABLE", "pragma synchronous=normal")
    cuts = await write_until_the_power_fails(disk, tmp_path / "broker.db", BATCHES)
    assert max([await missing(path, receipts) for path, receipts in cuts]) > 0
