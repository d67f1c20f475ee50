"""What has had its time goes: payloads with their keys, then bodies of records. The hashes stay, and prove the rest."""

import orjson
import pytest

from broker.audit.verify import Report, verify
from broker.errors import UnknownTarget
from broker.payloads import Payloads
from broker.retention import DAY_S, Retention
from broker.settings import AuditSettings
from broker.storage.store import Store
from tests.contract.conftest import Backend
from tests.contract.test_payloads import ANNA, made
from tests.contract.words import ORG, open_call, quote, records

START = 1_700_000_000
KEPT = AuditSettings(payload_days=30, record_days=400)


class Calendar:
    """A clock that days can be added to."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return float(self.now)

    def pass_days(self, days: int) -> None:
        self.now += days * DAY_S


async def checked(store: Store) -> Report:
    return await verify(store.log, keys=[], payloads=store.payloads)


async def left(store: Store) -> list[str]:
    return [orjson.loads(r.body)["type"] if r.body else "" async for r in records(store, ORG)]


async def test_nothing_is_removed_before_its_time(backend: Backend):
    clock = Calendar()
    async with backend.open(clock=clock, keep_payloads=True) as store:
        await made(store, "c1", ANNA)
        clock.pass_days(30)
        assert await Retention(store.pruning, KEPT, clock).prune() == 0
        assert len(await Payloads(store.payloads).read("c1", by="dana", reason="?")) == 2


async def test_payloads_go_after_their_days_and_so_do_people_of_whom_nothing_is_left(backend: Backend):
    clock = Calendar()
    async with backend.open(clock=clock, keep_payloads=True) as store:
        await made(store, "old", ANNA)
        clock.pass_days(31)
        await made(store, "new")
        assert await Retention(store.pruning, KEPT, clock).prune() == 2
        with pytest.raises(UnknownTarget):
            await Payloads(store.payloads).read("old", by="dana", reason="?")
        assert len(await Payloads(store.payloads).read("new", by="dana", reason="?")) == 2
        assert await store.payloads.subjects() == []
        assert (await checked(store)).problems == ()
        said = [orjson.loads(r.body) async for r in records(store, ORG)]
        (pruned,) = [body for body in said if body["type"] == "log.pruned"]
        assert (pruned["what"], pruned["count"], pruned["days"]) == ("payloads", 2, 30)


async def test_bodies_of_records_go_after_their_days_and_the_log_still_verifies(backend: Backend):
    clock = Calendar()
    async with backend.open(clock=clock) as store:
        await made(store, "old")
        heads = await store.log.logs()
        clock.pass_days(401)
        await made(store, "new")
        await Retention(store.pruning, KEPT, clock).prune()
        assert await left(store) == ["", "", "", "call.intent", "call.outcome", "log.pruned", "log.pruned"]
        report = await checked(store)
        assert report.problems == ()
        assert [log.pruned for log in report.logs] == [3]
        assert heads[0].size == 3


async def test_a_second_removal_goes_on_where_the_first_ended(backend: Backend):
    clock = Calendar()
    async with backend.open(clock=clock) as store:
        for call in ("c1", "c2", "c3"):
            await made(store, call)
            clock.pass_days(401)
            await Retention(store.pruning, KEPT, clock).prune()
        report = await checked(store)
        assert report.problems == ()
        assert report.logs[0].size - report.logs[0].pruned == 2
        assert await Retention(store.pruning, KEPT, clock).prune() == 0


async def test_what_an_open_call_still_needs_stays(backend: Backend):
    clock = Calendar()
    async with backend.open(clock=clock) as store:
        await made(store, "done")
        await open_call(store, "waits", quote(0))
        await made(store, "later")
        clock.pass_days(401)
        await Retention(store.pruning, KEPT, clock).prune()
        assert (await left(store))[:4] == ["", "", "", "call.intent"]
        assert (await checked(store)).problems == ()
