"""The log reaches other systems at least once, in order, whatever fails in between."""

import orjson
import pytest

from broker.audit.feeds.following import BATCH, Feed, Sink
from broker.errors import StorageUnavailable, UpstreamError, UpstreamRefused
from broker.storage.store import Store
from tests.contract.conftest import Backend
from tests.contract.words import ORG, close_call, denial, open_call, quote, records


class Receiver:
    """A sink that refuses some deliveries, before or after it has taken them."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, bytes]] = []
        self.failing: UpstreamError | None = None

    async def send(self, lines: bytes, name: str) -> None:
        if self.failing is not None:
            raise self.failing
        self.taken.append((name, lines))

    @property
    def lines(self) -> list[bytes]:
        return [line for _, lines in self.taken for line in lines.splitlines()]


def feed(store: Store, sink: Sink, kind: str = "jsonl", name: str = "siem") -> Feed:
    return Feed(name, kind, log=store.log, store=store.feeds, sink=sink)


async def bodies(store: Store) -> list[bytes]:
    return [record.body async for record in records(store, ORG)]


async def test_every_record_is_told_once_byte_for_byte_and_in_order(store: Store):
    receiver = Receiver()
    for number in range(BATCH + 5):
        await store.journal.append(denial(f"c{number}"))
    told = feed(store, receiver)
    assert await told.catch_up() == BATCH + 6
    assert receiver.lines == await bodies(store)
    assert [name for name, _ in receiver.taken] == [
        f"broker.test/audit/acme/0-{BATCH}",
        f"broker.test/audit/acme/{BATCH}-{BATCH + 6}",
    ]
    assert (await told.catch_up(), told.behind, told.failing) == (0, 0, False)


async def test_what_was_refused_is_told_again_and_what_is_waiting_is_counted(store: Store):
    receiver, told = Receiver(), None
    await store.journal.append(denial("c1"))
    receiver.failing = UpstreamRefused("HTTP 503")
    told = feed(store, receiver)
    with pytest.raises(UpstreamRefused):
        await told.catch_up()
    assert (told.behind, told.failing) == (2, True)
    receiver.failing = None
    assert await told.catch_up() == 2
    assert receiver.lines == await bodies(store)


async def test_what_was_taken_but_not_noted_is_told_again_under_the_same_name(store: Store):
    class Forgetful:
        async def delivered(self, feed: str) -> dict[str, int]:
            return await store.feeds.delivered(feed)

        async def deliver(self, feed: str, log: str, next_seq: int) -> None:
            raise StorageUnavailable("the disk is full")

    receiver = Receiver()
    await store.journal.append(denial("c1"))
    with pytest.raises(StorageUnavailable):
        await Feed("siem", "jsonl", log=store.log, store=Forgetful(), sink=receiver).catch_up()
    await feed(store, receiver).catch_up()
    assert receiver.taken[0] == receiver.taken[1]
    assert len(receiver.taken) == 2


async def test_after_a_restart_a_feed_goes_on_where_it_was(backend: Backend):
    receiver = Receiver()
    async with backend.open() as store:
        await store.journal.append(denial("c1"))
        await feed(store, receiver).catch_up()
    async with backend.open() as store:
        await store.journal.append(denial("c2"))
        await feed(store, receiver).catch_up()
        assert receiver.lines == await bodies(store)


async def test_feeds_are_told_apart(store: Store):
    first, second = Receiver(), Receiver()
    await store.journal.append(denial("c1"))
    await feed(store, first, name="one").catch_up()
    await feed(store, second, name="two").catch_up()
    assert first.lines == second.lines


async def test_a_call_is_told_when_it_has_ended_though_it_began_in_an_earlier_delivery(store: Store):
    receiver = Receiver()
    told = feed(store, receiver, "ocsf")
    await open_call(store, "c1", quote(5))
    await told.catch_up()
    assert receiver.lines == []
    await close_call(store, "c1", 5)
    await told.catch_up()
    (event,) = receiver.lines
    assert orjson.loads(event)["metadata"]["uid"].endswith("#2")


async def test_records_whose_time_is_over_hold_up_no_feed(store: Store):
    receiver = Receiver()
    await store.journal.append(denial("c1"))
    await store.pruning.prune_records(ORG, 2**60, lambda first, end: denial(f"{first}-{end}"))
    assert await feed(store, receiver).catch_up() == 3
    assert len(receiver.lines) == 1
