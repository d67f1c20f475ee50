import stat
import subprocess
import sys
import zipfile
from datetime import datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.audit.checkpoint import Signer
from broker.audit.export import Range, export, target
from broker.audit.interface import Entry, Event
from broker.audit.publisher import newest_note
from broker.errors import ConfigurationError
from broker.storage.sqlite import open_store

SIGNER = Signer(Ed25519PrivateKey.generate())


@pytest.fixture
async def store(tmp_path):
    seconds = iter(range(1_800_000_000, 1_900_000_000))
    clock = lambda: float(next(seconds))  # noqa: E731
    async with open_store(tmp_path / "b.db", deployment="broker.test", serve=True, clock=clock) as opened:
        for number in range(6):
            await opened.journal.append(Entry("acme", Event.CALL_DENIED, {"n": number}, f"c{number}"))
        yield opened


async def exported(store, path, wanted=Range()):  # noqa: B008 - frozen
    told = []
    signed = [(head, await newest_note(store.log, SIGNER, head)) for head in await store.log.logs()]
    into = target(path)
    counts = await export(
        store.log, signed, into, public=SIGNER.public, wanted=wanted, progress=lambda *p: told.append(p)
    )
    return counts, told


async def test_the_records_are_the_bytes_that_were_hashed(store, tmp_path):
    assert (await exported(store, tmp_path / "out"))[0] == {"acme": 7}
    bodies = [record.body async for record in store.log.records("acme")]
    assert (tmp_path / "out" / "logs" / "0" / "records.jsonl").read_bytes() == b"\n".join([*bodies, b""])


@pytest.mark.parametrize(
    ("first", "last", "count"), [(0, None, 7), (2, None, 5), (2, 4, 3), (0, 0, 1), (9, None, 0), (4, 2, 0)]
)
async def test_a_range_of_numbers_holds_both_its_ends(store, tmp_path, first, last, count):
    counts, _ = await exported(store, tmp_path / "out", Range(first=first, last=last))
    assert counts == {"acme": count}
    assert (tmp_path / "out" / "logs" / "0" / "leaves.bin").stat().st_size == 7 * 32


async def test_a_range_of_times_holds_both_its_ends(store, tmp_path):
    times = [record.body.split(b'"ts":"')[1][:27].decode() async for record in store.log.records("acme")]
    inside = [time for time in times if times[2] <= time <= times[4]]
    counts, _ = await exported(store, tmp_path / "out", Range(since=times[2], until=times[4]))
    assert counts == {"acme": len(inside)}


async def test_what_was_signed_meanwhile_is_not_in_it(store, tmp_path):
    signed = [(head, await newest_note(store.log, SIGNER, head)) for head in await store.log.logs()]
    await store.journal.append(Entry("acme", Event.CALL_DENIED, {}, "later"))
    (head,) = await store.log.logs()
    later = await newest_note(store.log, SIGNER, head)
    await export(
        store.log,
        signed,
        target(tmp_path / "out"),
        public=SIGNER.public,
        wanted=Range(),
        progress=lambda *_: None,
    )
    assert later not in (tmp_path / "out" / "logs" / "0" / "checkpoints.txt").read_text()


@pytest.mark.parametrize("name", ["out", "out.zip"])
async def test_an_export_is_its_owners_alone_and_overwrites_nothing(store, tmp_path, name):
    await exported(store, tmp_path / name)
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) & 0o077 == 0
    with pytest.raises(ConfigurationError, match="is there already"):
        await exported(store, tmp_path / name)


async def test_a_zip_holds_what_a_folder_does(store, tmp_path):
    await exported(store, tmp_path / "out")
    await exported(store, tmp_path / "out.zip")
    with zipfile.ZipFile(tmp_path / "out.zip") as file:
        for name in file.namelist():
            assert file.read(name) == (tmp_path / "out" / name).read_bytes()
        assert "verify.py" in file.namelist()


async def test_a_place_that_cannot_be_written_is_named(store, tmp_path):
    (tmp_path / "file").write_text("")
    for name in ("file/out", "file/out.zip"):
        with pytest.raises(ConfigurationError, match="cannot write"):
            await exported(store, tmp_path / name)


@pytest.mark.parametrize(("told", "code"), [(3, 0), (2, 1)])
async def test_an_export_of_a_log_whose_oldest_bodies_are_gone_proves_the_rest(store, tmp_path, told, code):
    facts = {"what": "records", "first": 0, "end": told, "days": 400}
    times = [record.body.split(b'"ts":"')[1][:27].decode() async for record in store.log.records("acme")]
    before = int(datetime.fromisoformat(times[3]).timestamp() * 1_000_000)
    await store.pruning.prune_records("acme", before, lambda *_: Entry("acme", Event.LOG_PRUNED, facts))
    counts, _ = await exported(store, tmp_path / "out")
    assert counts == {"acme": 5}
    verifier = [sys.executable, tmp_path / "out" / "verify.py"]
    done = subprocess.run(verifier, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert "of the first 3 only the hashes" in done.stdout
    assert ("acme #2: the bodies of records 2 to 2 are gone" in done.stdout) == bool(code)
