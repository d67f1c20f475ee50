"""What is kept of an agent, and what a change of it leaves behind."""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from broker.audit.interface import Entry, Event
from broker.errors import InvalidRequest
from broker.identity.interface import AgentFilter
from broker.model import Agent, AgentId, AgentStatus, Attestation, Manifest, Principal
from broker.storage.sqlite.sightings import COARSE_S
from broker.storage.store import Store
from tests.contract.conftest import Backend
from tests.contract.words import agent, enrol, open_call, quote, records, set_status

WHOLE = agent(
    "a",
    team="red",
    purpose="reads invoices",
    model="sonnet",
    model_version="5-1",
    attributes={"stage": "test", "region": "eu"},
    created_at=7,
    changed_at=7,
)


async def rename(store: Store, model: str) -> bool:
    return await store.journal.change_agent(
        AgentId("a"),
        lambda before: replace(before, model=model),
        lambda before, after: Entry(
            "system", Event.AGENT_CHANGED, {"was": before.model, "now": after.model}, agent=after.id
        ),
    )


async def found(store: Store) -> Agent:
    known = await store.agents.agent(AgentId("a"))
    assert known is not None
    return known


async def test_everything_said_of_an_agent_is_kept(store: Store):
    await enrol(store, WHOLE)
    assert await found(store) == WHOLE
    assert await store.agents.agents() == [WHOLE]


async def test_a_change_is_recorded_with_what_was_and_when_it_was_made(store: Store):
    await enrol(store, WHOLE)
    assert await rename(store, "opus")
    assert await found(store) == replace(WHOLE, model="opus", changed_at=1_700_000_000)
    last = [orjson.loads(record.body) async for record in records(store, "system")][-1]
    assert (last["was"], last["now"], last["agent"]) == ("sonnet", "opus", "a")


async def test_a_change_that_changes_nothing_leaves_no_record(store: Store):
    await enrol(store, WHOLE)
    before = (await store.log.logs())[0].size
    assert not await rename(store, "sonnet")
    assert (await store.log.logs())[0].size == before
    assert await found(store) == WHOLE


async def test_a_change_starts_from_what_another_process_has_just_committed(backend: Backend):
    async with backend.open() as server, backend.open(serve=False) as cli:
        await enrol(server, WHOLE)
        await set_status(cli, "a", AgentStatus.SUSPENDED)
        await rename(server, "opus")
        assert (await found(cli)).status is AgentStatus.SUSPENDED
        assert (await found(cli)).model == "opus"


async def test_a_change_that_is_refused_leaves_no_trace(store: Store):
    await enrol(store, WHOLE)
    size = (await store.log.logs())[0].size

    def refuse(_: Agent) -> Agent:
        raise InvalidRequest("no")

    with pytest.raises(InvalidRequest):
        await store.journal.change_agent(AgentId("a"), refuse, lambda *_: pytest.fail("recorded"))
    assert await found(store) == WHOLE
    assert (await store.log.logs())[0].size == size


async def test_an_agent_is_seen_when_it_begins_a_call_to_the_minute(backend: Backend):
    now = 1_700_000_000.0
    async with backend.open(clock=lambda: now) as store:
        await enrol(store, WHOLE)
        assert await store.agents.last_seen(AgentId("a")) is None
        caller = Principal(WHOLE, WHOLE.id, (WHOLE,), frozenset(), "jti", "txn", 0)
        number = await store.standing.version()
        for later, seen in ((0, 0), (COARSE_S - 1, 0), (COARSE_S, COARSE_S), (COARSE_S + 1, COARSE_S)):
            now = 1_700_000_000.0 + later
            await open_call(store, f"after-{later}", quote(0), caller)
            assert await store.agents.last_seen(AgentId("a")) == 1_700_000_000 + seen
        assert await store.standing.version() == number


async def test_agents_whose_manifest_has_ended_are_found_until_their_level_says_so(store: Store):
    ends = Manifest("a", "1", "sonnet", "5-1", "p", "t", "c", "dana", 100, "kid", "digest")
    signed = replace(WHOLE, attestation=Attestation.SIGNED, manifest=ends)
    await enrol(store, signed)
    await enrol(store, agent("plain"))
    assert await found(store) == signed
    assert await store.agents.lapsed(99) == []
    assert await store.agents.lapsed(100) == ["a"]
    await store.journal.change_agent(
        AgentId("a"),
        lambda before: replace(before, attestation=Attestation.REGISTERED),
        lambda *_: Entry("system", Event.AGENT_CHANGED, {}, agent="a"),
    )
    assert await store.agents.lapsed(100) == []


async def test_agents_are_found_by_organisation_and_status_page_by_page(store: Store):
    for name in ("a", "b", "c", "d"):
        await enrol(store, agent(name))
    await set_status(store, "c", AgentStatus.SUSPENDED)

    async def names(**where: Any) -> list[str]:
        return [one.id for one in await store.agents.agents(AgentFilter(**where))]

    assert await names() == ["a", "b", "c", "d"]
    assert await names(limit=2) == ["a", "b"]
    assert await names(after="b", limit=1) == ["c"]
    assert await names(status=AgentStatus.ACTIVE) == ["a", "b", "d"]
    assert await names(organisation="other") == []
