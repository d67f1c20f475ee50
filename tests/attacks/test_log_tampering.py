"""Threat: whoever owns the file changes what happened. The verifier says in which log, and where."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.audit.checkpoint import Checkpoint, Signer
from broker.audit.interface import Entry, Event
from broker.audit.tree import leaf_hash, push, root_of
from broker.audit.verify import Report, verify
from broker.journal import Closing, Opening
from broker.ledger.interface import Budget, Quote, Settlement
from broker.model import MicroUSD
from broker.storage.sqlite import open_store
from broker.storage.sqlite.logs import SEQ_BITS, SEQ_MASK
from broker.storage.store import Store
from tests.contract.words import NOBODY

SIGNER = Signer(Ed25519PrivateKey.generate())
SIGNED = 9
"""The size of both logs when they were signed; four more records follow."""


@dataclass
class Victim:
    """A file with two logs of 13 records each, and the checkpoints that were kept elsewhere."""

    path: Path
    kept: list[str]

    def sql(self, statement: str, *bindings: Any) -> list[Any]:
        """What the attacker runs against the file."""
        connection = apsw.Connection(str(self.path))
        try:
            return connection.execute(statement, bindings).fetchall()
        finally:
            connection.close()

    def key(self, log: str, seq: int) -> int:
        ((number,),) = self.sql("select id from audit_log where name = ?", log)
        return (number << SEQ_BITS) | seq

    def body(self, log: str, seq: int) -> bytes:
        ((body,),) = self.sql("select body from audit_rec where id = ?", self.key(log, seq))
        return body

    def write(self, log: str, seq: int, body: bytes) -> None:
        """Replace a record, with its hash."""
        self.sql(
            "update audit_rec set body = ?, leaf = ? where id = ?", body, leaf_hash(body), self.key(log, seq)
        )

    def rehash(self, log: str) -> None:
        """Make the head agree with whatever records are there: what a thorough attacker does."""
        rows = self.sql(
            "select leaf from audit_rec where id between ? and ? order by id",
            self.key(log, 0),
            self.key(log, SEQ_MASK),
        )
        frontier: list[bytes] = []
        for size, (leaf,) in enumerate(rows):
            push(frontier, size, leaf)
        self.sql(
            "update audit_head set size = ?, frontier = ?, root = ? where log = ?",
            len(rows),
            b"".join(frontier),
            root_of(frontier),
            self.key(log, 0) >> SEQ_BITS,
        )

    async def verify(self, *, kept: bool = False) -> Report:
        async with open_store(self.path, deployment="broker.test", serve=False) as store:
            return await verify(store.log, keys=[SIGNER.public], kept=self.kept if kept else [])

    async def places(self, *, kept: bool = False) -> list[tuple[str, int]]:
        return [(problem.log, problem.seq) for problem in (await self.verify(kept=kept)).problems]


async def call(store: Store, log: str, name: str) -> None:
    spend = {"held": 10, "price": "fixed", "budgets": [{"scope": f"agent:{log}", "cap": 1000}]}
    quote = Quote(MicroUSD(10), "fixed", (Budget(f"agent:{log}", MicroUSD(1000)),))
    intent = Entry(log, Event.CALL_INTENT, {"spend": spend}, name, "a")
    await store.journal.open(Opening(name, quote, intent, NOBODY))
    outcome = Entry(log, Event.CALL_OUTCOME, {"outcome": "ok", "cost": 5}, name, "a")
    await store.journal.close(Closing(name, Settlement(MicroUSD(5)), outcome))


@pytest.fixture
async def victim(tmp_path: Path) -> Victim:
    path, kept = tmp_path / "broker.db", []
    async with open_store(path, deployment="broker.test", serve=True) as store:
        for log in ("acme", "zenith"):
            for n in range(6):
                await call(store, log, f"{log}-{n}")
                for head in await store.log.logs():
                    if (head.name, head.size) == (log, SIGNED):
                        note = SIGNER.sign(Checkpoint(head.origin, head.size, head.root))
                        await store.log.save_checkpoint(log, head.size, note)
                        kept.append(note)
    return Victim(path, kept)


async def test_an_untouched_log_verifies(victim: Victim):
    report = await victim.verify(kept=True)
    assert report.problems == ()
    assert [(log.size, log.signed_size) for log in report.logs] == [(13, SIGNED), (13, SIGNED)]


async def test_an_edited_record_is_named(victim: Victim):
    edited = victim.body("acme", 4).replace(b'"cost":5', b'"cost":1')
    assert edited != victim.body("acme", 4)
    victim.sql("update audit_rec set body = ? where id = ?", edited, victim.key("acme", 4))
    assert await victim.places() == [("acme", 4)]


async def test_a_changed_hash_is_named(victim: Victim):
    victim.sql("update audit_rec set leaf = ? where id = ?", bytes(32), victim.key("zenith", 2))
    assert ("zenith", 2) in await victim.places()


async def test_a_deleted_record_is_named(victim: Victim):
    victim.sql("delete from audit_rec where id = ?", victim.key("acme", 5))
    assert (await victim.places())[0] == ("acme", 5)


async def test_a_deleted_record_whose_successors_move_up_is_named(victim: Victim):
    victim.sql("delete from audit_rec where id = ?", victim.key("acme", 11))
    victim.sql("update audit_rec set id = id - 1 where id = ?", victim.key("acme", 12))
    victim.rehash("acme")
    assert (await victim.places())[0] == ("acme", 11)


async def test_records_that_changed_places_are_both_named(victim: Victim):
    four, five = victim.body("acme", 4), victim.body("acme", 5)
    victim.write("acme", 4, five)
    victim.write("acme", 5, four)
    victim.rehash("acme")
    assert {("acme", 4), ("acme", 5)} <= set(await victim.places())


async def test_records_swapped_between_logs_are_named_in_both(victim: Victim):
    ours, theirs = victim.body("acme", 3), victim.body("zenith", 3)
    victim.write("acme", 3, theirs)
    victim.write("zenith", 3, ours)
    victim.rehash("acme")
    victim.rehash("zenith")
    assert {("acme", 3), ("zenith", 3)} <= set(await victim.places())


async def test_whole_logs_that_changed_names_are_named(victim: Victim):
    victim.sql("update audit_log set name = 'x' where name = 'acme'")
    victim.sql("update audit_log set name = 'acme', origin = 'o' where name = 'zenith'")
    victim.sql("update audit_log set name = 'zenith', origin = 'broker.test/audit/zenith' where name = 'x'")
    assert {log for log, _ in await victim.places()} == {"acme", "zenith"}


async def test_a_log_that_was_cut_off_is_found_by_its_head(victim: Victim):
    victim.sql(
        "delete from audit_rec where id >= ? and id <= ?",
        victim.key("acme", 10),
        victim.key("acme", SEQ_MASK),
    )
    assert await victim.places() == [("acme", 10)]


async def test_a_cut_that_reaches_below_a_checkpoint_is_found_even_with_a_forged_head(victim: Victim):
    victim.sql(
        "delete from audit_rec where id >= ? and id <= ?", victim.key("acme", 7), victim.key("acme", SEQ_MASK)
    )
    victim.rehash("acme")
    assert await victim.places() == [("acme", 7)]


async def test_a_cut_is_found_by_a_checkpoint_kept_elsewhere_if_those_in_the_file_are_gone_too(
    victim: Victim,
):
    victim.sql(
        "delete from audit_rec where id >= ? and id <= ?", victim.key("acme", 7), victim.key("acme", SEQ_MASK)
    )
    victim.rehash("acme")
    victim.sql("delete from audit_ckpt")
    assert await victim.places() == []
    assert await victim.places(kept=True) == [("acme", 7)]


async def test_a_rehashed_edit_is_found_by_the_signed_checkpoint(victim: Victim):
    victim.write("acme", 4, victim.body("acme", 4).replace(b'"cost":5', b'"cost":1'))
    victim.rehash("acme")
    report = await victim.verify()
    assert [(p.log, p.seq) for p in report.problems] == [("acme", 0)]
    assert report.problems[0].what == f"records 0 to {SIGNED - 1} are not those that were signed"


async def test_an_edit_that_was_not_rehashed_to_the_end_is_found_by_the_head(victim: Victim):
    victim.write("acme", 11, victim.body("acme", 11).replace(b'"a"', b'"b"'))
    assert await victim.places() == [("acme", SIGNED)]


async def test_a_record_smuggled_in_behind_the_head_is_named(victim: Victim):
    body = orjson.dumps(orjson.loads(victim.body("acme", 12)) | {"seq": 13}, option=orjson.OPT_SORT_KEYS)
    victim.sql(
        "insert into audit_rec values (?, 0, 'call.outcome', 'x', 'a', ?, ?)",
        victim.key("acme", 13),
        leaf_hash(body),
        body,
    )
    assert await victim.places() == [("acme", 13)]


@pytest.mark.parametrize(
    "forge",
    [
        lambda note: note.replace("\n9\n", "\n8\n"),
        lambda note: Signer(Ed25519PrivateKey.generate()).sign(
            Checkpoint("broker.test/audit/acme", 9, bytes(32))
        ),
        lambda note: "not a note",
    ],
    ids=["edited", "signed by another key", "garbage"],
)
async def test_a_forged_checkpoint_is_no_proof_and_is_named(victim: Victim, forge: Callable[[str], str]):
    victim.sql(
        "update audit_ckpt set note = ? where log = ?",
        forge(victim.kept[0]),
        victim.key("acme", 0) >> SEQ_BITS,
    )
    (problem,) = (await victim.verify()).problems
    assert problem.log == "acme"
    assert "checkpoint" in problem.what


async def test_a_checkpoint_of_another_log_is_named(victim: Victim):
    victim.sql(
        "update audit_ckpt set note = ? where log = ?", victim.kept[1], victim.key("acme", 0) >> SEQ_BITS
    )
    (problem,) = (await victim.verify()).problems
    assert (problem.log, problem.what) == ("acme", "a stored checkpoint belongs to another log")


async def test_a_log_that_disappeared_is_missed_by_who_kept_its_checkpoint(victim: Victim):
    number = victim.key("acme", 0) >> SEQ_BITS
    victim.sql("delete from audit_ckpt where log = ?", number)
    victim.sql("delete from audit_head where log = ?", number)
    victim.sql("delete from audit_log where id = ?", number)
    assert await victim.places() == []
    (problem,) = (await victim.verify(kept=True)).problems
    assert problem.log == "broker.test/audit/acme"


async def test_an_end_that_was_made_up_after_the_fact_is_named_by_its_meaning(victim: Victim):
    body = orjson.loads(victim.body("acme", 12)) | {"call": "never-made"}
    victim.write("acme", 12, orjson.dumps(body, option=orjson.OPT_SORT_KEYS))
    victim.rehash("acme")
    report = await victim.verify()
    assert [(p.log, p.seq, p.what) for p in report.problems] == [
        ("acme", 12, "the call `never-made` has no beginning")
    ]
    assert report.logs[0].open_calls == ("acme-5",)


async def test_a_time_that_was_turned_back_is_named(victim: Victim):
    body = orjson.loads(victim.body("acme", 10)) | {"ts": "2001-01-01T00:00:00.000000Z"}
    victim.write("acme", 10, orjson.dumps(body, option=orjson.OPT_SORT_KEYS))
    victim.rehash("acme")
    assert await victim.places() == [("acme", 10)]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"\xff", b'{"v":1}'], ids=repr)
async def test_a_record_that_is_none_is_named(victim: Victim, body: bytes):
    victim.write("acme", 6, body)
    victim.rehash("acme")
    assert ("acme", 6) in await victim.places()


async def test_the_broker_goes_on_writing_after_an_edit_and_the_edit_stays_visible(victim: Victim):
    victim.sql("update audit_rec set body = ? where id = ?", b"{}", victim.key("acme", 4))
    async with open_store(victim.path, deployment="broker.test", serve=True) as store:
        await call(store, "acme", "later")
    assert set(await victim.places()) == {("acme", 4)}


async def test_hashes_kept_for_proofs_that_are_not_those_of_the_records_are_named(tmp_path: Path):
    path = tmp_path / "broker.db"
    async with open_store(path, deployment="broker.test", serve=True) as store:
        for number in range(300):
            await store.journal.append(Entry("acme", Event.CALL_DENIED, {"n": number}, f"c{number}", "a"))
    victim = Victim(path, [])
    assert await victim.places() == []
    victim.sql("update audit_tile set hashes = zeroblob(8192) where level = 0")
    assert await victim.places() == [("acme", 0)]


async def test_bodies_that_are_gone_without_a_record_of_it_are_named(victim: Victim):
    for seq in (0, 1, 2):
        victim.sql("update audit_rec set body = x'' where id = ?", victim.key("acme", seq))
    (problem,) = (await victim.verify()).problems
    assert (problem.log, problem.seq) == ("acme", 0)
    assert "the bodies of records 0 to 2 are gone" in problem.what


async def test_more_bodies_gone_than_a_record_says_are_named(victim: Victim):
    async with open_store(victim.path, deployment="broker.test", serve=True) as store:
        facts = {"what": "records", "first": 0, "end": 2, "days": 400}
        await store.journal.append(Entry("acme", Event.LOG_PRUNED, facts))
    for seq in range(4):
        victim.sql("update audit_rec set body = x'' where id = ?", victim.key("acme", seq))
    assert await victim.places() == [("acme", 2)]


async def test_a_body_that_is_gone_from_the_middle_is_named(victim: Victim):
    victim.sql("update audit_rec set body = x'' where id = ?", victim.key("acme", 5))
    assert ("acme", 5) in await victim.places()
