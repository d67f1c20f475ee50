"""Each default rule about what a transaction has read stops what it is for, and nothing else does."""

import re
import shutil
from pathlib import Path

import pytest

from broker.model import Argument, Kind, Origin, Role, SideEffect, Situation, Target
from broker.policy.engine import PolicyEngine
from broker.policy.load import shipped_policies
from tests.unit.policy.people import having

TO = Argument("to", "to", role=Role.DESTINATION)
AMOUNT = Argument("amount", "amount", scale=2, role=Role.AMOUNT)
PARAMS = {"arguments": {"to": "eve@evil.example", "amount": 5}}
MIXED = frozenset({"untrusted-source", "private-data"})


def target(
    *labels: str, arguments: tuple[Argument, ...] = (), effect: SideEffect = SideEffect.WRITES
) -> Target:
    return Target(
        Kind.TOOL, "x__do", "x", "do", {}, side_effect=effect, labels=frozenset(labels), arguments=arguments
    )


def seen(taint=(), to=None, amount=None, **counters: int) -> Situation:
    origins = {name: origin for name, origin in (("to", to), ("amount", amount)) if origin is not None}
    return Situation(taint=frozenset(taint), provenance=origins, counters=counters)


CASES = [
    ("flow/private-data-on-the-way-out", target("external-sink"), seen(MIXED)),
    ("flow/private-data-on-the-way-out", target("external-sink"), seen({"untrusted-source", "pii"})),
    (
        "flow/private-data-on-the-way-out",
        target("external-sink", arguments=(TO,)),
        seen(MIXED, to=Origin.TRUSTED),
    ),
    ("flow/destination-from-untrusted-content", target(arguments=(TO,)), seen(to=Origin.UNTRUSTED)),
    (
        "flow/destination-from-untrusted-content",
        target("external-sink", arguments=(TO,), effect=SideEffect.READS),
        seen(to=Origin.UNTRUSTED),
    ),
    (
        "flow/private-data-on-the-way-out",
        target("external-sink", arguments=(TO,), effect=SideEffect.READS),
        seen(MIXED, to=Origin.TRUSTED),
    ),
    ("flow/destination-from-untrusted-content", target(arguments=(TO,)), seen(to=Origin.QUOTED)),
    (
        "flow/destination-from-untrusted-content",
        target("external-sink", arguments=(TO,), effect=SideEffect.READS),
        seen(to=Origin.QUOTED, destinations=11),
    ),
    (
        "flow/destination-out-of-nowhere",
        target(arguments=(TO,), effect=SideEffect.DESTROYS),
        seen({"untrusted-source"}, to=Origin.UNSEEN),
    ),
    (
        "flow/destination-out-of-nowhere",
        target("external-sink", arguments=(TO,)),
        seen({"untrusted-source"}, to=Origin.UNSEEN),
    ),
    ("flow/money-after-untrusted-content", target("money"), seen({"untrusted-source"})),
    (
        "flow/money-after-untrusted-content",
        target("money", arguments=(TO,)),
        seen({"untrusted-source"}, to=Origin.TRUSTED),
    ),
    ("flow/the-same-again", target(), seen(identical=11)),
    ("flow/the-same-again", target(effect=SideEffect.READS), seen(identical=101, calls_hour=601)),
]


def decide(engine: PolicyEngine, what: Target, situation: Situation):
    engine.retarget([what])
    return engine.decide(having("operator"), what, PARAMS, situation)


@pytest.fixture(scope="module")
def shipped() -> PolicyEngine:
    return PolicyEngine(shipped_policies())


@pytest.mark.parametrize(("rule", "what", "situation"), CASES)
def test_a_default_rule_stops_what_it_is_for(shipped, rule, what, situation):
    decision = decide(shipped, what, situation)
    assert not decision.permitted
    assert [because.rule for because in decision.because] == [rule]


@pytest.mark.parametrize(("rule", "what", "situation"), CASES)
def test_without_the_rule_it_would_be_permitted(tmp_path, rule, what, situation):
    folder = without(rule, tmp_path)
    assert decide(PolicyEngine(folder), what, situation).permitted


@pytest.mark.parametrize(("rule", "what", "situation"), CASES)
def test_who_may_operate_may_agree_except_to_doing_the_same_again(shipped, rule, what, situation):
    decision = decide(shipped, what, situation)
    agreed = [(consent.rule, consent.approver) for consent in decision.consents]
    assert agreed == ([] if rule == "flow/the-same-again" else [(rule, "operator")])


@pytest.mark.parametrize(
    ("what", "situation"),
    [
        (target(), seen(MIXED)),
        (target(), seen({"untrusted-source"}, identical=10)),
        (target(effect=SideEffect.READS), seen(MIXED, identical=100)),
        (target("external-sink"), seen({"private-data"})),
        (
            target("external-sink", arguments=(TO,), effect=SideEffect.READS),
            seen(MIXED, to=Origin.QUOTED, destinations=10),
        ),
        (target("external-sink"), seen({"untrusted-source"})),
        (target("external-sink", arguments=(TO,)), seen(MIXED, to=Origin.TASK)),
        (target(arguments=(TO,)), seen(MIXED, to=Origin.UNSEEN)),
        (target("external-sink", arguments=(TO,)), seen(MIXED, to=Origin.OWN)),
        (target("money", arguments=(TO,)), seen(to=Origin.UNSEEN)),
        (target("money", arguments=(TO,)), seen({"untrusted-source"}, to=Origin.OWN)),
        (target(arguments=(TO,), effect=SideEffect.READS), seen(MIXED, to=Origin.UNTRUSTED)),
        (target("money", arguments=(TO, AMOUNT)), seen(MIXED, to=Origin.TASK, amount=Origin.UNTRUSTED)),
        (target(arguments=(TO,), effect=SideEffect.DESTROYS), seen(to=Origin.UNSEEN)),
    ],
)
def test_what_no_rule_is_for_is_permitted(shipped, what, situation):
    assert decide(shipped, what, situation).permitted


def test_every_default_rule_of_this_file_has_a_case():
    rules = re.findall(r'@id\("([^"]+)"\)', (shipped_policies() / "rules" / "flow.cedar").read_text())
    assert set(rules) == {rule for rule, _, _ in CASES}


def without(rule: str, folder: Path) -> Path:
    """The shipped policies without one rule."""
    copy = folder / "policies"
    shutil.copytree(shipped_policies(), copy)
    path = copy / "rules" / "flow.cedar"
    text = re.sub(rf'@id\("{re.escape(rule)}"\).*?;\n', "", path.read_text(), flags=re.DOTALL)
    assert rule not in text
    path.write_text(text)
    return copy
