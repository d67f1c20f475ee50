import pytest

from broker.errors import Unauthenticated
from broker.identity.authenticator import TokenAuthenticator, access_tokens
from broker.identity.chains import Chains
from broker.identity.keys import load_keys
from broker.identity.tokens import DEFAULT_SCOPES, LEEWAY_S
from broker.model import AgentStatus
from broker.settings import Settings
from tests.unit.identity.memory import NOW, ManualClock, MemoryAgents, MemoryKeys
from tests.unit.identity.memory_grants import MemoryGrants

SETTINGS = Settings()


async def arrange(capacity: int = 100):
    agents, clock = MemoryAgents(), ManualClock()
    agents.enrol("researcher")
    keys = await load_keys(MemoryKeys(), clock)
    chains = Chains(agents, MemoryGrants(), clock)
    subject = TokenAuthenticator(SETTINGS, keys, agents, chains, clock=clock, capacity=capacity)
    return subject, agents, clock, access_tokens(SETTINGS, keys, clock)


async def test_the_principal_is_the_live_agent_alone_in_its_chain():
    subject, agents, _, tokens = await arrange()
    issued = tokens.mint(agents.records["researcher"], DEFAULT_SCOPES)
    principal = await subject.authenticate(issued.compact)
    agent = agents.records["researcher"]
    assert principal.agent is agent
    assert principal.actors == (agent,)
    assert (principal.subject, principal.scopes) == ("researcher", DEFAULT_SCOPES)
    assert (principal.token_id, principal.transaction) == (issued.claims.id, issued.claims.transaction)
    assert principal.expires_at == NOW + SETTINGS.tokens.lifetime_s


@pytest.mark.parametrize("seen_before", [True, False])
@pytest.mark.parametrize("status", [AgentStatus.SUSPENDED, AgentStatus.REVOKED])
async def test_a_live_token_of_an_agent_that_may_not_act_is_refused_at_once(status, seen_before):
    subject, agents, _, tokens = await arrange()
    token = tokens.mint(agents.records["researcher"], DEFAULT_SCOPES).compact
    if seen_before:
        await subject.authenticate(token)
    agents.set_status("researcher", status)
    with pytest.raises(Unauthenticated, match=f"`researcher` is {status}"):
        await subject.authenticate(token)


async def test_a_resumed_agent_may_go_on_with_its_token():
    subject, agents, _, tokens = await arrange()
    token = tokens.mint(agents.records["researcher"], DEFAULT_SCOPES).compact
    agents.set_status("researcher", AgentStatus.SUSPENDED)
    with pytest.raises(Unauthenticated):
        await subject.authenticate(token)
    agents.set_status("researcher", AgentStatus.ACTIVE)
    assert (await subject.authenticate(token)).agent is agents.records["researcher"]


async def test_a_changed_record_is_seen_on_the_next_call():
    subject, agents, _, tokens = await arrange()
    token = tokens.mint(agents.records["researcher"], DEFAULT_SCOPES).compact
    await subject.authenticate(token)
    agents.enrol("researcher")
    principal = await subject.authenticate(token)
    assert principal.agent is agents.records["researcher"]
    assert principal.actors[0] is principal.agent


async def test_a_deleted_agent_is_nobody():
    subject, agents, _, tokens = await arrange()
    token = tokens.mint(agents.records["researcher"], DEFAULT_SCOPES).compact
    await subject.authenticate(token)
    del agents.records["researcher"]
    with pytest.raises(Unauthenticated):
        await subject.authenticate(token)


async def test_a_remembered_token_expires_like_any_other():
    subject, agents, clock, tokens = await arrange()
    issued = tokens.mint(agents.records["researcher"], DEFAULT_SCOPES)
    await subject.authenticate(issued.compact)
    clock.now = issued.claims.expires_at + LEEWAY_S
    for _ in range(2):
        with pytest.raises(Unauthenticated, match="expired 5 s ago"):
            await subject.authenticate(issued.compact)
    assert not subject._known


async def test_the_least_recently_used_token_is_forgotten_first_and_still_works():
    subject, agents, _, tokens = await arrange(capacity=2)
    first, second, third = (tokens.mint(agents.records["researcher"], DEFAULT_SCOPES) for _ in range(3))
    for issued in (first, second, first, third):
        await subject.authenticate(issued.compact)
    assert {known.claims.id for known in subject._known.values()} == {first.claims.id, third.claims.id}
    assert (await subject.authenticate(second.compact)).token_id == second.claims.id
    assert len(subject._known) == 2


async def test_what_is_not_a_token_is_never_remembered():
    subject, *_ = await arrange()
    for text in ("", "x", "a.b.c", "x" * 100_000, "\ud800", "tökén"):
        with pytest.raises(Unauthenticated, match="not a token of this broker"):
            await subject.authenticate(text)
    assert not subject._known
