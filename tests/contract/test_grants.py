"""What every store promises about delegation."""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from broker.audit.interface import Entry, Event
from broker.errors import Denied, UnknownTarget
from broker.grants import GrantFilter, Grants
from broker.journal import Opening
from broker.model import AgentId, CallId, Grant, GrantId, MicroUSD, OrganisationId, Principal, ToolLimit
from broker.storage.store import Store
from tests.contract.conftest import Backend
from tests.contract.words import agent, close_call, enrol, events, intent, open_call, quote, records

NAMES = ("planner", "researcher", "summariser")
PLANNER, RESEARCHER, SUMMARISER = (agent(name) for name in NAMES)

FIRST = Grant(
    id=GrantId("g1"),
    parent=None,
    organisation=OrganisationId("acme"),
    subject=AgentId("planner"),
    by=AgentId("planner"),
    to=AgentId("researcher"),
    depth=1,
    max_depth=4,
    transaction="txn-1",
    expires_at=1_700_000_600,
    created_at=1_700_000_000,
    task="invoices",
    purpose="a report",
    limits=(
        ToolLimit("notes__*", {"year": {"constraint_type": "range", "min": 2020}}),
        ToolLimit("kb__*"),
        ToolLimit("notes__*", {"year": {"constraint_type": "exact", "value": 7}}),
    ),
    cap_micro_usd=MicroUSD(500),
    max_calls=2,
)
SECOND = replace(
    FIRST,
    id=GrantId("g2"),
    parent=FIRST.id,
    by=AgentId("researcher"),
    to=AgentId("summariser"),
    depth=2,
    limits=None,
    max_calls=None,
    cap_micro_usd=None,
    task=None,
    purpose=None,
    call=CallId("c1"),
)
ALONE = Principal(PLANNER, PLANNER.id, (PLANNER,), frozenset(), "jti-0", "txn-1", 0)
UNDER_FIRST = replace(ALONE, agent=RESEARCHER, actors=(RESEARCHER, PLANNER), grants=(FIRST,))
UNDER_SECOND = replace(
    ALONE, agent=SUMMARISER, actors=(SUMMARISER, RESEARCHER, PLANNER), grants=(SECOND, FIRST)
)


async def delegated(store: Store, *grants: Grant) -> Grants:
    for one in (PLANNER, RESEARCHER, SUMMARISER):
        await enrol(store, one)
    kept = Grants(store.grants)
    for grant in grants:
        await kept.delegate(grant, "jti")
    return kept


async def test_a_grant_comes_back_as_it_was_given(store: Store):
    await delegated(store, FIRST, SECOND)
    assert await store.grants.grant(GrantId("g1")) == FIRST
    assert await store.grants.grant(GrantId("g2")) == SECOND
    assert await store.grants.grant(GrantId("G1")) is None


async def test_a_chain_begins_with_the_newest_hop_and_ends_with_the_root(store: Store):
    await delegated(store, FIRST, SECOND)
    assert await store.grants.chain(SECOND.id) == (SECOND, FIRST)
    assert await store.grants.chain(FIRST.id) == (FIRST,)
    assert await store.grants.chain(GrantId("none")) == ()
    assert await store.grants.children(FIRST.id) == [SECOND]
    assert await store.grants.roots("txn-1") == [FIRST]
    assert await store.grants.roots("txn-2") == []


async def test_a_grant_and_its_record_are_one_commit(store: Store):
    await delegated(store, FIRST)
    last = [orjson.loads(record.body) async for record in records(store)][-1]
    assert (last["type"], last["grant"], last["agent"], last["to"]) == (
        "delegation.created",
        "g1",
        "planner",
        "researcher",
    )
    with pytest.raises(Denied):
        await Grants(store.grants).delegate(replace(SECOND, parent=GrantId("ghost")), "jti")
    assert await store.grants.grant(SECOND.id) is None
    assert len(await events(store)) == 2


async def test_revoking_a_grant_ends_its_whole_subtree_and_nothing_else(store: Store):
    third = replace(SECOND, id=GrantId("g3"), parent=SECOND.id, depth=3)
    sibling = replace(SECOND, id=GrantId("g4"))
    kept = await delegated(store, FIRST, SECOND, third, sibling)
    assert await kept.revoke(SECOND.id, by="dana", reason="odd") == 2
    assert await kept.revoke(SECOND.id, by="dana") == 0
    revoked = {g: (await store.grants.grant(GrantId(g))).revoked_at for g in ("g1", "g2", "g3", "g4")}
    assert revoked == {"g1": None, "g2": 1_700_000_000, "g3": 1_700_000_000, "g4": None}
    last = [orjson.loads(record.body) async for record in records(store)][-1]
    assert (last["type"], last["fallen"], last["by"], last["reason"]) == (
        "delegation.revoked",
        ["g2", "g3"],
        "dana",
        "odd",
    )
    with pytest.raises(UnknownTarget):
        await kept.revoke(GrantId("ghost"), by="dana")


async def test_nothing_can_be_delegated_below_a_revoked_grant(store: Store):
    kept = await delegated(store, FIRST)
    await kept.revoke(FIRST.id, by="dana")
    with pytest.raises(Denied, match="has been revoked"):
        await kept.delegate(SECOND, "jti")


async def test_a_revocation_is_seen_by_another_process_at_its_next_question(backend: Backend):
    async with backend.open() as server, backend.open(serve=False) as cli:
        await delegated(server, FIRST, SECOND)
        assert (await server.grants.chain(SECOND.id))[1].revoked_at is None
        before = await server.grants.version()
        await Grants(cli.grants).revoke(FIRST.id, by="dana")
        assert await server.grants.version() > before
        assert (await server.grants.chain(SECOND.id))[1].revoked_at is not None


async def test_no_intent_follows_the_revocation_of_any_hop(store: Store):
    kept = await delegated(store, FIRST, replace(SECOND, call=None))
    under = replace(UNDER_SECOND, grants=(replace(SECOND, call=None), FIRST))
    await open_call(store, "before", quote(0), under)
    await kept.revoke(FIRST.id, by="dana")
    with pytest.raises(Denied, match="was revoked"):
        await open_call(store, "after", quote(0), under)


async def test_no_intent_follows_the_end_of_the_call_that_a_delegation_is_for(store: Store):
    await delegated(store, FIRST, SECOND)
    await open_call(store, "c1", quote(0), ALONE)
    assert await store.grants.is_open(CallId("c1"))
    await open_call(store, "c2", quote(0), UNDER_SECOND)
    await close_call(store, "c1", 0)
    assert not await store.grants.is_open(CallId("c1"))
    with pytest.raises(Denied, match="ended with the call"):
        await open_call(store, "c3", quote(0), UNDER_SECOND)


async def test_calls_of_all_hops_below_count_towards_the_most_calls_of_a_grant(store: Store):
    await delegated(store, FIRST, replace(SECOND, call=None))
    below = replace(UNDER_SECOND, grants=(replace(SECOND, call=None), FIRST))
    await open_call(store, "c1", quote(0), UNDER_FIRST)
    await close_call(store, "c1", 0)
    await open_call(store, "c2", quote(0), below)
    for under in (UNDER_FIRST, below):
        with pytest.raises(Denied, match="2 calls, which have been made"):
            await open_call(store, "c3", quote(0), under)


async def test_an_unrelated_entry_is_not_disturbed_by_a_refused_grant(store: Store):
    await delegated(store, FIRST)
    await store.journal.append(Entry("acme", Event.CALL_DENIED, {}, "c9", "planner"))
    assert len(await events(store)) == 3


async def test_grants_are_found_newest_first_by_whom_they_name_and_whether_they_stand(store: Store):
    later = replace(
        FIRST, id=GrantId("g3"), by=AgentId("summariser"), to=AgentId("planner"), created_at=1_700_000_001
    )
    kept = await delegated(store, FIRST, SECOND, later)

    async def found(**where: Any) -> list[str]:
        return [grant.id for grant in await store.grants.find(GrantFilter(**where))]

    assert await found() == ["g3", "g2", "g1"]
    assert await found(limit=2) == ["g3", "g2"]
    assert await found(before=(FIRST.created_at, GrantId("g2"))) == ["g1"]
    assert await found(agent=AgentId("researcher")) == ["g2", "g1"]
    assert await found(organisation=OrganisationId("other")) == []
    assert await found(standing_at=FIRST.expires_at) == []
    await kept.revoke(FIRST.id, by="dana")
    assert await found(standing_at=FIRST.created_at) == ["g3"]
    assert (await store.grants.find(GrantFilter(limit=1)))[0] == later


async def test_a_subtree_begins_with_its_hop_and_holds_what_was_revoked(store: Store):
    kept = await delegated(store, FIRST, SECOND)
    assert [grant.id for grant in await store.grants.subtree(FIRST.id)] == ["g1", "g2"]
    assert await store.grants.subtree(SECOND.id) == [SECOND]
    assert await store.grants.subtree(GrantId("nothing")) == []
    await kept.revoke(SECOND.id, by="dana")
    assert [grant.id for grant in await store.grants.subtree(FIRST.id)] == ["g1", "g2"]


async def test_open_calls_are_listed_in_every_process_until_they_end(backend: Backend):
    async with backend.open() as here, backend.open(serve=False) as there:
        for name in NAMES:
            await enrol(here, agent(name))
        for call, who in (("c1", "planner"), ("c2", "researcher"), ("c3", "planner")):
            await here.journal.open(Opening(call, quote(0), intent(call, agent=who), ALONE))

        async def open_now(**where: Any) -> list[str]:
            asked = {"agent": None, "after": "", "limit": 9} | where
            return [call.call for call in await there.journal.open_calls(**asked)]

        assert await open_now() == ["c1", "c2", "c3"]
        assert await open_now(agent="planner") == ["c1", "c3"]
        assert await open_now(after="c1", limit=1) == ["c2"]
        await close_call(here, "c2", 0)
        assert await open_now() == ["c1", "c3"]
