"""What a transaction has read and done is kept with the calls that did it, and nobody judges past anybody."""

from dataclasses import replace

import pytest

from broker.audit.interface import Entry, Event
from broker.errors import BudgetExceeded, UnknownTarget
from broker.flow.interface import MOST_MARKS, MovedError
from broker.flow.step import Seen, Sightings, Step
from broker.journal import Closing, Opening
from broker.ledger.interface import Quote, Settlement
from broker.model import MicroUSD, Origin
from broker.storage.store import Store
from tests.contract.conftest import Backend
from tests.contract.words import NOBODY, events, intent, outcome, quote, records

FREE = quote(0)
STEP = Step(
    transaction="txn-1",
    reading="one",
    known=0,
    names=("txn-1",),
    at=1_700_000_000,
    target="mail__read",
    labels=frozenset({"private-data"}),
    writes=False,
    fingerprint=b"1" * 16,
)


async def take(store: Store, call: str, step: Step = STEP, quoted: Quote = FREE) -> None:
    await store.journal.open(Opening(call, quoted, intent(call), NOBODY, step))


async def end(store: Store, call: str, seen: Seen | None = None) -> None:
    await store.journal.close(Closing(call, Settlement(MicroUSD(0)), outcome(call), seen))


async def test_what_a_call_adds_is_kept_with_its_intent(backend: Backend):
    async with backend.open() as store:
        await take(store, "a")
        await take(store, "b", replace(STEP, labels=frozenset({"pii"}), target="mail__send", writes=True))
    async with backend.open() as store:
        kept = await store.flow.load("txn-1")
    assert kept.tally.labels == {"private-data", "pii"}
    counters = kept.tally.counters("mail__send", b"2" * 16, STEP.at, writes=False)
    assert counters | {"identical": 1} == {
        "calls": 3,
        "target_calls": 2,
        "identical": 1,
        "writes": 1,
        "calls_hour": 3,
        "writes_hour": 1,
    }


async def test_a_call_that_is_not_made_adds_nothing(store: Store):
    with pytest.raises(BudgetExceeded):
        await take(store, "a", quoted=quote(10, researcher=1))
    assert (await store.flow.load("txn-1")).version == 0


async def test_one_reading_takes_its_steps_without_looking_again(store: Store):
    for number in range(5):
        await take(store, f"call-{number}")
    assert (await store.flow.load("txn-1")).tally.calls == 5


async def test_a_step_that_was_judged_before_another_process_s_step_is_refused_and_nothing_happens(
    backend: Backend,
):
    async with backend.open() as server, backend.open(serve=False) as other:
        await take(server, "a")
        with pytest.raises(MovedError):
            await take(other, "b", replace(STEP, reading="two"))
        assert await events(server) == await events(other) == [0, 1]
        known = (await other.flow.load("txn-1")).version
        await take(other, "b", replace(STEP, reading="two", known=known))
        with pytest.raises(MovedError):
            await take(server, "c")
        assert (await server.flow.load("txn-1")).tally.calls == 2


async def test_an_old_reading_of_the_same_process_does_not_come_back(store: Store):
    await take(store, "a")
    known = (await store.flow.load("txn-1")).version
    await take(store, "b", replace(STEP, reading="two", known=known))
    with pytest.raises(MovedError):
        await take(store, "c")


async def test_it_is_known_whether_somebody_else_has_gone_on(backend: Backend):
    async with backend.open() as server, backend.open(serve=False) as other:
        assert await server.flow.unmoved("txn-1", "one", 0)
        await take(server, "a")
        assert await server.flow.unmoved("txn-1", "one", 0)
        assert not await other.flow.unmoved("txn-1", "two", 0)
        assert await other.flow.unmoved("txn-1", "two", (await other.flow.load("txn-1")).version)


async def test_a_name_belongs_to_the_transaction_that_it_was_first_used_for(store: Store):
    assert await store.flow.owner("txn-1") is None
    await take(store, "a", replace(STEP, names=("txn-1", "task:x")))
    assert await store.flow.owner("txn-1") == "txn-1"
    assert await store.flow.owner("task:x") == "txn-1"
    await take(store, "b", replace(STEP, names=("txn-2",)))
    assert await store.flow.owner("txn-2") == "txn-1"
    with pytest.raises(MovedError):
        await take(store, "c", replace(STEP, transaction="txn-2", reading="two", names=("txn-2",)))


async def test_a_value_is_where_it_was_first_seen(store: Store):
    ours = Sightings(Origin.TASK, frozenset({b"bob"}))
    await take(store, "a", replace(STEP, sightings=ours))
    theirs = Sightings(Origin.UNTRUSTED, frozenset({b"bob", b"eve"}))
    own = Sightings(Origin.OWN, frozenset({b"ann"}))
    await end(store, "a", Seen("txn-1", "one", theirs, own))
    kept = await store.flow.load("txn-1")
    assert kept.origins == {b"bob": Origin.TASK, b"eve": Origin.UNTRUSTED, b"ann": Origin.OWN}


async def test_a_value_counts_once(store: Store):
    step = replace(STEP, values=(("destinations", b"bob"), ("distinct.to", b"to bob")))
    await take(store, "a", step)
    await take(store, "b", step)
    await take(store, "c", replace(step, values=(("destinations", b"eve"),)))
    kept = await store.flow.load("txn-1")
    assert kept.tally.counts == {"destinations": 2, "distinct.to": 1}
    assert kept.counted == {b"bob", b"to bob", b"eve"}


async def test_sums_add_up(store: Store):
    await take(store, "a", replace(STEP, sums=(("sum.amount", 40),)))
    await take(store, "b", replace(STEP, sums=(("sum.amount", 2),)))
    assert (await store.flow.load("txn-1")).tally.counts == {"sum.amount": 42}


async def test_what_another_process_has_seen_puts_a_reading_out_of_date(backend: Backend):
    async with backend.open() as server, backend.open(serve=False) as other:
        await take(server, "a")
        known = (await other.flow.load("txn-1")).version
        await take(other, "b", replace(STEP, reading="two", known=known))
        await end(server, "a", Seen("txn-1", "one", Sightings(Origin.UNTRUSTED, frozenset({b"eve"}))))
        with pytest.raises(MovedError):
            await take(other, "c", replace(STEP, reading="two", known=known))


async def test_seeing_leaves_the_reading_that_saw_in_force(store: Store):
    await take(store, "a")
    await end(store, "a", Seen("txn-1", "one", Sightings(Origin.UNTRUSTED, frozenset({b"eve"}))))
    await take(store, "b")


async def test_the_values_that_are_kept_are_bounded_and_it_is_known_that_there_were_more(store: Store):
    await take(store, "a")
    many = frozenset(number.to_bytes(4, "big") for number in range(MOST_MARKS + 1))
    await end(store, "a", Seen("txn-1", "one", Sightings(Origin.UNTRUSTED, many)))
    kept = await store.flow.load("txn-1")
    assert len(kept.origins) == MOST_MARKS
    assert kept.tally.full


def declassified(had: frozenset[str]) -> Entry:
    return Entry("system", Event.TRANSACTION_DECLASSIFIED, {"labels": sorted(had)})


async def test_a_label_that_is_taken_away_is_gone_for_everybody_and_that_is_recorded(backend: Backend):
    async with backend.open() as server, backend.open(serve=False) as cli:
        await take(server, "a", replace(STEP, labels=frozenset({"pii", "money"}), names=("txn-1", "task:x")))
        for name, had in (("txn-1", {"pii"}), ("task:x", set())):
            assert await cli.journal.declassify(name, frozenset({"pii", "private-data"}), declassified) == had
        bodies = [record.body async for record in records(server, "system")]
        assert sum(b"transaction.declassified" in body for body in bodies) == 1
        assert (await server.flow.load("txn-1")).tally.labels == {"money"}
        with pytest.raises(MovedError):
            await take(server, "b")


async def test_nothing_is_taken_from_a_transaction_that_there_is_not(store: Store):
    with pytest.raises(UnknownTarget):
        await store.journal.declassify("txn-1", frozenset({"pii"}), declassified)
