"""A log as static files: read back as whoever has only the layout's description would."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.audit.checkpoint import Note, Signer
from broker.audit.export import target
from broker.audit.interface import Entry, Event
from broker.audit.publisher import newest_note
from broker.audit.tiles import entries_path, numbered, path
from broker.audit.tlog import write_tiles
from broker.audit.tree import leaf_hash, tree_root
from broker.storage.sqlite import open_store


def test_tiles_are_numbered_in_groups_of_three_digits():
    assert numbered(0) == "000"
    assert numbered(1234067) == "x001/x234/067"
    assert path(1, 5, 3) == "tile/1/005.p/3"
    assert entries_path(1000) == "tile/entries/x001/000"


async def test_the_records_in_the_tiles_hash_to_the_tiles_and_to_the_signed_root(tmp_path: Path):
    signer = Signer(Ed25519PrivateKey.generate())
    async with open_store(tmp_path / "b.db", deployment="broker.test", serve=True) as store:
        for number in range(599):
            await store.journal.append(Entry("acme", Event.CALL_DENIED, {"n": number}, f"c{number}", "a"))
        (head,) = await store.log.logs()
        note = await newest_note(store.log, signer, head)
        assert await write_tiles(store.log, "acme", note, target(tmp_path / "out")) == 600
    out = tmp_path / "out"
    files = {file.relative_to(out).as_posix() for file in out.rglob("*") if file.is_file()}
    assert files == {
        "checkpoint",
        "tile/0/000",
        "tile/0/001",
        "tile/0/002.p/88",
        "tile/1/000.p/2",
        "tile/entries/000",
        "tile/entries/001",
        "tile/entries/002.p/88",
    }
    hashes = b"".join((out / f"tile/0/{name}").read_bytes() for name in ("000", "001", "002.p/88"))
    leaves = [hashes[at : at + 32] for at in range(0, len(hashes), 32)]
    records: list[bytes] = []
    for name in ("000", "001", "002.p/88"):
        data = (out / f"tile/entries/{name}").read_bytes()
        while data:
            size = int.from_bytes(data[:2])
            records.append(data[2 : 2 + size])
            data = data[2 + size :]
    assert [leaf_hash(record) for record in records] == leaves
    signed = Note.parse((out / "checkpoint").read_text())
    assert signed.verified_by([signer.public])
    assert (signed.checkpoint.size, signed.checkpoint.root) == (600, tree_root(leaves))
    above = (out / "tile/1/000.p/2").read_bytes()
    assert above == tree_root(leaves[:256]) + tree_root(leaves[256:512])
