from collections.abc import AsyncGenerator
from contextlib import closing
from pathlib import Path

import anyio
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.audit.checkpoint import Checkpoint, Note, Signer, notes_in
from broker.audit.interface import Entry, Event, Filter, Log
from broker.audit.publication import Publication
from broker.audit.publisher import EVERY_RECORDS, EVERY_S, Publisher, newest_note
from broker.audit.verify import verify
from broker.errors import ConfigurationError, StorageUnavailable
from broker.storage.sqlite import open_store
from broker.storage.sqlite.connection import connect_writer
from broker.storage.store import Store

TENANT = Event.TENANT_CHECKPOINT
SIGNER = Signer(Ed25519PrivateKey.generate())


class Seconds:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[Store]:
    async with open_store(tmp_path / "broker.db", deployment="broker.test", serve=True) as opened:
        yield opened


async def append(store: Store, count: int = 1, log: str = "acme") -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(store.journal.append, Entry(log, Event.CALL_DENIED, {}))


async def sizes(store: Store, log: str = "acme") -> list[int]:
    return [Note.parse(note).checkpoint.size for note in await store.log.checkpoints(log)]


def of_acme(file: Path) -> list[str]:
    return [note for note in notes_in(file.read_text()) if note.startswith("broker.test/audit/acme\n")]


async def test_a_minute_after_the_first_change_every_changed_log_is_signed(store: Store):
    clock = Seconds()
    publisher = Publisher(store.log, SIGNER, monotonic=clock)
    await append(store)
    await append(store, log="zenith")
    assert await publisher.publish_due() == 0
    clock.now += EVERY_S
    assert await publisher.publish_due() == 3, "both, and the system log that tells of them"
    assert (await sizes(store), await sizes(store, "zenith")) == ([2], [2])
    heads = {head.origin: head.root for head in await store.log.logs()}
    for log in ("acme", "zenith"):
        note = Note.parse((await store.log.checkpoints(log))[0])
        assert note.verified_by([SIGNER.public])
        assert note.checkpoint.root == heads[note.checkpoint.origin]


async def test_a_log_that_has_not_grown_is_not_signed_again(store: Store):
    clock = Seconds()
    publisher = Publisher(store.log, SIGNER, monotonic=clock)
    await append(store)
    await publisher.publish()
    clock.now += EVERY_S
    assert await publisher.publish_due() == 0
    assert await Publisher(store.log, SIGNER).publish() == 0
    assert await sizes(store) == [2]


async def test_a_thousand_records_are_signed_before_the_minute_is_over(store: Store):
    publisher = Publisher(store.log, SIGNER, monotonic=Seconds())
    await append(store, EVERY_RECORDS - 2)
    assert await publisher.publish_due() == 0
    await append(store)
    assert await publisher.publish_due() == 2
    assert await sizes(store) == [EVERY_RECORDS]


async def test_what_is_left_is_signed_when_the_broker_stops(store: Store):
    publisher = Publisher(store.log, SIGNER, look_every_s=1000)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(publisher.run)
        await append(store, 3)
        assert await sizes(store) == []
        tasks.cancel_scope.cancel()
    assert await sizes(store) == [4]


async def test_a_spoilt_checkpoint_does_not_stop_new_ones(store: Store):
    await append(store)
    await store.log.save_checkpoint("acme", 1, "spoilt")
    assert await Publisher(store.log, SIGNER).publish() == 2


async def test_a_store_that_is_down_is_tried_again(store: Store, caplog: pytest.LogCaptureFixture):
    class Failing:
        """The real log, whose heads cannot be read at first."""

        def __init__(self, log: Log) -> None:
            self.failures = 1
            self.log = log

        async def logs(self):
            if self.failures:
                self.failures -= 1
                raise StorageUnavailable("the disk is away")
            return await self.log.logs()

        def __getattr__(self, name: str):
            return getattr(self.log, name)

    await append(store)
    publisher = Publisher(Failing(store.log), SIGNER, look_every_s=1000)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(publisher.run)
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert "the disk is away" in caplog.text
    assert await sizes(store) == [2]


async def test_the_newest_note_covers_all_records_and_is_kept(store: Store):
    await append(store, 3)
    (head,) = await store.log.logs()
    note = await newest_note(store.log, SIGNER, head)
    assert Note.parse(note).checkpoint == Checkpoint(head.origin, 4, head.root)
    assert await newest_note(store.log, SIGNER, head) == note
    assert await store.log.checkpoints("acme") == [note]


async def test_a_log_that_became_shorter_is_not_signed_again(store: Store):
    await append(store)
    (head,) = await store.log.logs()
    longer = SIGNER.sign(Checkpoint(head.origin, 9, bytes(32)))
    await store.log.save_checkpoint("acme", 9, longer)
    assert await newest_note(store.log, SIGNER, head) == longer


async def test_a_note_of_another_key_does_not_stand_for_ours(store: Store):
    await append(store)
    (head,) = await store.log.logs()
    other = Signer(Ed25519PrivateKey.generate())
    await store.log.save_checkpoint("acme", 9, other.sign(Checkpoint(head.origin, 9, bytes(32))))
    assert Note.parse(await newest_note(store.log, SIGNER, head)).verified_by([SIGNER.public])


async def test_every_checkpoint_is_published_once_to_a_file_that_only_grows(store: Store, tmp_path: Path):
    file = tmp_path / "published"
    for _ in range(3):
        await append(store)
        await append(store, log="zenith")
        before = file.read_text() if file.exists() else ""
        publisher = Publisher(store.log, SIGNER, publication=Publication(file))  # as after a restart
        await publisher.publish()
        await publisher.publish()
        assert file.read_text().startswith(before)
    stored = [note for log in ("acme", "zenith", "system") for note in await store.log.checkpoints(log)]
    assert sorted(notes_in(file.read_text())) == sorted(stored)


async def test_what_could_not_be_published_is_published_later(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    folder = tmp_path / "mount"
    folder.mkdir()
    publisher = Publisher(store.log, SIGNER, publication=Publication(folder / "published"))
    (folder / "published").unlink()
    folder.rmdir()
    await append(store)
    assert await publisher.publish() == 2
    assert "could not be published" in caplog.text
    folder.mkdir()
    assert await publisher.publish() == 0
    assert of_acme(folder / "published") == await store.log.checkpoints("acme")


def test_a_file_that_cannot_be_published_to_is_named(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="publish_to"):
        Publication(tmp_path / "no" / "such")


async def test_the_system_log_tells_of_every_other_logs_checkpoint_and_is_signed_after_it(store: Store):
    await append(store)
    await Publisher(store.log, SIGNER).publish()
    heads = {head.name: head for head in await store.log.logs()}
    told = [r.body async for r in store.log.records("system", Filter(events=frozenset({TENANT})))]
    (fact,) = map(orjson.loads, told)
    assert (fact["origin"], fact["size"], fact["root"]) == (
        heads["acme"].origin,
        heads["acme"].size,
        heads["acme"].root.hex(),
    )
    assert await sizes(store, "system") == [heads["system"].size]


async def test_a_log_that_alone_went_back_is_found_by_what_the_system_log_tells(tmp_path: Path):
    path = tmp_path / "broker.db"
    async with open_store(path, deployment="broker.test", serve=True) as store:
        await append(store, 5)
        await Publisher(store.log, SIGNER).publish()
        (root,) = [r.leaf async for r in store.log.records("acme") if r.seq == 0]
    with closing(connect_writer(path)) as connection:  # everything of `acme` as it was after its first record
        acme = connection.execute("select id from audit_log where name = 'acme'").get
        connection.execute("delete from audit_rec where id >> 40 = ? and id & 1099511627775 > 0", (acme,))
        connection.execute("delete from audit_ckpt where log = ?", (acme,))
        connection.execute(
            "update audit_head set size = 1, frontier = ?, root = ? where log = ?", (root, root, acme)
        )
    async with open_store(path, deployment="broker.test", serve=True) as store:
        report = await verify(store.log, keys=[SIGNER.public])
        assert [(one.log, one.seq) for one in report.problems] == [("acme", 1)]
        assert "a signed checkpoint covers 6 records" in report.problems[0].what
