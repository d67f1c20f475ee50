"""What may be handed on, and when a chain stands."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.errors import Denied, Unauthenticated
from broker.identity.authenticator import TokenAuthenticator, access_tokens
from broker.identity.chains import Chains
from broker.identity.delegation import CALL_LIFETIME_S, DEFAULT_DEPTH, Delegations, Wish
from broker.identity.keys import load_keys
from broker.identity.tokens import DEFAULT_SCOPES, Kind
from broker.model import (
    Agent,
    AgentId,
    AgentStatus,
    CallId,
    Grant,
    GrantId,
    OrganisationId,
    Principal,
    SideEffect,
    Target,
    ToolLimit,
)
from broker.model import (
    Kind as TargetKind,
)
from broker.policy.engine import PolicyEngine
from broker.settings import Settings
from tests.unit.identity.memory import NOW, ManualClock, MemoryAgents, MemoryKeys
from tests.unit.identity.memory_grants import MemoryGrants

A, B, C = AgentId("a"), AgentId("b"), AgentId("c")


@dataclass
class House:
    clock: ManualClock
    agents: MemoryAgents
    grants: MemoryGrants
    identity: TokenAuthenticator
    delegations: Delegations

    async def own(self, name: AgentId) -> tuple[Principal, str]:
        token = self.tokens.mint(self.agents.records[name], DEFAULT_SCOPES).compact
        return await self.identity.authenticate(token), token

    async def hand_on(self, by: Principal, to: AgentId, **wish) -> tuple[Grant, str]:
        grant = await self.delegations.plan(by, Wish(to, **wish))
        token = self.delegations.token(by, grant, by.scopes, "parent").compact
        self.grants.add(grant)
        return grant, token


async def house() -> House:
    clock, agents, grants = ManualClock(), MemoryAgents(), MemoryGrants()
    keys = await load_keys(MemoryKeys(), clock)
    for name in (A, B, C):
        agents.enrol(name)
    tokens = access_tokens(Settings(), keys, clock)
    identity = TokenAuthenticator(Settings(), keys, agents, Chains(agents, grants, clock), clock=clock)
    made = House(clock, agents, grants, identity, Delegations(tokens, agents, lambda by, to: True, clock))
    made.tokens = tokens
    return made


async def test_a_chain_carries_subject_actors_transaction_and_the_nearest_end():
    here = await house()
    a, _ = await here.own(A)
    first, token = await here.hand_on(a, B, lifetime_s=100)
    b = await here.identity.delegated((await here.own(B))[0], token)
    second, below = await here.hand_on(b, C)
    c = await here.identity.delegated((await here.own(C))[0], below)
    assert (c.agent.id, c.subject, [actor.id for actor in c.actors]) == (C, A, [C, B, A])
    assert (c.grants, c.transaction, c.expires_at) == ((second, first), a.transaction, NOW + 100)
    assert (second.parent, second.depth, second.max_depth) == (first.id, 2, DEFAULT_DEPTH)


async def test_a_delegation_ends_with_its_time_and_its_call():
    here = await house()
    a, _ = await here.own(A)
    here.grants.open_calls.add(CallId("c1"))
    grant, token = await here.hand_on(a, B, call=CallId("c1"))
    assert grant.expires_at == NOW + CALL_LIFETIME_S
    own, _ = await here.own(B)
    await here.identity.delegated(own, token)
    here.grants.open_calls.clear()
    with pytest.raises(Denied, match="ended with the call"):
        await here.identity.delegated(own, token)
    here.grants.open_calls.add(CallId("c1"))
    here.clock.now = NOW + CALL_LIFETIME_S
    with pytest.raises(Denied, match="has expired"):
        await here.identity.delegated(own, token)


async def test_a_changed_record_of_anybody_in_the_chain_counts_at_the_next_call():
    here = await house()
    a, _ = await here.own(A)
    _, token = await here.hand_on(a, B)
    own, _ = await here.own(B)
    await here.identity.delegated(own, token)
    here.agents.records[A] = replace(here.agents.records[A], roles=frozenset())
    here.grants.changes += 1
    assert (await here.identity.delegated(own, token)).actors[1].roles == frozenset()
    here.agents.records[A] = replace(here.agents.records[A], organisation=OrganisationId("other"))
    here.grants.changes += 1
    with pytest.raises(Denied, match="left the organisation"):
        await here.identity.delegated(own, token)
    del here.agents.records[A]
    here.grants.changes += 1
    with pytest.raises(Denied, match="was removed"):
        await here.identity.delegated(own, token)


async def test_an_access_token_for_a_chain_is_refused_like_any_other_when_the_chain_falls():
    here = await house()
    a, _ = await here.own(A)
    grant, token = await here.hand_on(a, B)
    b = await here.identity.delegated((await here.own(B))[0], token)
    taken_up = here.delegations.redeemed(b, token).compact
    assert (await here.identity.authenticate(taken_up)).grants == (grant,)
    here.grants.revoke(grant.id)
    with pytest.raises(Unauthenticated, match="has been revoked"):
        await here.identity.authenticate(taken_up)


async def test_each_kind_of_token_passes_only_for_itself():
    here = await house()
    a, plain = await here.own(A)
    grant, token = await here.hand_on(a, B)
    with pytest.raises(Unauthenticated):
        here.tokens.verify(token)
    with pytest.raises(Unauthenticated):
        here.tokens.verify(plain, Kind.DELEGATION)
    own, _ = await here.own(B)
    mutilated = here.tokens.mint_delegated(Kind.ACCESS, [grant], DEFAULT_SCOPES, parent="x").compact
    with pytest.raises(Denied, match="not a token of this broker"):
        await here.identity.delegated(own, mutilated)


async def test_the_deepest_chain_is_bounded_even_if_nobody_bounds_it():
    here = await house()
    for number in range(10):
        here.agents.enrol(f"n{number}")
    here_now, _ = await here.own(A)
    with pytest.raises(Denied, match="max_depth is 1 to 8"):
        await here.hand_on(here_now, B, max_depth=9)
    for number in range(8):
        name = AgentId(f"n{number}")
        _, token = await here.hand_on(here_now, name, max_depth=8)
        here_now = await here.identity.delegated((await here.own(name))[0], token)
    with pytest.raises(Denied, match="may not become deeper than 8"):
        await here.hand_on(here_now, B)


# Random roles, random trees

ROLES = {
    "all": '  - tools: ["*"]\n',
    "a": '  - tools: ["a__*"]\n',
    "x": '  - tools: ["*__x"]\n',
    "reads": '  - tools: ["*"]\n    side_effects: [reads]\n',
    "ax": "  - tools: [a__x]\n",
    "b": '  - tools: ["b__*", "a__y"]\n',
}
TARGETS = [
    Target(TargetKind.TOOL, name, name[0], name[3:], {}, side_effect=effect)
    for name, effect in (
        ("a__x", SideEffect.READS),
        ("a__y", SideEffect.WRITES),
        ("b__x", SideEffect.READS),
        ("b__y", SideEffect.WRITES),
    )
]
CALLS = [(target, {"arguments": {"n": n}}) for target in TARGETS for n in (0, 1, 2)]
PEOPLE = [AgentId(f"p{n}") for n in range(6)]

conditions = st.one_of(
    st.builds(lambda v: {"constraint_type": "range", "max": v}, st.integers(0, 2)),
    st.builds(lambda v: {"constraint_type": "exact", "value": v}, st.integers(0, 2)),
)
some_limits = st.one_of(
    st.none(),
    st.lists(
        st.builds(
            ToolLimit,
            st.sampled_from(["*", "a__*", "*__x", "a__x", "b__y"]),
            st.dictionaries(st.just("n"), conditions, max_size=1),
        ),
        max_size=3,
    ).map(tuple),
)
hops = st.lists(
    st.tuples(
        st.integers(0, 20), st.sampled_from(PEOPLE), some_limits, st.one_of(st.none(), st.integers(1, 5))
    ),
    max_size=12,
)
role_sets = st.lists(st.frozensets(st.sampled_from(sorted(ROLES)), max_size=3), min_size=6, max_size=6)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> PolicyEngine:
    folder = tmp_path_factory.mktemp("policies")
    (folder / "roles").mkdir()
    for name, allow in ROLES.items():
        (folder / "roles" / f"{name}.yaml").write_text(f"role: {name}\nallow:\n{allow}")
    engine = PolicyEngine(folder)
    engine.retarget(TARGETS)
    return engine


async def grown(roles: list[frozenset[str]], wishes: list) -> tuple[House, dict[GrantId | None, Principal]]:
    """A tree of delegations below p0 and p1; a hop that is refused is left out."""
    here = await house()
    for name, own_roles in zip(PEOPLE, roles, strict=True):
        here.agents.records[name] = Agent(name, OrganisationId("acme"), own_roles)
    nodes = [(await here.own(PEOPLE[0]))[0]]
    for where, to, left, max_depth in wishes:
        by = nodes[where % len(nodes)]
        try:
            _, token = await here.hand_on(by, to, limits=left, max_depth=max_depth)
        except Denied:
            continue
        nodes.append(await here.identity.delegated((await here.own(to))[0], token))
    return here, {node.grants[0].id if node.grants else None: node for node in nodes}


def allowed(policy: PolicyEngine, principal: Principal) -> set[int]:
    return {
        n for n, (target, params) in enumerate(CALLS) if policy.decide(principal, target, params).permitted
    }


@settings(max_examples=150, deadline=None)
@given(roles=role_sets, wishes=hops)
async def test_a_child_may_do_nothing_that_its_parent_may_not_and_sees_no_more(policy, roles, wishes):
    _, nodes = await grown(roles, wishes)
    for node in nodes.values():
        mine = allowed(policy, node)
        shown = {target.name for target in policy.visible(node, TARGETS)}
        assert shown == {target.name for target in TARGETS if policy.sees(node, target)}
        assert {CALLS[n][0].name for n in mine} <= shown
        if node.grants:
            parent = nodes[node.grants[0].parent]
            assert mine <= allowed(policy, parent)
            assert shown <= {target.name for target in policy.visible(parent, TARGETS)}
            assert node.expires_at <= parent.expires_at
            assert node.grants[0].max_depth <= (parent.grants[0].max_depth if parent.grants else 8)


@settings(max_examples=100, deadline=None)
@given(roles=role_sets, wishes=hops, which=st.integers(0, 20))
async def test_revoking_any_hop_stops_exactly_what_is_below_it(policy, roles, wishes, which):
    here, nodes = await grown(roles, wishes)
    delegated = {grant: node for grant, node in nodes.items() if grant is not None}
    if not delegated:
        return
    revoked = sorted(delegated)[which % len(delegated)]
    here.grants.revoke(revoked)
    for grant, node in delegated.items():
        own = replace(node, grants=(), actors=(node.agent,))
        below = any(hop.id == revoked for hop in node.grants)
        try:
            await here.identity._chains.under(own, grant, node.scopes)
            stands = True
        except Denied:
            stands = False
        assert stands is not below


async def test_a_suspended_actor_ends_every_chain_it_is_in_and_no_other():
    here = await house()
    a, _ = await here.own(A)
    _, through_b = await here.hand_on(a, B)
    b = await here.identity.delegated((await here.own(B))[0], through_b)
    _, below_b = await here.hand_on(b, C)
    _, beside_b = await here.hand_on(a, C)
    here.agents.set_status(B, AgentStatus.SUSPENDED)
    here.grants.changes += 1
    c, _ = await here.own(C)
    with pytest.raises(Denied, match="while `b` is suspended"):
        await here.identity.delegated(c, below_b)
    assert (await here.identity.delegated(c, beside_b)).subject == A
