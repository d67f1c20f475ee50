"""A call is opened only while all of its chain may act, whoever changed that and wherever."""

from dataclasses import replace

import pytest

from broker.audit.interface import Entry, Event
from broker.credentials import Credentials
from broker.errors import Denied
from broker.grants import Grants
from broker.identity.interface import (
    FOREVER,
    AgentKey,
    Fallen,
    KeyAddress,
    KeyState,
    KeyUse,
    Secret,
    StoredKey,
)
from broker.model import AgentId, AgentStatus, CallId, Grant, GrantId, Principal
from broker.storage.store import Store
from tests.contract.conftest import Backend
from tests.contract.words import agent, close_call, enrol, events, money, open_call, quote, set_status
from tests.unit.identity.memory import ManualClock

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


OLD, NEW = b"\x01" * 32, b"\x02" * 32
SECRET, KEY = Secret(OLD, 0).id, AgentKey("k1", "{}", 7)
PAGE = KeyAddress("https://a.example/jwks", 7)


async def rotate(store: Store, name: str, *, now: int, until: int) -> None:
    await Credentials(store.credentials).rotate_secret(AgentId(name), NEW, now=now, until=until, by="dana")


@pytest.mark.parametrize("credential", [SECRET, KEY.id, PAGE.id])
async def test_no_intent_follows_the_end_of_the_credential_that_its_token_was_issued_for(
    backend: Backend, credential: str
):
    chain = Principal(
        RESEARCHER, RESEARCHER.id, (RESEARCHER,), frozenset(), "jti-1", "txn-1", 0, credential=credential
    )
    async with backend.open() as server, backend.open(serve=False) as cli:
        await enrol(cli, RESEARCHER, OLD)
        credentials = Credentials(cli.credentials)
        await credentials.add_key(RESEARCHER.id, KEY, by="dana")
        await credentials.publish_keys(RESEARCHER.id, PAGE, by="dana")
        await open_call(server, "before", quote(10, researcher=100), chain)
        assert await server.agents.credential_end(RESEARCHER.id, credential) == FOREVER
        assert await server.standing.fallen([chain]) == Fallen({})
        await rotate(cli, "researcher", now=1_700_000_000, until=1_700_000_000)
        await credentials.remove_key(RESEARCHER.id, KEY.kid, by="dana")
        await credentials.unpublish_keys(RESEARCHER.id, PAGE.url, by="dana")
        assert await server.agents.credential_end(RESEARCHER.id, credential) is None
        assert await server.standing.fallen([chain]) == Fallen(
            {}, credentials=frozenset({(RESEARCHER.id, credential)})
        )
        with pytest.raises(Denied, match="a credential of `researcher` ended"):
            await open_call(server, "after", quote(10, researcher=100), chain)
        assert await events(server) == [0, 1]


async def test_a_secret_that_is_rotated_out_holds_until_its_grace_is_over(backend: Backend):
    clock = ManualClock(1_700_000_000)
    chain = Principal(
        RESEARCHER, RESEARCHER.id, (RESEARCHER,), frozenset(), "jti-1", "txn-1", 0, credential=SECRET
    )
    async with backend.open(clock=clock) as store:
        await enrol(store, RESEARCHER, OLD)
        await rotate(store, "researcher", now=1_700_000_000, until=1_700_000_060)
        assert await store.agents.credential_end(RESEARCHER.id, SECRET) == 1_700_000_060
        clock.now += 59
        await open_call(store, "in time", quote(10, researcher=100), chain)
        assert await store.standing.fallen([chain]) == Fallen({})
        clock.now += 1
        with pytest.raises(Denied, match="ended before the call began"):
            await open_call(store, "late", quote(10, researcher=100), chain)


async def test_a_chain_ends_with_the_credential_that_any_of_its_hops_was_granted_with(store: Store):
    await enrol(store, PLANNER, OLD)
    await enrol(store, RESEARCHER, NEW)
    hop = Grant(
        id=GrantId("g"),
        parent=None,
        organisation=PLANNER.organisation,
        subject=PLANNER.id,
        by=PLANNER.id,
        to=RESEARCHER.id,
        depth=1,
        max_depth=4,
        transaction="txn-1",
        expires_at=1_800_000_000,
        created_at=0,
        credential=SECRET,
    )
    await Grants(store.grants).delegate(hop, "token")
    assert (await store.grants.chain(hop.id))[0] == hop
    chain = replace(CHAIN, grants=(hop,))
    await open_call(store, "before", quote(10, researcher=100), chain)
    await rotate(store, "planner", now=1, until=1)
    assert (await store.standing.fallen([chain])).credentials == {(PLANNER.id, SECRET)}
    with pytest.raises(Denied, match="a credential of `planner` ended"):
        await open_call(store, "after", quote(10, researcher=100), chain)


async def test_no_intent_follows_the_drop_of_the_key_that_signed_its_token_and_what_it_delegated_ends(
    store: Store,
):
    def key(kid: str, state: KeyState = KeyState.NEXT) -> StoredKey:
        return StoredKey(KeyUse.TOKENS, kid, "material", 7, state)

    await store.keys.keys(KeyUse.TOKENS, lambda: key("k1", KeyState.ACTIVE))
    await store.keys.keys(KeyUse.TOKENS, lambda: key("k2"), KeyState.NEXT)
    await enrol(store, RESEARCHER)
    await enrol(store, PLANNER)
    hop = Grant(
        id=GrantId("g"),
        parent=None,
        organisation=PLANNER.organisation,
        subject=PLANNER.id,
        by=PLANNER.id,
        to=RESEARCHER.id,
        depth=1,
        max_depth=4,
        transaction="txn-1",
        expires_at=1_800_000_000,
        created_at=0,
    )
    await Grants(store.grants).delegate(hop, "token")
    chain = Principal(RESEARCHER, RESEARCHER.id, (RESEARCHER,), frozenset(), "jti-1", "txn-1", 0, key="k1")
    credentials, now = Credentials(store.credentials), 1_700_000_000
    await open_call(store, "before", quote(10, researcher=100), chain)
    before = await store.standing.version()
    await credentials.rotate_key(key("k3"), now=now, until=now + 10, by="dana")
    assert await store.standing.version() > before
    assert await store.standing.fallen([chain]) == Fallen({})
    assert (await store.grants.chain(hop.id))[0].revoked_at is None
    await open_call(store, "retiring", quote(10, researcher=100), chain)
    await credentials.rotate_key(key("k4"), now=now, until=now, by="dana")
    assert await store.standing.fallen([chain]) == Fallen({}), "k1 retires, k2 was dropped"
    dropped = replace(chain, key="k2")
    assert await store.standing.fallen([dropped]) == Fallen({}, keys=frozenset({"k2"}))
    with pytest.raises(Denied, match="key that signed the token was dropped"):
        await open_call(store, "after", quote(10, researcher=100), dropped)
    assert (await store.grants.chain(hop.id))[0].revoked_at == now


async def test_a_call_counts_as_ended_in_every_process_once_it_is(backend: Backend):
    async with backend.open() as server, backend.open(serve=False) as other:
        await enrol(server, RESEARCHER)
        await open_call(server, "one", quote(10, researcher=100))
        await open_call(server, "two", quote(10, researcher=100))
        both = [CallId("one"), CallId("two"), CallId("never")]
        assert await other.standing.ended(both) == {"never"}
        await close_call(server, "one", 10)
        assert await other.standing.ended(both) == {"one", "never"}


async def test_calls_alone_do_not_move_the_number(store: Store):
    await enrol(store, RESEARCHER)
    before = await store.standing.version()
    await open_call(store, "call", quote(10, researcher=100))
    assert await store.standing.version() == before
