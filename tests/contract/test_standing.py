"""A call is opened only while all of its chain may act, whoever changed that and wherever."""

from dataclasses import replace

import pytest

from broker.audit.interface import Entry, Event
from broker.errors import Denied
from broker.identity.interface import Fallen
from broker.model import AgentStatus, Principal
from broker.storage.store import Store
from tests.contract.conftest import Backend
from tests.contract.words import agent, enrol, events, money, open_call, quote, set_status

PLANNER, RESEARCHER = agent("planner"), agent("researcher")
CHAIN = Principal(RESEARCHER, PLANNER.id, (RESEARCHER, PLANNER), frozenset(), "jti-1", "txn-1", 0)


@pytest.mark.parametrize("name", ["planner", "researcher"])
@pytest.mark.parametrize("status", [AgentStatus.SUSPENDED, AgentStatus.REVOKED])
async def test_no_intent_follows_the_suspension_of_anybody_in_the_chain(
    store: Store, name: str, status: AgentStatus
):
    await enrol(store, PLANNER)
    await enrol(store, RESEARCHER)
    await open_call(store, "before", quote(10, researcher=100), CHAIN)
    await set_status(store, name, status)
    with pytest.raises(Denied, match=f"`{name}` was {status}"):
        await open_call(store, "after", quote(10, researcher=100), CHAIN)
    assert await events(store) == [0, 1]
    assert await money(store, "researcher") == (0, 10)


async def test_no_intent_follows_a_suspension_that_another_process_committed(backend: Backend):
    async with backend.open() as server, backend.open(serve=False) as cli:
        await enrol(server, PLANNER)
        await enrol(server, RESEARCHER)
        await open_call(server, "before", quote(10, researcher=100), CHAIN)
        await set_status(cli, "planner", AgentStatus.SUSPENDED)
        with pytest.raises(Denied, match="`planner` was suspended"):
            await open_call(server, "after", quote(10, researcher=100), CHAIN)


async def test_a_resumed_agent_may_open_calls_again(store: Store):
    await enrol(store, PLANNER)
    await enrol(store, RESEARCHER)
    await set_status(store, "planner", AgentStatus.SUSPENDED)
    await set_status(store, "planner", AgentStatus.ACTIVE)
    await open_call(store, "again", quote(10, researcher=100), CHAIN)
    assert await money(store, "researcher") == (0, 10)


async def test_nobody_acts_for_an_agent_that_was_never_enrolled(store: Store):
    await enrol(store, RESEARCHER)
    with pytest.raises(Denied, match="`planner`"):
        await open_call(store, "call", quote(10, researcher=100), CHAIN)


async def test_no_intent_follows_the_revocation_of_its_token(store: Store):
    await enrol(store, PLANNER)
    await enrol(store, RESEARCHER)
    await open_call(store, "before", quote(10, researcher=100), CHAIN)
    revoked = Entry("acme", Event.TOKEN_REVOKED, {"by": "planner"}, agent="researcher")
    await store.credentials.revoke_token("jti-1", 1_800_000_000, revoked)
    with pytest.raises(Denied, match="token was revoked"):
        await open_call(store, "after", quote(10, researcher=100), CHAIN)
    await open_call(store, "other token", quote(10, researcher=100), replace(CHAIN, token_id="jti-2"))


async def test_every_revocation_moves_the_number_that_other_processes_look_at(backend: Backend):
    async with backend.open() as server, backend.open(serve=False) as cli:
        await enrol(cli, PLANNER)
        await enrol(cli, RESEARCHER)
        seen = [await server.standing.version()]
        assert await server.standing.fallen([CHAIN]) == Fallen({})
        await set_status(cli, "planner", AgentStatus.SUSPENDED)
        seen.append(await server.standing.version())
        assert await server.standing.fallen([CHAIN]) == Fallen({PLANNER.id: "suspended"})
        revoked = Entry("acme", Event.TOKEN_REVOKED, {"by": "planner"}, agent="researcher")
        await cli.credentials.revoke_token("jti-1", 1_800_000_000, revoked)
        seen.append(await server.standing.version())
        assert (await server.standing.fallen([CHAIN])).tokens == {"jti-1"}
        assert len(set(seen)) == 3


async def test_calls_alone_do_not_move_the_number(store: Store):
    await enrol(store, RESEARCHER)
    before = await store.standing.version()
    await open_call(store, "call", quote(10, researcher=100))
    assert await store.standing.version() == before
