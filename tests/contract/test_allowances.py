"""An exception names a guard and a hash; it is kept, recorded and can be taken back."""

import orjson
import pytest

from broker.allowances import Allowance, Allowances
from broker.errors import UnknownTarget
from broker.storage.store import Store
from tests.contract.conftest import Backend
from tests.contract.words import records

ONE = Allowance("injection", "ab" * 32, "a quotation in our own handbook", "dana", 1_700_000_000)


async def newest(store: Store) -> dict:
    return orjson.loads([record async for record in records(store, "system")][-1].body)


async def test_an_exception_is_kept_and_recorded_with_its_reason(store: Store):
    await Allowances(store.allowances).allow(ONE)
    assert list(await store.allowances.allowances()) == [ONE]
    body = await newest(store)
    assert (body["type"], body["change"], body["by"]) == ("guard.excepted", "allowed", "dana")
    assert (body["guard"], body["digest"], body["reason"]) == (ONE.guard, ONE.digest, ONE.reason)


async def test_an_exception_that_is_withdrawn_is_gone_and_that_is_recorded(store: Store):
    allowances = Allowances(store.allowances)
    await allowances.allow(ONE)
    await allowances.withdraw(ONE.guard, ONE.digest, by="olga", reason="it was one")
    assert list(await allowances.all()) == []
    assert ((await newest(store))["change"], (await newest(store))["by"]) == ("withdrawn", "olga")


async def test_what_was_never_an_exception_cannot_be_withdrawn(store: Store):
    with pytest.raises(UnknownTarget, match="no exception"):
        await Allowances(store.allowances).withdraw("injection", "00", by="olga", reason="")


async def test_another_process_goes_by_the_same_exceptions(backend: Backend):
    async with backend.open() as one, backend.open(serve=False) as other:
        await Allowances(other.allowances).allow(ONE)
        assert list(await one.allowances.allowances()) == [ONE]
