"""A log that was written before there was anything to find its calls by."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from broker.audit.interface import CallFilter, Entry, Event, Filter
from broker.audit.tiles import TiledTree
from broker.audit.verify import verify
from broker.storage.sqlite import open_store
from broker.storage.sqlite.connection import connect_writer

if TYPE_CHECKING:
    from broker.model import Json

BEFORE = 5
"""The version of the file before there was `0010_reading.sql`."""
SINCE = (
    "pseudonym_subject",
    "pseudonym_holder",
    "pseudonym",
    "pseudonym_scope",
    "audit_feed",
    "audit_call_agent",
    "audit_call_name",
    "audit_call_outcome",
    "audit_listed",
    "audit_begun",
    "audit_task",
    "audit_call",
    "audit_tile",
)


@pytest.fixture
async def old(tmp_path: Path) -> Path:
    """A file as it was, with a log of some hundred records."""
    path = tmp_path / "broker.db"
    async with open_store(path, deployment="broker.test", serve=True) as store:
        await fill(store.journal.append, 150)
    with closing(connect_writer(path)) as connection:
        for table in SINCE:
            connection.execute(f"drop table {table}")
        connection.execute("alter table agent_secret drop column launch")
        connection.execute("alter table budget add column held integer not null default 0")
        connection.execute(f"pragma user_version={BEFORE}")
    return path


async def fill(append, count: int, start: int = 0) -> None:
    for number in range(start, start + count):
        call, root = f"c{number}", f"c{number - number % 2}"
        facts: Json = {"what": {"name": f"tool{number % 3}"}, "cause": {"task": "t", "root": root}}
        await append(Entry("acme", Event.CALL_INTENT, facts, call, "a"))
        await append(Entry("acme", Event.CALL_OUTCOME, {"outcome": "ok", "cost": number}, call, "a"))
    await append(Entry("acme", Event.CALL_DENIED, {"outcome": "denied"}, f"d{start}", "b"))
    made: Json = {"grant": "g", "task": "summer", "cause": {"task": "t"}}
    await append(Entry("acme", Event.DELEGATION_CREATED, made))


async def test_calls_of_an_old_log_are_found_and_it_is_gone_on_with(old: Path):
    async with open_store(old, deployment="broker.test", serve=True) as store:
        assert len(await store.log.calls("acme", CallFilter(tool="tool1"), last=99)) == 50
        assert len(await store.log.calls("acme", CallFilter(least_cost=149), last=99)) == 1
        assert len(await store.log.calls("acme", CallFilter(agent="b"), last=99)) == 1
        tree = Filter(task="t", root="c4")
        assert [r.seq async for r in store.log.records("acme", tree)] == [9, 10, 11, 12]
        assert len([r async for r in store.log.records("acme", Filter(task="summer"))]) == 1
        await fill(store.journal.append, 150, start=150)
        assert len(await store.log.calls("acme", CallFilter(tool="tool1"), last=999)) == 100
        (head,) = await store.log.logs()
        root = await TiledTree(lambda level, n: store.log.tile("acme", level, n)).root(head.size)
        assert root == head.root
        assert (await verify(store.log, keys=[])).ok
