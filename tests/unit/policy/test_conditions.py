"""What an operator can write behind `when`, what Cedar makes of it, and how mistakes are answered."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.errors import ConfigurationError
from broker.model import Argument, Origin, Role, Situation
from broker.policy import cedar
from broker.policy.engine import PolicyEngine
from tests.unit.policy.people import agent, chain, having, tool

TOOLS = """tools:
  - match: crm__refund
    arguments:
      amount: {scale: 2, role: amount}
      region: {}
      to: {path: mail.to, role: destination}
"""
ARGUMENTS = (
    Argument("amount", "amount", 2, Role.AMOUNT),
    Argument("region", "region"),
    Argument("to", "mail.to", None, Role.DESTINATION),
)
REFUND = replace(tool("crm__refund"), arguments=ARGUMENTS)
HOUR = 13


def role(condition: str) -> str:
    quoted = condition.replace('"', '\\"')
    return f'role: r\nallow:\n  - tools: [crm__refund]\n    when: "{quoted}"\n'


@pytest.fixture
def under(write):
    def under(condition):
        policy = PolicyEngine(
            write({"roles/r.yaml": role(condition), "tools/t.yaml": TOOLS}), clock=lambda: HOUR * 3600.0
        )
        policy.retarget([REFUND])
        return policy

    return under


HOLDS = [
    ("amount <= 50", {"amount": 50}, {"amount": 50.01}),
    ("amount > 49.5", {"amount": 49.51}, {"amount": 49.5}),
    ("amount == -1", {"amount": -1}, {"amount": 1}),
    ("amount in [1, 2.5]", {"amount": 2.5}, {"amount": 2}),
    ("region in ['eu', 'uk']", {"region": "uk"}, {"region": "us"}),
    ("region == 'eu'", {"region": "eu"}, {"region": "EU"}),
    ("region != 'eu'", {"region": "us"}, {}),
    ("not region like 'e*'", {"region": "us"}, {}),
    ("to like '*@acme.example'", {"mail": {"to": "a@acme.example"}}, {"mail": {"to": "a@acme.example.evil"}}),
    (
        "to like '*@acme.example'",
        {"mail": {"to": ["a@acme.example"]}},
        {"mail": {"to": ["a@acme.example", "b@evil"]}},
    ),
    ("amount < 5 or region == 'eu'", {"amount": 9, "region": "eu"}, {"amount": 1}),
    ("not (amount < 5 or amount > 9) and region == 'a\\\\\"*'", None, {"amount": 7, "region": "a"}),
]


@pytest.mark.parametrize(("condition", "yes", "no"), HOLDS)
def test_a_condition_on_arguments_decides_call_by_call(under, condition, yes, no):
    policy = under(condition)
    for _ in range(2):  # the second time from what is remembered
        if yes is not None:
            assert policy.decide(having("r"), REFUND, {"arguments": yes}).permitted
        assert not policy.decide(having("r"), REFUND, {"arguments": no}).permitted


SITUATIONS = [
    ("depth == 0", Situation(), chain(agent("a", "r"), agent("b", "r"))),
    ("attestation >= 1", Situation(), None),
    ("hour >= 9 and hour < 17", Situation(), None),
    ("trust >= 600", Situation(trust=600), Situation(trust=599)),
    ("not taint contains 'pii'", Situation(taint=frozenset({"x"})), Situation(taint=frozenset({"pii", "x"}))),
    ("counters.calls <= 3", Situation(counters={"calls": 3}), Situation(counters={"calls": 4})),
    (
        "sums.amount <= 500",
        Situation(counters={"sum.amount": 50000}),
        Situation(counters={"sum.amount": 50001}),
    ),
    ("distinct.to < 2", Situation(counters={"distinct.to": 1}), Situation(counters={"distinct.to": 2})),
    (
        "provenance.to in ['task', 'trusted']",
        Situation(provenance={"to": Origin.TASK}),
        Situation(provenance={"to": Origin.UNTRUSTED}),
    ),
    ("provenance.to == 'unseen'", Situation(), Situation(provenance={"to": Origin.TRUSTED})),
]


@pytest.mark.parametrize(("condition", "yes", "no"), SITUATIONS)
def test_a_condition_on_the_situation_decides_moment_by_moment(under, condition, yes, no):
    policy, params = under(condition), {"arguments": {"mail": {"to": "x"}}}
    for _ in range(2):
        assert policy.decide(having("r"), REFUND, params, yes).permitted
        if isinstance(no, Situation):
            assert not policy.decide(having("r"), REFUND, params, no).permitted
        elif no is not None:
            assert not policy.decide(no, REFUND, params, yes).permitted


@pytest.mark.parametrize(
    ("condition", "message", "hint"),
    [
        ("amonut <= 5", "nothing declares `amonut`", "did you mean `amount`?"),
        ("amount <= 'x'", "`'x'` where a number belongs", None),
        ("region <= 5", "`<=` cannot be asked of a text", "texts: =="),
        ("region == eu", "`eu` where a text belongs", "put texts in quotes"),
        ("amount like '5*'", "`like` cannot be asked of a number", "numbers: =="),
        ("taint in ['pii']", "`in` cannot be asked of labels", "labels: `taint contains 'pii'`"),
        ("amount <= 0.001", "`0.001` is finer than what it is compared with", "2 decimal places"),
        ("amount <= 99999999999999999999", "is too large", None),
        ("provenance.to == 'untrustd'", "`untrustd` is not possible here", "did you mean `untrusted`?"),
        ("amount <= 5 region == 'eu'", "`region` is too much", "join comparisons"),
        ("amount <=", "the condition ends where a value belongs", None),
        ("amount", "the condition ends where a comparison belongs", None),
        ("(amount <= 5", "`the end` where `)` belongs", None),
        ("amount in [1 2]", "`2` where `]` belongs", None),
        ("5 <= amount", "`5` where a name belongs", "`amount <= 50`"),
        ("and", "`and` where a name belongs", None),
        ("amount <= 5; permit", "`; permit` cannot be read here", None),
        ("amount <= 5 // x", "`// x` cannot be read here", None),
        ("not " * 40 + "amount <= 5", "is nested too deeply", None),
        ("amount <= 5" + " " * 2000, "at most 2000 characters", None),
        ("region == 'a\\u0001'", "holds a control character", None),
    ],
)
def test_a_mistake_in_a_condition_is_named_with_file_line_and_what_may_be_meant(
    under, condition, message, hint
):
    with pytest.raises(ConfigurationError) as error:
        under(condition)
    assert error.value.message.startswith("policies/roles/r.yaml:4: ")
    assert message in error.value.message
    if hint:
        assert hint in error.value.hint


_NUMBERS = st.sampled_from(["amount", "depth", "trust", "hour", "counters.calls", "sums.amount"])
_TEXTS = st.sampled_from(["region", "to", "task", "provenance.to"])
_LITERAL = st.text('aZ9*\\"-@.;{}()/#: é漢😀', max_size=6)
_COMPARISONS = st.one_of(
    st.builds(
        lambda n, o, v: f"{n} {o} {v}", _NUMBERS, st.sampled_from(["==", "<", ">="]), st.integers(-9, 99)
    ),
    st.builds(lambda n, v: f"{n} like '{v}'", _TEXTS, _LITERAL),
    st.builds(lambda v: f"region in ['{v}']", _LITERAL),
    st.builds(lambda v: f"taint contains '{v}'", _LITERAL),
)
_CONDITIONS = st.recursive(
    _COMPARISONS,
    lambda inner: st.one_of(
        st.builds(lambda a, b: f"{a} and {b}", inner, inner),
        st.builds(lambda a, b: f"({a} or {b})", inner, inner),
        st.builds(lambda a: f"not ({a})", inner),
    ),
    max_leaves=5,
)


@settings(max_examples=80, deadline=None)
@given(condition=_CONDITIONS)
def test_whatever_can_be_written_becomes_one_policy_that_fits_the_schema(condition, tmp_path_factory):
    folder = tmp_path_factory.mktemp("policies")
    for name, text in {"roles/r.yaml": "", "tools/t.yaml": TOOLS}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    escaped = condition.replace("\\", "\\\\").replace('"', '\\"')
    (folder / "roles" / "r.yaml").write_text(role("X").replace('"X"', f'"{escaped}"'))
    policy = PolicyEngine(folder)
    (rule,) = policy.rules
    assert cedar.misfit(rule.cedar, policy._now.compiled.schema) is None


def test_the_compiled_rule_can_be_read(under):
    (rule,) = under("amount <= 49.90 and region in ['eu', 'uk']").rules
    assert rule.cedar == (
        '@id("r/allow/1")\npermit (\n  principal in Role::"r",\n'
        '  action in [Action::"call", Action::"list"],\n  resource in Selection::"r/allow/1"\n)\n'
        'when { action == Action::"list" || (context.num has amount && context.str has region && '
        '((context.num.amount <= 4990 && ["eu", "uk"].contains(context.str.region)))) };'
    )


def test_a_tool_stays_listed_whatever_its_condition_and_the_refusal_says_what_would_be_permitted(under):
    policy = under("amount <= 50")
    assert policy.visible(having("r"), [REFUND]) == [REFUND]
    decision = policy.decide(having("r"), REFUND, {"arguments": {"amount": 51}})
    assert [(b.rule, b.text) for b in decision.because] == [
        ("default", "no role of `ann` (roles: r) permits `crm__refund`"),
        ("r/allow/1", "policies/roles/r.yaml:3 role `r` allows tools crm__refund when amount <= 50"),
    ]
