"""Who may delegate to whom, and what a hop takes away from a decision."""

from dataclasses import replace

from broker.model import AgentId, Grant, GrantId, OrganisationId, ToolLimit
from tests.unit.policy.people import agent, chain, tool

LEAD = 'role: lead\nallow:\n  - tools: ["*"]\nmay_delegate_to: [worker, zoe]\n'
OPEN = 'role: open\nallow: []\nmay_delegate_to: ["*"]\n'
WORKER = 'role: worker\nallow:\n  - tools: ["*"]\n'
ROLES = {"roles/lead.yaml": LEAD, "roles/open.yaml": OPEN, "roles/worker.yaml": WORKER}


def test_a_role_says_to_which_agents_and_roles_one_may_delegate(engine):
    policy = engine(ROLES)
    lead, worker, zoe = agent("ann", "lead"), agent("bo", "worker"), agent("zoe", "other")
    assert policy.may_delegate(lead, worker)
    assert policy.may_delegate(lead, zoe)
    assert not policy.may_delegate(lead, agent("cy", "other"))
    assert not policy.may_delegate(lead, agent("worker2"))
    assert not policy.may_delegate(worker, lead)
    assert not policy.may_delegate(agent("none"), worker)
    assert policy.may_delegate(agent("o", "open"), agent("anybody"))


def test_to_whom_a_role_delegates_is_part_of_the_version_of_the_policies(engine, write):
    before = engine(ROLES).version
    assert engine({"roles/lead.yaml": LEAD.replace("zoe", "yan")}).version != before


def test_a_decision_stays_within_every_hop_also_when_it_was_remembered(engine):
    policy = engine(ROLES)
    find, add = tool("notes__find"), tool("notes__add")
    policy.retarget([find, add])
    hop = Grant(
        GrantId("g1"),
        None,
        OrganisationId("acme"),
        AgentId("ann"),
        AgentId("ann"),
        AgentId("bo"),
        1,
        4,
        "x1",
        0,
        0,
        limits=(ToolLimit("notes__find"),),
    )
    free = chain(agent("bo", "worker"), agent("ann", "lead"))
    bound = replace(free, grants=(hop,))
    for target in (find, add):
        assert policy.decide(free, target, {}).permitted
    refused = policy.decide(bound, add, {})
    assert (refused.permitted, refused.because[0].rule) == (False, "delegation/g1")
    assert "`ann`" in refused.hint
    assert policy.decide(bound, find, {}).permitted
    assert policy.visible(bound, [find, add]) == [find]
    assert (policy.sees(bound, find), policy.sees(bound, add)) == (True, False)
