import anyio
import pytest

from broker.errors import InvalidRequest, UnknownTarget
from broker.identity.interface import KeyUse, Secret, StoredKey
from broker.model import Agent, AgentId, AgentStatus, MicroUSD
from broker.storage.store import Store
from tests.contract.conftest import Backend
from tests.contract.words import agent, enrol, events, set_status


async def status(store: Store, name: str) -> AgentStatus:
    found = await store.agents.agent(AgentId(name))
    assert found is not None
    return found.status


async def test_an_enrolled_agent_is_found_as_it_was_given(store: Store):
    full = agent("a", team="red", cap_micro_usd=MicroUSD(5), owner="dana", created_at=7)
    plain = agent("b")
    await enrol(store, full)
    await enrol(store, plain)
    assert await store.agents.agent(full.id) == full
    assert await store.agents.agent(plain.id) == plain
    assert await store.agents.agents() == [full, plain]
    assert await events(store, "system") == [0, 1, 2]


async def test_an_agent_nobody_enrolled_is_none(store: Store):
    assert await store.agents.agent(AgentId("a")) is None
    assert await store.agents.secrets(AgentId("a")) == []


async def test_ids_of_agents_are_case_sensitive(store: Store):
    await enrol(store, agent("Bo"))
    assert await store.agents.agent(AgentId("bo")) is None
    await enrol(store, agent("bo"))
    assert len(await store.agents.agents()) == 2


async def test_the_first_secret_is_stored_as_its_digest(store: Store):
    await enrol(store, agent("a", created_at=7), b"\x01" * 32)
    assert await store.agents.secrets(AgentId("a")) == [Secret(b"\x01" * 32, 7)]


async def test_an_id_is_taken_once_and_the_second_attempt_leaves_no_trace(store: Store):
    first = agent("a", owner="dana")
    await enrol(store, first, b"\x01" * 32)
    with pytest.raises(InvalidRequest, match="already an agent `a`"):
        await enrol(store, agent("a", owner="eve"), b"\x02" * 32)
    assert await store.agents.agent(AgentId("a")) == first
    assert [s.digest for s in await store.agents.secrets(AgentId("a"))] == [b"\x01" * 32]
    assert await events(store, "system") == [0, 1]


async def test_two_enrolments_of_one_id_at_the_same_moment_make_one_agent(store: Store):
    refused: list[str] = []

    async def attempt(owner: str) -> None:
        try:
            await enrol(store, agent("a", owner=owner))
        except InvalidRequest:
            refused.append(owner)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(attempt, "dana")
            tasks.start_soon(attempt, "eve")
    assert len(refused) == 1
    assert await events(store, "system") == [0, 1]


async def test_a_change_of_status_is_seen_at_once_and_recorded(store: Store):
    await enrol(store, agent("a"))
    assert await status(store, "a") is AgentStatus.ACTIVE
    await set_status(store, "a", AgentStatus.SUSPENDED)
    assert await status(store, "a") is AgentStatus.SUSPENDED
    assert await events(store, "system") == [0, 1, 2]


async def test_the_status_of_nobody_cannot_be_changed(store: Store):
    with pytest.raises(UnknownTarget, match="no agent `a`"):
        await set_status(store, "a", AgentStatus.REVOKED)
    assert await store.log.logs() == []


async def test_a_suspension_by_another_process_holds_for_the_very_next_question(backend: Backend):
    async with backend.open() as server, backend.open(serve=False) as cli:
        await enrol(cli, agent("a"))
        assert await status(server, "a") is AgentStatus.ACTIVE
        await set_status(cli, "a", AgentStatus.SUSPENDED)
        assert await status(server, "a") is AgentStatus.SUSPENDED


async def test_an_agent_asked_for_before_it_was_enrolled_is_found_afterwards(backend: Backend):
    async with backend.open() as server, backend.open(serve=False) as cli:
        assert await server.agents.agent(AgentId("a")) is None
        await enrol(cli, agent("a"))
        assert isinstance(await server.agents.agent(AgentId("a")), Agent)


def key(kid: str, use: KeyUse = KeyUse.SEALS) -> StoredKey:
    return StoredKey(use, kid, f"material of {kid}", 7)


async def test_a_key_is_made_once_and_kept(backend: Backend):
    async with backend.open() as store:
        assert await store.keys.keys(KeyUse.SEALS, lambda: key("k1")) == [key("k1")]
        assert await store.keys.keys(KeyUse.SEALS, lambda: key("k2")) == [key("k1")]
    async with backend.open() as store:
        assert await store.keys.keys(KeyUse.SEALS, lambda: key("k3")) == [key("k1")]


async def test_each_use_has_keys_of_its_own(store: Store):
    await store.keys.keys(KeyUse.SEALS, lambda: key("k1"))
    tokens = await store.keys.keys(KeyUse.TOKENS, lambda: key("k2", KeyUse.TOKENS))
    assert [k.kid for k in tokens] == ["k2"]


async def test_processes_that_start_together_end_up_with_the_same_key(backend: Backend):
    found: dict[str, list[StoredKey]] = {}
    async with backend.open() as one, backend.open(serve=False) as two:

        async def ask(store: Store, kid: str) -> None:
            found[kid] = list(await store.keys.keys(KeyUse.SEALS, lambda: key(kid)))

        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask, one, "k1")
                tasks.start_soon(ask, two, "k2")
    assert found["k1"] == found["k2"]
    assert len(found["k1"]) == 1
