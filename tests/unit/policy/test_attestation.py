"""Rules that ask what stands behind an agent."""

from dataclasses import replace

from broker.model import Attestation, SideEffect
from tests.unit.policy.people import agent, chain, tool

RULE = """
@id("signed-only") @reason("writing needs a signed manifest")
forbid (principal, action == Action::"call", resource)
when { resource.side_effect != "reads" && principal.attestation < 2 };
"""
FILES = {"roles/r.yaml": "role: r\nallow:\n  - tools: ['*']\n", "rules/signed.cedar": RULE}
WRITES, READS = tool("notes__add"), tool("notes__find", effect=SideEffect.READS)


def at(level: Attestation, name: str = "ann"):
    return replace(agent(name, "r"), attestation=level)


def test_a_rule_tells_signed_agents_from_others(engine):
    policy = engine(FILES)
    policy.retarget([WRITES, READS])
    assert policy.decide(chain(at(Attestation.SIGNED)), WRITES, {}).permitted
    for level in (Attestation.SELF_DECLARED, Attestation.REGISTERED):
        refused = policy.decide(chain(at(level)), WRITES, {})
        assert [because.rule for because in refused.because] == ["signed-only"]
        assert policy.decide(chain(at(level)), READS, {}).permitted


def test_an_agent_whose_level_falls_is_judged_anew_although_its_roles_are_the_same(engine):
    policy = engine(FILES)
    policy.retarget([WRITES])
    for level, permitted in ((Attestation.SIGNED, True), (Attestation.REGISTERED, False)) * 2:
        assert policy.decide(chain(at(level)), WRITES, {}).permitted is permitted


def test_the_lowest_level_of_a_chain_decides(engine):
    policy = engine(FILES)
    policy.retarget([WRITES])
    signed, registered = at(Attestation.SIGNED), at(Attestation.REGISTERED, "bob")
    assert not policy.decide(chain(signed, registered), WRITES, {}).permitted
    assert not policy.decide(chain(registered, signed), WRITES, {}).permitted
    assert policy.decide(chain(signed, at(Attestation.SIGNED, "bob")), WRITES, {}).permitted
