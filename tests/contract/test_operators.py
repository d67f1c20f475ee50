"""What every store promises about the people who run the broker."""

from typing import Any

import orjson
import pytest

from broker.errors import Conflict, InvalidRequest, UnknownTarget
from broker.identity.operators import Operator, OperatorId, Right
from broker.operators import Operators
from broker.storage.store import Store
from tests.contract.conftest import Backend
from tests.contract.words import events, records

OLGA = Operator(OperatorId("olga"), frozenset({Right.READ, Right.AGENTS}), created_at=7, expires_at=100)
ONE, OTHER = b"\x01" * 32, b"\x02" * 32


def operators(store: Store) -> Operators:
    return Operators(store.operators, lambda data: data.hex())


async def facts(store: Store) -> list[dict[str, Any]]:
    return [orjson.loads(record.body) async for record in records(store, "system")][1:]


async def add(store: Store, operator: Operator = OLGA, digest: bytes = ONE) -> None:
    await operators(store).add(operator, digest, by="dana")


async def test_an_operator_comes_back_as_added_with_the_digest_of_their_token(store: Store):
    assert await store.operators.operator(OLGA.id) is None
    await add(store)
    found = await store.operators.operator(OLGA.id)
    assert found is not None
    assert (found.operator, found.digest) == (OLGA, ONE)
    assert await store.operators.operators() == [OLGA]
    (record,) = await facts(store)
    assert (record["type"], record["operator"], record["by"]) == ("operator.added", "olga", "dana")
    assert (record["rights"], record["expires_at"]) == (["agents", "read"], 100)


async def test_an_operators_name_is_taken_once_and_for_good(store: Store):
    await add(store)
    with pytest.raises(Conflict, match="already an operator `olga`"):
        await add(store, digest=OTHER)
    await operators(store).revoke(OLGA.id, now=50, by="dana", reason="left")
    with pytest.raises(Conflict):
        await add(store)
    assert len(await facts(store)) == 2


async def test_an_operator_without_a_right_is_not_added(store: Store):
    with pytest.raises(InvalidRequest, match="no right"):
        await add(store, Operator(OperatorId("idle"), frozenset(), 1, 2))
    assert await store.operators.operators() == []


async def test_a_renewal_replaces_the_token_and_says_until_when(store: Store):
    await add(store)
    await operators(store).renew(OLGA.id, OTHER, 900, by="dana")
    found = await store.operators.operator(OLGA.id)
    assert found is not None
    assert (found.digest, found.operator.expires_at) == (OTHER, 900)
    record = (await facts(store))[-1]
    assert (record["type"], record["change"], record["expires_at"]) == ("operator.changed", "renewed", 900)


async def test_a_revocation_is_recorded_once_and_cannot_be_undone(store: Store):
    await add(store)
    assert await operators(store).revoke(OLGA.id, now=50, by="dana", reason="left") is True
    assert await operators(store).revoke(OLGA.id, now=60, by="dana", reason="again") is False
    found = await store.operators.operator(OLGA.id)
    assert found is not None
    assert found.operator.revoked_at == 50
    with pytest.raises(Conflict, match="revoked for good"):
        await operators(store).renew(OLGA.id, OTHER, 900, by="dana")
    assert [record["type"] for record in await facts(store)] == ["operator.added", "operator.changed"]


async def test_nobody_can_be_renewed_or_revoked_and_the_attempt_leaves_no_trace(store: Store):
    with pytest.raises(UnknownTarget, match="no operator `olga`"):
        await operators(store).renew(OLGA.id, ONE, 900, by="dana")
    with pytest.raises(UnknownTarget):
        await operators(store).revoke(OLGA.id, now=1, by="dana", reason="")
    assert await events(store, "system") == []


async def test_a_revocation_by_another_process_holds_at_the_next_look(backend: Backend):
    async with backend.open() as here, backend.open(serve=False) as there:
        await add(here)
        assert await here.operators.operator(OLGA.id) is not None
        await operators(there).revoke(OLGA.id, now=50, by="dana", reason="")
        found = await here.operators.operator(OLGA.id)
        assert found is not None
        assert found.operator.revoked_at == 50


async def test_a_refused_token_is_recorded_without_the_address_it_came_from(store: Store):
    await add(store)
    await operators(store).refused(OLGA.id, address="192.0.2.1")
    record = (await facts(store))[-1]
    assert (record["type"], record["operator"]) == ("operator.refused", "olga")
    assert record["address"] == b"192.0.2.1".hex()
