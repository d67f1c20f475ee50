import asyncio
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from broker.audit.interface import Entry, Event
from broker.audit.verify import verify
from broker.errors import InvalidRequest, StorageUnavailable
from broker.journal import Opening
from broker.ledger.interface import Budget, Quote
from broker.model import MicroUSD
from broker.storage.sqlite import open_store
from broker.storage.sqlite.books import Books
from broker.storage.sqlite.connection import Connection, connect_reader, connect_writer, prepare
from broker.storage.sqlite.keyring import KeyRing
from broker.storage.sqlite.writer import BACKLOG, BATCH, Writer
from tests.contract.words import NOBODY

QUOTE = Quote(MicroUSD(10), "fixed", (Budget("agent:a", MicroUSD(1000)),))


def entry(call: str, event: Event = Event.CALL_DENIED, text: str = "") -> Entry:
    return Entry("acme", event, {"text": text} if text else {}, call)


class CountingBooks(Books):
    """The real books, which also count commits and can be held up before one."""

    def __init__(self, connection: Connection, keys: KeyRing) -> None:
        clock = lambda: 1_700_000_000.0  # noqa: E731
        super().__init__(connection, keys, deployment="broker.test", node="n1", clock=clock)
        self.commits = 0
        self.may_begin = threading.Event()
        self.may_begin.set()

    def begin(self) -> None:
        assert self.may_begin.wait(10)
        super().begin()

    def commit(self) -> None:
        super().commit()
        self.commits += 1


@asynccontextmanager
async def writing(path: Path) -> AsyncGenerator[tuple[Writer, CountingBooks, Connection]]:
    prepare(path)
    connection = connect_writer(path)
    keys = KeyRing(path.with_name("keys.db"), bytes(32))
    books = CountingBooks(connection, keys)
    writer = Writer(books)
    try:
        yield writer, books, connection
    finally:
        books.may_begin.set()
        await writer.close()
        keys.close()
        connection.close()


COUNTS = {
    "audit_rec": "select count(*) from audit_rec",
    "budget": "select count(*) from budget",
    "open_call": "select count(*) from open_call",
}


def rows(path: Path, table: str = "audit_rec") -> int:
    return connect_reader(path).execute(COUNTS[table]).get


async def test_what_waits_is_committed_together(tmp_path: Path):
    path = tmp_path / "broker.db"
    async with writing(path) as (writer, books, _):
        books.may_begin.clear()
        tasks = [
            asyncio.ensure_future(writer.run(lambda b, n=n: b.append(entry(f"c{n}")))) for n in range(100)
        ]
        await anyio.lowlevel.checkpoint()
        books.may_begin.set()
        receipts = await asyncio.gather(*tasks)
        assert [receipt.index for receipt in receipts] == list(range(1, 101))
        assert books.commits <= 2


async def test_a_batch_has_an_upper_size(tmp_path: Path):
    async with writing(tmp_path / "broker.db") as (writer, books, _):
        books.may_begin.clear()
        tasks = [asyncio.ensure_future(writer.run(lambda b: b.append(entry("c")))) for _ in range(BATCH * 2)]
        await anyio.lowlevel.checkpoint()
        books.may_begin.set()
        await asyncio.gather(*tasks)
        assert 2 <= books.commits <= 3


async def test_an_answer_comes_after_the_commit(tmp_path: Path):
    path = tmp_path / "broker.db"
    async with writing(path) as (writer, books, _):
        await writer.run(lambda b: b.append(entry("c")))
        assert books.commits == 1
        assert rows(path) == 2


async def test_a_refused_operation_does_not_hurt_the_others_of_its_batch(tmp_path: Path):
    path = tmp_path / "broker.db"
    async with writing(path) as (writer, books, _):
        books.may_begin.clear()
        good = [asyncio.ensure_future(writer.run(lambda b, n=n: b.append(entry(f"c{n}")))) for n in range(3)]
        bad = asyncio.ensure_future(
            writer.run(lambda b: b.append(Entry("acme", Event.CALL_DENIED, {"x": 0.5})))
        )
        more = asyncio.ensure_future(writer.run(lambda b: b.append(entry("c9"))))
        await anyio.lowlevel.checkpoint()
        books.may_begin.set()
        with pytest.raises(InvalidRequest):
            await bad
        assert [(await done).index for done in [*good, more]] == [1, 2, 3, 4]


async def test_a_full_disk_fails_the_whole_batch_and_leaves_no_trace(tmp_path: Path):
    path = tmp_path / "broker.db"
    async with writing(path) as (writer, books, connection):
        await writer.run(lambda b: b.append(entry("before")))
        pages = connection.execute("pragma page_count").get
        connection.execute(f"pragma max_page_count={pages}").fetchall()
        books.may_begin.clear()
        doomed = [
            asyncio.ensure_future(writer.run(lambda b: b.append(entry("small")))),
            asyncio.ensure_future(writer.run(lambda b: b.append(entry("large", text="x" * 50_000)))),
            asyncio.ensure_future(
                writer.run(
                    lambda b: b.open_call(
                        Opening("call", QUOTE, entry("call", Event.CALL_INTENT, "y" * 50_000), NOBODY)
                    )
                )
            ),
        ]
        await anyio.lowlevel.checkpoint()
        books.may_begin.set()
        for result in await asyncio.gather(*doomed, return_exceptions=True):
            assert isinstance(result, StorageUnavailable)
        assert (rows(path), rows(path, "budget"), rows(path, "open_call")) == (2, 0, 0)

        connection.execute("pragma max_page_count=1000000").fetchall()
        receipt = await writer.run(lambda b: b.append(entry("after")))
        assert receipt.index == 2
        await writer.run(
            lambda b: b.open_call(Opening("call", QUOTE, entry("call", Event.CALL_INTENT), NOBODY))
        )
    async with open_store(path, deployment="broker.test", serve=True, payload_key=bytes(32)) as store:
        assert (await verify(store.log, keys=[])).problems == ()
        assert (await store.ledger.balance("agent:a")).held == 10


async def test_a_file_that_another_process_keeps_locked_is_unavailable_in_the_end(tmp_path: Path):
    path = tmp_path / "broker.db"
    async with writing(path) as (writer, _, connection):
        connection.execute("pragma busy_timeout=50").fetchall()
        other = connect_writer(path)
        other.execute("begin immediate")
        with pytest.raises(StorageUnavailable, match="cannot be written"):
            await writer.run(lambda b: b.append(entry("c")))
        other.execute("rollback")
        assert (await writer.run(lambda b: b.append(entry("c")))).index == 1


async def test_a_bug_in_an_operation_fails_its_batch_and_not_the_writer(tmp_path: Path):
    path = tmp_path / "broker.db"

    def bug(books: Books) -> None:
        books.append(entry("never"))
        raise KeyError("bug")

    async with writing(path) as (writer, _, _):
        with pytest.raises(StorageUnavailable):
            await writer.run(bug)
        assert rows(path) == 0
        assert (await writer.run(lambda b: b.append(entry("c")))).index == 1


async def test_a_caller_who_gives_up_does_not_stop_what_was_handed_over(tmp_path: Path):
    path = tmp_path / "broker.db"
    async with writing(path) as (writer, books, _):
        books.may_begin.clear()
        with anyio.move_on_after(0):
            await writer.run(lambda b: b.append(entry("given up")))
        books.may_begin.set()
        assert (await writer.run(lambda b: b.append(entry("next")))).index == 2


async def test_more_than_can_wait_is_turned_away_at_once(tmp_path: Path):
    async with writing(tmp_path / "broker.db") as (writer, books, _):
        books.may_begin.clear()
        waiting = [asyncio.ensure_future(writer.run(lambda b: b.append(entry("c")))) for _ in range(BACKLOG)]
        await anyio.lowlevel.checkpoint()
        with pytest.raises(StorageUnavailable, match="too many calls wait"):
            await writer.run(lambda b: b.append(entry("c")))
        books.may_begin.set()
        await asyncio.gather(*waiting)
        await writer.run(lambda b: b.append(entry("c")))


async def test_closing_finishes_what_waits_and_then_turns_away(tmp_path: Path):
    path = tmp_path / "broker.db"
    async with writing(path) as (writer, books, _):
        books.may_begin.clear()
        waiting = [asyncio.ensure_future(writer.run(lambda b: b.append(entry("c")))) for _ in range(20)]
        await anyio.lowlevel.checkpoint()
        books.may_begin.set()
        await writer.close()
        assert len(await asyncio.gather(*waiting)) == 20
        with pytest.raises(StorageUnavailable, match="the store is closed"):
            await writer.run(lambda b: b.append(entry("c")))
    assert rows(path) == 21
