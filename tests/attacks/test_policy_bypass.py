"""Threat: a call is permitted that no policy permits, or an upstream writes policy by what it offers."""

import json
from pathlib import Path

import cedarpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.errors import ConfigurationError
from broker.model import Kind, SideEffect
from broker.policy import cedar
from broker.policy.engine import PolicyEngine
from tests.unit.policy.people import agent, chain, having, tool

HOSTILE = [
    '"',
    "\\",
    '\\"',
    '") permit (principal, action, resource); //',
    'a"].contains(resource) || true || ["',
    'x"); permit(principal, action, resource); @id("y',
    "\n",
    "\x00",
    "\u202e",
    "\uff41__get",
    "__proto__",
    "${role}",
    '{"type":"Role","id":"operator"}',
    'Tool::"a__get"',
    "a" * 5000,
]
ROLE = "role: r\nallow:\n  - tools: [a__get]\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "roles").mkdir()
    (tmp_path / "rules").mkdir()
    (tmp_path / "roles" / "r.yaml").write_text(ROLE)
    return tmp_path


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_that_an_upstream_chooses_is_read_as_policy(folder, name):
    policy = PolicyEngine(folder)
    good, bad = tool("a__get"), tool(name, labels=frozenset({name}))
    policy.retarget([good, bad])
    assert policy.visible(having("r"), [good, bad]) == [good]
    assert not policy.decide(having("r"), bad, {}).permitted
    assert policy.decide(having("r"), good, {}).permitted


@settings(max_examples=100, deadline=None)
@given(name=st.text(alphabet=st.characters(), max_size=40))
def test_only_the_exact_name_is_permitted_whatever_else_is_offered(name: str, tmp_path_factory):
    folder = tmp_path_factory.mktemp("p")
    (folder / "roles").mkdir()
    (folder / "roles" / "r.yaml").write_text(ROLE)
    policy = PolicyEngine(folder)
    targets = [tool("a__get"), *([tool(name)] if name != "a__get" else [])]
    policy.retarget(targets)
    assert [t.name for t in policy.visible(having("r"), targets)] == ["a__get"]


def test_a_name_that_is_no_unicode_text_takes_only_itself_out_of_reach(folder):
    (folder / "roles" / "r.yaml").write_text('role: r\nallow:\n  - tools: ["*"]\n')
    policy = PolicyEngine(folder)
    good, bad, worse = tool("a__get"), tool("\ud800"), tool("b", labels=frozenset({"\udfff"}))
    policy.retarget([good, bad, worse])
    assert policy.visible(having("r"), [good, bad, worse]) == [good]
    assert not policy.decide(having("r"), bad, {}).permitted


def test_two_targets_of_one_name_are_both_refused_for_nobody_knows_which_is_meant(folder):
    policy = PolicyEngine(folder)
    targets = [tool("a__get"), tool("a__get", labels=frozenset({"money"}))]
    policy.retarget(targets)
    assert policy.visible(having("r"), targets) == []


def test_a_template_does_not_take_on_the_permission_of_a_resource_of_the_same_name(folder):
    rule = '@id("x") @reason("r") permit (principal, action, resource == Resource::"kb://a");'
    (folder / "rules" / "x.cedar").write_text(rule)
    policy = PolicyEngine(folder)
    resource, template = tool("kb://a", kind=Kind.RESOURCE), tool("kb://a", kind=Kind.TEMPLATE)
    policy.retarget([resource, template])
    assert policy.visible(having(), [resource, template]) == [resource]


def test_a_target_that_the_engine_was_not_told_of_is_refused_even_to_a_role_that_may_everything(folder):
    (folder / "roles" / "r.yaml").write_text('role: r\nallow:\n  - tools: ["*"]\n')
    policy = PolicyEngine(folder)
    stranger = tool("a__get", labels=frozenset({"money"}))
    assert not policy.decide(having("r"), stranger, {}).permitted
    policy.retarget([tool("a__other")])
    assert not policy.decide(having("r"), stranger, {}).permitted
    assert not policy.sees(having("r"), stranger)


def test_a_forbid_that_cannot_be_evaluated_refuses_although_cedar_would_allow(folder):
    """Cedar skips a rule that overflows; the same question put to Cedar alone is answered `Allow`."""
    rule = '@id("cap") @reason("r") forbid (principal, action == Action::"call", resource) when { resource.price * 9223372036854775807 > 5 };'
    (folder / "rules" / "cap.cedar").write_text(rule)
    policy = PolicyEngine(folder)
    free, dear = tool("a__get"), tool("a__get", price=3)
    policy.retarget([free])
    assert policy.decide(having("r"), free, {}).permitted
    policy.retarget([dear])
    decision = policy.decide(having("r"), dear, {})
    assert [b.rule for b in decision.because] == ["error"]
    (folder / "rules" / "cap.cedar").write_text(rule.replace('action == Action::"call"', "action"))
    policy.reload()
    assert not policy.sees(having("r"), dear)
    assert [b.rule for b in policy.decide(having("r"), dear, {}).because] == ["error"]


def test_an_error_in_a_rule_about_one_actor_refuses_the_whole_chain(folder):
    rule = '@id("cap") @reason("r") forbid (principal in Team::"red", action, resource) when { resource.price * 9223372036854775807 > 5 };'
    (folder / "rules" / "cap.cedar").write_text(rule)
    policy = PolicyEngine(folder)
    dear = tool("a__get", price=3)
    policy.retarget([dear])
    assert policy.decide(having("r"), dear, {}).permitted
    assert not policy.decide(chain(agent("ann", "r"), agent("bob", "r", team="red")), dear, {}).permitted


def test_a_question_that_cedar_cannot_read_is_no_decision_and_counts_as_failed():
    policies = cedarpy.PolicySet.from_str('@id("all") permit (principal, action, resource);')
    entities = cedarpy.Entities.from_json_str(json.dumps([]))
    question = {
        "principal": {"type": "Agent", "id": "a"},
        "action": {"type": "Action", "id": "call"},
        "resource": {"type": "Tool", "id": "t"},
        "context": "{",
    }
    (answer,) = cedar.ask([question], policies, entities)
    assert (answer.allowed, answer.failed) == (False, True)


def test_an_agent_whose_names_cedar_cannot_read_is_refused_and_nothing_breaks(folder):
    policy = PolicyEngine(folder)
    get = tool("a__get")
    policy.retarget([get])
    assert not policy.decide(having("r", "\ud800"), get, {}).permitted
    assert policy.visible(having("r", organisation="\ud800"), [get]) == []


def test_roles_and_names_differ_by_case(folder):
    policy = PolicyEngine(folder)
    get, shouted = tool("a__get"), tool("A__GET")
    policy.retarget([get, shouted])
    assert policy.visible(having("r"), [get, shouted]) == [get]
    assert policy.visible(having("R"), [get, shouted]) == []


def test_targets_that_look_alike_to_roles_are_judged_apart_where_a_rule_names_one(folder):
    (folder / "roles" / "r.yaml").write_text('role: r\nallow:\n  - tools: ["*"]\n')
    rule = '@id("x") @reason("r") forbid (principal, action, resource) when { resource == Tool::"a__wipe" };'
    (folder / "rules" / "x.cedar").write_text(rule)
    policy = PolicyEngine(folder)
    targets = [tool(f"a__{name}", effect=SideEffect.READS) for name in ("get", "wipe", "list")]
    policy.retarget(targets)
    assert [t.name for t in policy.visible(having("r"), targets)] == ["a__get", "a__list"]


def test_agents_that_share_their_roles_are_judged_apart_where_a_rule_names_one(folder):
    rule = '@id("x") @reason("r") forbid (principal, action, resource) when { principal == Agent::"eve" };'
    (folder / "rules" / "x.cedar").write_text(rule)
    policy = PolicyEngine(folder)
    get = tool("a__get")
    policy.retarget([get])
    assert policy.decide(chain(agent("ann", "r")), get, {}).permitted
    assert not policy.decide(chain(agent("eve", "r")), get, {}).permitted


def test_a_rule_whose_effect_is_commented_out_by_accident_is_not_silently_dropped(folder):
    (folder / "rules" / "x.cedar").write_text(
        '@id("x") @reason("r") // forbid (principal, action, resource);\n'
    )
    with pytest.raises(ConfigurationError, match=r"x\.cedar:1: not Cedar"):
        PolicyEngine(folder)
