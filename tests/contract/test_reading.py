"""Finding calls in a log without reading all of it."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest

from broker.audit.checkpoint import Checkpoint
from broker.audit.interface import CallFilter, Entry, Event, Filter, Outcome, StoredRecord
from broker.audit.prove import prove
from broker.audit.tiles import TiledTree
from broker.audit.tree import consistency_proof, inclusion_proof, tree_root
from broker.storage.sqlite import call_index
from broker.storage.store import Store
from tests.contract.conftest import Backend

if TYPE_CHECKING:
    from broker.model import Json


async def ended(
    store: Store, call: str, outcome: Outcome, *, agent: str = "a", tool: str = "t", cost: int = 0
) -> None:
    facts: Json = {"what": {"name": tool}, "cause": {"task": "txn", "root": call.partition(".")[0]}}
    if outcome is Outcome.DENIED:
        await store.journal.append(
            Entry("acme", Event.CALL_DENIED, facts | {"outcome": outcome}, call, agent)
        )
        return
    await store.journal.append(Entry("acme", Event.CALL_INTENT, facts, call, agent))
    end: Json = {"outcome": outcome, "cost": cost}
    await store.journal.append(Entry("acme", Event.CALL_OUTCOME, end, call, agent))


async def found(store: Store, where: CallFilter, *, last: int = 99) -> list[str]:
    calls = await store.log.calls("acme", where, last=last)
    records = {r.seq: r async for r in store.log.records("acme")}
    assert all(records[one.begun.seq] == one.begun and records[one.ended.seq] == one.ended for one in calls)
    return [str(names(one.ended.body)) for one in calls]


def names(body: bytes) -> str:
    return body.partition(b'"call":"')[2].partition(b'"')[0].decode()


@pytest.fixture(params=["new", "put in their places"])
async def calls(request: pytest.FixtureRequest, store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Some calls, before and after the store has put them where lists look."""
    if request.param != "new":
        monkeypatch.setattr(call_index, "SHELF", 3)
    await ended(store, "c1", Outcome.OK, agent="a", tool="x", cost=10)
    await ended(store, "c2", Outcome.DENIED, agent="b", tool="x")
    await ended(store, "c3", Outcome.OK, agent="b", tool="y", cost=30)
    await ended(store, "c4", Outcome.TOOL_ERROR, agent="a", tool="y", cost=20)
    await store.journal.append(Entry("acme", Event.CALL_INTENT, {"what": {"name": "x"}}, "c5", "a"))
    return store


async def test_ended_calls_are_found_by_what_they_were(calls: Store):
    async def at(**where: Any) -> list[str]:
        return await found(calls, CallFilter(**where))

    assert await at() == ["c1", "c2", "c3", "c4"]
    assert await at(agent="a") == ["c1", "c4"]
    assert await at(tool="x") == ["c1", "c2"]
    assert await at(agent="b", tool="x") == ["c2"]
    assert await at(outcomes=frozenset({Outcome.OK})) == ["c1", "c3"]
    assert await at(outcomes=frozenset({Outcome.DENIED, Outcome.TOOL_ERROR})) == ["c2", "c4"]
    assert await at(agent="a", outcomes=frozenset({Outcome.OK})) == ["c1"]
    assert await at(least_cost=20) == ["c3", "c4"]
    assert await at(most_cost=20, least_cost=1) == ["c1", "c4"]
    assert await at(agent="nobody") == []


async def test_the_newest_are_chosen_and_pages_go_on_before_them(calls: Store):
    newest = await calls.log.calls("acme", CallFilter(), last=2)
    assert [names(one.ended.body) for one in newest] == ["c3", "c4"]
    before = CallFilter(before_seq=newest[0].ended.seq)
    assert await found(calls, before, last=1) == ["c2"]
    assert await found(calls, CallFilter(from_seq=newest[0].ended.seq)) == ["c3", "c4"]
    assert await found(calls, CallFilter(), last=0) == []
    assert await found(calls, CallFilter(before_seq=0)) == []
    assert await calls.log.calls("nowhere", CallFilter(), last=5) == []


async def test_calls_are_found_by_the_time_of_their_end(backend: Backend):
    now = [1000.0]
    async with backend.open(clock=lambda: now[0]) as store:
        for second in range(5):
            now[0] = 1000.0 + second
            await ended(store, f"c{second}", Outcome.OK)

        def micros(second: int) -> int:
            return (1000 + second) * 1_000_000

        assert await found(store, CallFilter(since=micros(3))) == ["c3", "c4"]
        assert await found(store, CallFilter(until=micros(2))) == ["c0", "c1"]
        assert await found(store, CallFilter(since=micros(1), until=micros(3), agent="a")) == ["c1", "c2"]
        assert await found(store, CallFilter(since=micros(9))) == []


@pytest.mark.parametrize("shelf", [1, 4, 8192])
async def test_a_tree_is_found_by_its_root_and_a_transaction_by_its_name(
    store: Store, shelf: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(call_index, "SHELF", shelf)
    for call in ("r", "r.1", "other", "r.2"):
        await ended(store, call, Outcome.OK)
    made = {"grant": "g", "task": "summer", "cause": {"task": "txn"}}
    await store.journal.append(Entry("acme", Event.DELEGATION_CREATED, made))

    async def records(where: Filter) -> list[int]:
        return [record.seq async for record in store.log.records("acme", where)]

    assert await records(Filter(task="txn", root="r")) == [1, 2, 3, 4, 7, 8]
    assert await records(Filter(task="txn", root="r", events=frozenset({Event.CALL_INTENT}))) == [1, 3, 7]
    assert await records(Filter(task="txn")) == [1, 3, 5, 7, 9]
    assert await records(Filter(task="summer")) == [9]
    assert await records(Filter(task="nothing")) == []
    assert await records(Filter(task="txn", root="r", from_seq=3, before_seq=8)) == [3, 4, 7]


async def test_an_end_finds_its_beginning_in_another_process(backend: Backend):
    async with backend.open() as one, backend.open(serve=False) as other:
        facts: Json = {"what": {"name": "x"}}
        await one.journal.append(Entry("acme", Event.CALL_INTENT, facts, "c", "a"))
        await other.journal.append(Entry("acme", Event.CALL_OUTCOME, {"outcome": "ok"}, "c", "a"))
        assert await found(one, CallFilter(tool="x")) == ["c"]


@pytest.mark.parametrize("size", [1, 255, 256, 257, 700])
async def test_tiles_hold_the_hashes_that_a_proof_needs(store: Store, size: int):
    for number in range(size - 1):
        await store.journal.append(Entry("acme", Event.CALL_DENIED, {"n": number}, f"c{number}", "a"))
    if size == 1:
        assert await store.log.tile("acme", 0, 0) == b""
        return
    leaves = [record.leaf async for record in store.log.records("acme")]
    tree = TiledTree(lambda level, n: store.log.tile("acme", level, n))
    assert await tree.root(size) == tree_root(leaves)
    for index in {0, 1, size // 2, size - 1}:
        assert await tree.inclusion(index, size) == inclusion_proof(leaves, index)
        assert await tree.consistency(index + 1, size) == consistency_proof(leaves, index + 1)
    assert len(await store.log.tile("acme", 0, size // 256)) == 32 * (size % 256)
    assert len(await store.log.tile("acme", 1, 0)) == 32 * (size // 256)


async def test_a_proof_reads_no_record_but_the_last(store: Store, monkeypatch: pytest.MonkeyPatch):
    for number in range(600):
        await store.journal.append(Entry("acme", Event.CALL_DENIED, {"n": number}, f"c{number}", "a"))
    (head,) = await store.log.logs()
    read: list[Filter] = []
    records = store.log.records

    def counted(log: str, where: Filter = Filter()) -> AsyncIterator[StoredRecord]:  # noqa: B008 - frozen
        read.append(where)
        return records(log, where)

    wanted = [record async for record in store.log.records("acme", Filter(call="c300"))]
    monkeypatch.setattr(store.log, "records", counted)
    proof = await prove(store.log, "acme", wanted, Checkpoint(head.origin, head.size, head.root))
    assert not proof.problems
    assert len(proof.records) == 1
    assert read == [Filter(last=1)]
