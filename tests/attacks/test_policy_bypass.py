"""Threat: a call is permitted that no policy permits, or an upstream writes policy by what it offers."""

import json
from dataclasses import replace
from pathlib import Path

import cedarpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.errors import ConfigurationError
from broker.model import Argument, Kind, Origin, Role, SideEffect, Situation
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


PAY_TOOLS = """tools:
  - match: bank__pay
    labels: [money]
    arguments: {amount: {scale: 2, role: amount}, to: {role: destination}}
"""
PAY = replace(
    tool("bank__pay", labels=frozenset({"money"})),
    arguments=(Argument("amount", "amount", 2, Role.AMOUNT), Argument("to", "to", None, Role.DESTINATION)),
)
CAP = '@id("cap") @reason("r") forbid (principal, action == Action::"call", resource in Label::"money") when { context.num has amount && context.num.amount > 10000 };'
ORIGIN = '@id("origin") @reason("r") forbid (principal, action == Action::"call", resource) when { context.provenance has to && context.provenance.to != "task" };'


@pytest.fixture
def bank(folder):
    """A bank that lets a role pay, under some hard rules."""

    def bank(*rules: str) -> PolicyEngine:
        (folder / "roles" / "r.yaml").write_text('role: r\nallow:\n  - tools: ["*"]\n')
        (folder / "tools").mkdir(exist_ok=True)
        (folder / "tools" / "bank.yaml").write_text(PAY_TOOLS)
        (folder / "rules" / "x.cedar").write_text("\n".join(rules))
        policy = PolicyEngine(folder)
        policy.retarget([PAY])
        return policy

    return bank


def pays(policy: PolicyEngine, situation: Situation = Situation(), **arguments: object) -> bool:  # noqa: B008
    return policy.decide(having("r"), PAY, {"arguments": arguments}, situation).permitted


@pytest.mark.parametrize(
    "amount",
    [100.01, "100.02", "1e9", "0x7fffffff", "9999999", [1, 101], [[101]], 1e400, 100.001, True, {"value": 1}, 2**80, -(2**80)],
)  # fmt: skip
def test_no_spelling_of_an_amount_gets_past_a_limit_on_it(bank, amount):
    policy = bank(CAP)
    assert pays(policy, amount=100)
    assert not pays(policy, amount=amount)


def test_an_amount_just_below_a_limit_is_not_lifted_over_it_by_an_answer_that_was_kept(bank):
    policy = bank(CAP)
    for _ in range(3):
        assert pays(policy, amount=100)
        assert not pays(policy, amount=100.01)
        assert pays(policy, amount="100.00")


@settings(max_examples=60, deadline=None)
@given(amounts=st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=4), data=st.data())
def test_what_is_kept_of_one_call_is_never_the_answer_to_another(amounts, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("p")
    for name, text in {
        "roles/r.yaml": "role: r\nallow:\n  - tools: ['*']\n    when: amount <= 100 or taint contains 'ok'\n",
        "rules/x.cedar": CAP.replace("10000", "50000") + ORIGIN,
        "tools/t.yaml": PAY_TOOLS,
    }.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    policy = PolicyEngine(folder)
    policy.retarget([PAY])
    for amount in (*amounts, *amounts):
        origin = data.draw(st.sampled_from(Origin))
        taint = data.draw(st.frozensets(st.sampled_from(["ok", "pii"])))
        there = data.draw(st.booleans())
        situation = Situation(taint=taint, provenance={"to": origin})
        arguments = {"amount": amount} | ({"to": "x"} if there else {})
        expected = (amount <= 100 or "ok" in taint) and amount <= 500
        expected = expected and (not there or origin is Origin.TASK)
        assert pays(policy, situation, **arguments) is expected


def test_where_nobody_says_where_a_destination_comes_from_it_counts_as_unseen(bank):
    policy = bank(ORIGIN)
    assert pays(policy, Situation(provenance={"to": Origin.TASK}), to="x")
    assert not pays(policy, Situation(), to="x")
    by_role = ORIGIN.replace(
        'context.provenance has to && context.provenance.to != "task"',
        'context.destinations.contains("unseen")',
    )
    assert not pays(bank(by_role), Situation(), to="x")


def test_one_bad_item_hidden_in_a_long_list_is_found_or_the_list_is_refused(bank):
    policy = bank(
        '@id("x") @reason("r") forbid (principal, action == Action::"call", resource) when { context.str has to && context.str.to like "*@evil" };'
    )
    for length in (1, 40, 63, 64, 200):
        assert not pays(policy, to=[*(f"a{n}@us" for n in range(length)), "b@evil"])
    assert pays(policy, to=[f"a{n}@us" for n in range(64)])


def test_a_rule_on_a_label_holds_for_what_has_it_also_when_it_was_judged_without_before(bank):
    policy = bank(
        '@id("x") @reason("r") forbid (principal, action == Action::"call", resource in Label::"money");'
    )
    assert not pays(policy, amount=1)
    bare = replace(PAY, labels=frozenset())
    policy.retarget([bare])
    assert policy.decide(having("r"), bare, {}).permitted
    assert not policy.decide(having("r"), PAY, {}).permitted  # the stale object is unknown, not unlabelled
    policy.retarget([PAY])
    assert not pays(policy, amount=1)


def test_a_rule_that_would_read_what_the_context_may_lack_is_not_loaded(bank):
    for missing in (
        "context.num.amount > 5",
        'context.provenance.to == "task"',
        'context.task == "x"',
        "resource.min_trust > 5",
    ):
        rule = f'@id("x") @reason("r") forbid (principal, action == Action::"call", resource) when {{ {missing} }};'
        with pytest.raises(ConfigurationError, match=r"x\.cedar:1: "):
            bank(rule)


def test_consent_to_one_rule_is_no_consent_to_another_nor_to_what_no_rule_asks_for(bank):
    ask = CAP.replace("forbid", '@approval("boss")\nforbid')
    policy = bank(ask, ask.replace('"cap"', '"cap2"'))
    for approved in ({"cap"}, {"cap2"}, {"*"}, {"r/allow/1"}, {"CAP", "cap2"}):
        assert not pays(policy, Situation(approved=frozenset(approved)), amount=101)
    assert pays(policy, Situation(approved=frozenset({"cap", "cap2"})), amount=101)
    assert not pays(policy, amount=101)


def test_a_policy_set_that_fails_while_it_is_asked_permits_nothing(bank, monkeypatch):
    policy = bank()

    def broken(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(cedar, "ask", broken)
    decision = policy.decide(having("r"), PAY, {"arguments": {}})
    assert (decision.permitted, decision.consents) == (False, ())
    assert policy.visible(having("r"), [PAY]) == []
