"""The shipped rules: what each is for, and that it is this rule and no other."""

import shutil
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from broker.model import Argument, Attestation, Principal, Role, SideEffect, Situation, Target
from broker.policy.engine import PolicyEngine
from broker.policy.load import shipped_policies, split
from tests.unit.policy.people import agent, chain, tool

OPERATORS = [agent(name, "operator") for name in ("ann", "bob", "cy")]
SIGNED = [replace(one, attestation=Attestation.SIGNED) for one in OPERATORS]
CONTRADICTED = replace(agent("eve", "operator"), attestation=Attestation.SELF_DECLARED)
AMOUNT = (Argument("amount", "amount", 2, Role.AMOUNT),)
DECLARED = "tools:\n  - match: x\n    arguments: {amount: {scale: 2, role: amount}}\n"


@dataclass(frozen=True)
class Story:
    """What a rule refuses, and the nearest thing that it leaves alone."""

    refused: Principal
    left_alone: Principal
    target: Target
    other: Target | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    other_arguments: dict[str, Any] | None = None
    trust: int = 1000
    other_trust: int = 1000


MONEY = replace(tool("bank__pay", labels=frozenset({"money"})), arguments=AMOUNT)
STORIES = {
    "defaults/trust-floor": Story(
        chain(*OPERATORS[:1]),
        chain(*OPERATORS[:1]),
        replace(tool("a__x"), min_trust=600),
        trust=599,
        other_trust=600,
    ),
    "defaults/contradicted-agents-only-read": Story(
        chain(OPERATORS[0], CONTRADICTED),
        chain(OPERATORS[0], CONTRADICTED),
        tool("a__put"),
        tool("a__get", effect=SideEffect.READS),
    ),
    "defaults/destroying-for-others": Story(
        chain(*SIGNED[:2]), chain(SIGNED[0]), tool("a__wipe", effect=SideEffect.DESTROYS)
    ),
    "defaults/high-risk": Story(
        chain(SIGNED[0], OPERATORS[1]),
        chain(*SIGNED[:2]),
        replace(tool("a__x"), risk=9),
    ),
    "defaults/large-amounts": Story(
        chain(*OPERATORS[:1]),
        chain(*OPERATORS[:1]),
        MONEY,
        arguments={"amount": 10_000.01},
        other_arguments={"amount": 10_000},
    ),
    "defaults/money-at-a-distance": Story(chain(*OPERATORS), chain(*OPERATORS[:2]), MONEY),
    "defaults/personal-data-at-a-distance": Story(
        chain(*OPERATORS), chain(*OPERATORS[:2]), tool("crm__find", labels=frozenset({"pii"}))
    ),
}


@pytest.fixture
def copied(tmp_path):
    """A copy of the shipped policies, with one declared argument, that a rule may be taken out of."""

    def copied(without: str = ""):
        folder = tmp_path / f"policies{len(without)}"
        shutil.copytree(shipped_policies(), folder)
        (folder / "tools").mkdir(exist_ok=True)
        (folder / "tools" / "test.yaml").write_text(DECLARED)
        file = folder / "rules" / "defaults.cedar"
        kept = [
            s.text for s in split(file.read_text(), "d") if not without or f'@id("{without}")' not in s.text
        ]
        file.write_text("\n".join(kept))
        return PolicyEngine(folder)

    return copied


@pytest.mark.parametrize("rule", STORIES)
def test_a_shipped_rule_refuses_what_it_is_for_and_nothing_else_would(copied, rule):
    story = STORIES[rule]
    with_it, without_it = copied(), copied(without=rule)
    params, situation = {"arguments": story.arguments}, Situation(trust=story.trust)
    for policy in (with_it, without_it):
        policy.retarget([story.target, *([story.other] if story.other else [])])
    decision = with_it.decide(story.refused, story.target, params, situation)
    assert (decision.permitted, [b.rule for b in decision.because]) == (False, [rule])
    assert without_it.decide(story.refused, story.target, params, situation).permitted


@pytest.mark.parametrize("rule", STORIES)
def test_a_shipped_rule_leaves_the_nearest_thing_alone(copied, rule):
    story, policy = STORIES[rule], copied()
    target = story.other or story.target
    policy.retarget([target])
    arguments = story.arguments if story.other_arguments is None else story.other_arguments
    situation = Situation(trust=story.other_trust)
    assert policy.decide(story.left_alone, target, {"arguments": arguments}, situation).permitted


def test_every_shipped_default_rule_has_its_story():
    rules = {rule.id for rule in PolicyEngine(shipped_policies()).rules if rule.id.startswith("defaults/")}
    assert rules == STORIES.keys()


def test_where_a_human_may_agree_the_call_is_permitted_once_one_has(copied):
    policy = copied()
    for rule in ("defaults/destroying-for-others", "defaults/high-risk", "defaults/large-amounts"):
        story = STORIES[rule]
        policy.retarget([story.target])
        params = {"arguments": story.arguments}
        asked = policy.decide(story.refused, story.target, params, Situation())
        assert [(c.rule, c.approver) for c in asked.consents] == [(rule, "operator")]
        agreed = Situation(approved=frozenset({rule}))
        assert policy.decide(story.refused, story.target, params, agreed).permitted


def test_nothing_that_nobody_has_declared_anything_of_is_refused_by_a_default_rule(copied):
    policy = copied()
    targets = [tool(f"a__{effect}", effect=effect) for effect in SideEffect]
    policy.retarget(targets)
    for target in targets:
        assert policy.decide(
            chain(OPERATORS[0]), target, {"arguments": {"amount": 10**9}}, Situation()
        ).permitted
