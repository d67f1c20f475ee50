from typing import Any

import anyio
import orjson
import pytest

from broker.credentials import Credentials
from broker.errors import Conflict, InvalidRequest, UnknownTarget
from broker.identity.interface import AgentKey, KeyAddress, KeyState, KeyUse, Secret, StoredKey
from broker.identity.keys import LogKeys, new_log_key
from broker.model import AgentId
from broker.storage.store import Store
from tests.contract.conftest import Backend
from tests.contract.words import ORG, agent, enrol, events, records

A = AgentId("a")
OLD, NEW, NEWER = b"\x01" * 32, b"\x02" * 32, b"\x03" * 32


async def facts(store: Store, log: str = "system") -> dict[str, Any]:
    """The newest record of a log."""
    return orjson.loads([record async for record in records(store, log)][-1].body)


async def rotate(store: Store, digest: bytes, *, now: int, until: int) -> None:
    await Credentials(store.credentials).rotate_secret(A, digest, now=now, until=until, by="dana")


async def test_after_a_rotation_two_secrets_are_kept_and_the_older_one_has_an_end(store: Store):
    await enrol(store, agent("a", created_at=7), OLD)
    await rotate(store, NEW, now=100, until=200)
    assert await store.agents.secrets(A) == [Secret(NEW, 100), Secret(OLD, 7, 200)]


async def test_a_rotation_never_gives_an_older_secret_more_time(store: Store):
    await enrol(store, agent("a", created_at=7), OLD)
    await rotate(store, NEW, now=100, until=200)
    await rotate(store, NEWER, now=110, until=900)
    assert await store.agents.secrets(A) == [Secret(NEWER, 110), Secret(NEW, 100, 900), Secret(OLD, 7, 200)]


async def test_a_rotation_without_grace_leaves_only_the_new_secret(store: Store):
    await enrol(store, agent("a", created_at=7), OLD)
    await rotate(store, NEW, now=100, until=100)
    assert await store.agents.secrets(A) == [Secret(NEW, 100)]


async def test_a_rotation_is_recorded_and_no_record_holds_anything_of_a_secret(store: Store):
    await enrol(store, agent("a"), OLD)
    await rotate(store, NEW, now=100, until=200)
    body = await facts(store)
    assert (body["type"], body["agent"]) == ("agent.changed", "a")
    assert (body["change"], body["until"], body["by"]) == ("secret_rotated", 200, "dana")
    for record in [record async for record in records(store, "system")]:
        for secret in (OLD, NEW):
            assert secret not in record.body
            assert secret.hex().encode() not in record.body


async def test_the_credentials_of_nobody_cannot_be_changed_and_the_attempt_leaves_no_trace(store: Store):
    with pytest.raises(UnknownTarget, match="no agent `a`"):
        await rotate(store, NEW, now=1, until=2)
    with pytest.raises(UnknownTarget, match="no agent `a`"):
        await Credentials(store.credentials).add_key(A, key("k"), by="dana")
    with pytest.raises(UnknownTarget, match="no key `k`"):
        await Credentials(store.credentials).remove_key(A, "k", by="dana")
    assert await store.log.logs() == []


def key(kid: str) -> AgentKey:
    return AgentKey(kid, f'{{"kty":"{kid}"}}', 7)


async def test_keys_of_an_agent_come_and_go_with_a_record_of_each(store: Store):
    credentials = Credentials(store.credentials)
    await enrol(store, agent("a"))
    await enrol(store, agent("b"))
    await credentials.add_key(A, key("k1"), by="dana")
    await credentials.add_key(A, key("k2"), by="dana")
    assert await store.agents.keys(A) == [key("k1"), key("k2")]
    assert await store.agents.keys(AgentId("b")) == []
    assert (await facts(store))["kid"] == "k2"
    await credentials.remove_key(A, "k1", by="dana")
    assert await store.agents.keys(A) == [key("k2")]
    assert (await facts(store))["change"] == "key_removed"


async def test_an_agent_publishes_its_keys_in_one_place_with_a_record_of_each_change(store: Store):
    credentials, address = Credentials(store.credentials), KeyAddress("https://a.example/jwks", 7)
    await enrol(store, agent("a"))
    assert await store.agents.key_address(A) is None
    await credentials.publish_keys(A, address, by="dana")
    assert await store.agents.key_address(A) == address
    body = await facts(store)
    assert (body["change"], body["url"], body["by"]) == ("keys_published", address.url, "dana")
    with pytest.raises(InvalidRequest, match=r"https://a\.example/jwks"):
        await credentials.publish_keys(A, KeyAddress("https://b.example/jwks", 8), by="dana")
    with pytest.raises(UnknownTarget, match="publishes no keys at"):
        await credentials.unpublish_keys(A, "https://b.example/jwks", by="dana")
    with pytest.raises(UnknownTarget, match="no agent"):
        await credentials.publish_keys(AgentId("b"), address, by="dana")
    await credentials.unpublish_keys(A, address.url, by="dana")
    assert await store.agents.key_address(A) is None
    assert (await facts(store))["change"] == "keys_unpublished"


async def test_a_key_is_added_once_and_there_is_an_end_to_how_many(store: Store):
    credentials = Credentials(store.credentials)
    await enrol(store, agent("a"))
    await credentials.add_key(A, key("k0"), by="dana")
    with pytest.raises(InvalidRequest, match="already"):
        await credentials.add_key(A, key("k0"), by="dana")
    for number in range(1, 8):
        await credentials.add_key(A, key(f"k{number}"), by="dana")
    before = await events(store, "system")
    with pytest.raises(InvalidRequest, match="8 keys"):
        await credentials.add_key(A, key("one more"), by="dana")
    assert await events(store, "system") == before


async def test_an_id_is_used_once_by_each_owner(store: Store):
    once = store.replays.first_use
    assert await once("client a", "x", 2_000_000_000)
    assert not await once("client a", "x", 2_000_000_000)
    assert await once("client b", "x", 2_000_000_000)
    assert await once("client ax", "", 2_000_000_000)


async def test_of_many_processes_that_use_an_id_at_the_same_moment_one_is_first(backend: Backend):
    async with backend.open() as one, backend.open(serve=False) as two:
        first: list[bool] = []

        async def use(store: Store) -> None:
            first.append(await store.replays.first_use("client a", "x", 2_000_000_000))

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                for _ in range(20):
                    tasks.start_soon(use, one)
                    tasks.start_soon(use, two)
    assert sorted(first) == [False] * 39 + [True]


async def test_a_used_id_survives_a_restart_and_is_forgotten_long_after_it_has_expired(backend: Backend):
    async with backend.open(clock=lambda: 1000.0) as store:
        assert await store.replays.first_use("client a", "x", 1300)
    async with backend.open(clock=lambda: 1300.0 + 3600) as store:
        await store.replays.first_use("client a", "another", 9000)
        assert not await store.replays.first_use("client a", "x", 1300)
    async with backend.open(clock=lambda: 1300.0 + 3601) as store:
        await store.replays.first_use("client a", "yet another", 9000)
        assert await store.replays.first_use("client a", "x", 1300)


async def test_a_token_revoked_by_another_process_is_known_to_be_at_the_very_next_question(backend: Backend):
    async with backend.open() as server, backend.open(serve=False) as cli:
        assert not await server.agents.revoked("t1")
        await Credentials(cli.credentials).revoke_token(
            "t1", 2_000_000_000, organisation=agent("a").organisation, of=A, by=A
        )
        assert await server.agents.revoked("t1")
        assert not await server.agents.revoked("t2")


async def test_a_revocation_is_recorded_once_in_the_log_of_the_organisation(store: Store):
    revoke = Credentials(store.credentials).revoke_token
    for _ in range(2):
        await revoke("t1", 2_000_000_000, organisation=agent("a").organisation, of=A, by=AgentId("boss"))
    assert await events(store, ORG) == [0, 1]
    body = await facts(store, ORG)
    assert (body["type"], body["agent"], body["token"], body["by"]) == (
        "auth.token_revoked",
        "a",
        "t1",
        "boss",
    )


def signing(kid: str, state: KeyState = KeyState.NEXT) -> StoredKey:
    return StoredKey(KeyUse.TOKENS, kid, f"material of {kid}", 7, state)


async def states(store: Store) -> dict[str, tuple[KeyState, int | None]]:
    found = await store.keys.keys(KeyUse.TOKENS, lambda: signing("unused"))
    return {key.kid: (key.state, key.not_after) for key in found}


async def test_a_rotation_of_keys_moves_each_one_step_on_and_is_recorded(store: Store):
    await store.keys.keys(KeyUse.TOKENS, lambda: signing("k1", KeyState.ACTIVE))
    await store.keys.keys(KeyUse.TOKENS, lambda: signing("k2"), KeyState.NEXT)
    await Credentials(store.credentials).rotate_key(signing("k3"), now=100, until=200, by="dana")
    assert await states(store) == {
        "k1": (KeyState.RETIRING, 200),
        "k2": (KeyState.ACTIVE, None),
        "k3": (KeyState.NEXT, None),
    }
    body = await facts(store)
    assert (body["type"], body["use"], body["next"], body["until"]) == ("keys.rotated", "tokens", "k3", 200)


async def test_a_key_that_has_retired_is_gone_after_the_next_rotation(store: Store):
    await store.keys.keys(KeyUse.TOKENS, lambda: signing("k1", KeyState.ACTIVE))
    await store.keys.keys(KeyUse.TOKENS, lambda: signing("k2"), KeyState.NEXT)
    rotate_key = Credentials(store.credentials).rotate_key
    await rotate_key(signing("k3"), now=100, until=200, by="dana")
    await rotate_key(signing("k4"), now=200, until=300, by="dana")
    assert set(await states(store)) == {"k2", "k3", "k4"}


async def test_a_rotation_that_names_the_active_key_happens_once(store: Store):
    await store.keys.keys(KeyUse.TOKENS, lambda: signing("k1", KeyState.ACTIVE))
    await store.keys.keys(KeyUse.TOKENS, lambda: signing("k2"), KeyState.NEXT)
    rotate_key = Credentials(store.credentials).rotate_key
    await rotate_key(signing("k3"), now=100, until=200, by="dana", active="k1")
    before = await states(store)
    with pytest.raises(Conflict, match="`k1` is not the active key"):
        await rotate_key(signing("k4"), now=101, until=201, by="dana", active="k1")
    assert await states(store) == before
    assert len([record async for record in records(store, "system")]) == 2


async def test_a_rotated_key_of_checkpoints_keeps_its_public_half_for_ever_and_nothing_more(store: Store):
    keys = LogKeys(store.keys, lambda: 100.0)
    await keys.refresh()
    before, signed = keys.all[0], keys.active.sign(b"note")
    await Credentials(store.credentials).rotate_log_key(new_log_key(100), keys.stored, now=100, by="dana")
    with pytest.raises(Conflict, match="is not the active key"):
        await Credentials(store.credentials).rotate_log_key(new_log_key(100), keys.stored, now=100, by="erik")
    await keys.refresh()
    after, retired = keys.all
    assert (retired.public, retired.until) == (before.public, 100)
    assert after.public != before.public
    assert keys.active.sign(b"note") != signed
    kept = await store.keys.keys(KeyUse.CHECKPOINTS, lambda: new_log_key(0))
    assert ['"d"' in key.material for key in kept if key.kid == retired.kid] == [False]
    body = await facts(store)
    assert (body["type"], body["use"], body["retired"]) == ("keys.rotated", "checkpoints", retired.kid)
