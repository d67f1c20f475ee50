import pytest

from broker.audit.checkpoint import Checkpoint
from broker.audit.interface import Entry, Event, StoredRecord
from broker.audit.prove import prove
from broker.storage.sqlite import open_store


@pytest.fixture
async def store(tmp_path):
    async with open_store(tmp_path / "broker.db", deployment="broker.test", serve=True) as opened:
        for number in range(6):
            await opened.journal.append(Entry("acme", Event.CALL_DENIED, {"n": number}))
        yield opened


async def signed(store) -> Checkpoint:
    (head,) = await store.log.logs()
    return Checkpoint(head.origin, head.size, head.root)


async def test_every_record_can_be_proven(store):
    records = [record async for record in store.log.records("acme")]
    proof = await prove(store.log, "acme", records, await signed(store))
    assert proof.problems == ()
    assert [found.record.seq for found in proof.records] == list(range(7))


async def test_an_edited_record_cannot_be_proven(store):
    (record, *_) = [record async for record in store.log.records("acme")]
    edited = StoredRecord(record.seq, record.leaf, record.body.replace(b"acme", b"evil"))
    proof = await prove(store.log, "acme", [edited], await signed(store))
    assert proof.problems == ("record 0 is not in the log that was signed at 7 records",)


async def test_a_record_behind_the_checkpoint_is_not_covered(store):
    old = await signed(store)
    await store.journal.append(Entry("acme", Event.CALL_DENIED, {}))
    records = [record async for record in store.log.records("acme")][7:]
    proof = await prove(store.log, "acme", records, old)
    assert proof.problems == ("record 7 is not covered by the checkpoint of 7 records",)


async def test_a_log_that_was_cut_proves_nothing(store):
    now = await signed(store)
    proof = await prove(store.log, "acme", [], Checkpoint(now.origin, 9, now.root))
    assert proof.problems == ("the log holds 7 records, its signed checkpoint covers 9",)


async def test_another_past_is_no_continuation(store):
    now = await signed(store)
    proof = await prove(store.log, "acme", [], now, [Checkpoint(now.origin, 4, bytes(32))])
    assert proof.problems == ("the log is not a continuation of the one that was signed at 4 records",)


@pytest.mark.parametrize("size", [0, 8])
async def test_a_past_that_is_not_before_now_is_refused(store, size):
    now = await signed(store)
    proof = await prove(store.log, "acme", [], now, [Checkpoint(now.origin, size, bytes(32))])
    assert proof.problems == (f"the older checkpoint covers {size} records, the newest 7",)
