"""On which terms a call is permitted, who has to agree to it, and what shadow rules would change."""

from dataclasses import replace

import pytest

from broker.errors import ConfigurationError
from broker.model import Argument, MicroUSD, Role, Situation
from broker.policy.engine import PolicyEngine
from broker.policy.interface import Consent, Obligations
from broker.policy.load import load_sources
from broker.policy.terms import strictest
from tests.unit.policy.people import agent, chain, having, tool

TOOLS = "tools:\n  - match: crm__refund\n    arguments: {amount: {scale: 2, role: amount}, to: {}}\n"
REFUND = replace(
    tool("crm__refund", labels=frozenset({"money"})),
    arguments=(Argument("amount", "amount", 2, Role.AMOUNT), Argument("to", "to")),
)
SUPPORT = """role: support
allow:
  - tools: [crm__refund]
    when: amount <= 50
    obligations: {max_cost_usd: "0.05", redact: [customer.email]}
approve:
  - tools: [crm__refund]
    when: amount > 50 and amount <= 500
    approver: team-lead
"""
CLERK = """role: clerk
allow:
  - tools: ["crm__*"]
    obligations: {max_cost_usd: "0.0100005", redact: [note, "log.*"], watermark: true}
"""
CAREFUL = 'role: careful\nallow:\n  - tools: ["*"]\n    obligations: {approval: boss}\n'
FORBID = """@id("big") @reason("above 100 a lead agrees") @approval("lead")
forbid (principal, action == Action::"call", resource in Label::"money")
when { context.num has amount && context.num.amount > 10000 };
"""


@pytest.fixture
def desk(engine):
    """An engine over some roles and rules that knows one tool."""

    def desk(*roles: str, rules: str = ""):
        files = {f"roles/{n}.yaml": text for n, text in enumerate(roles)} | {"tools/t.yaml": TOOLS}
        policy = engine(files | ({"rules/x.cedar": rules} if rules else {}))
        policy.retarget([REFUND])
        return policy

    return desk


def asks(amount: object, **more: object):
    return {"arguments": {"amount": amount, **more}}


def test_the_strictest_term_of_all_that_permit_the_call_counts(desk):
    policy = desk(SUPPORT, CLERK)
    alone = policy.decide(having("support"), REFUND, asks(5))
    assert alone.obligations == Obligations(MicroUSD(50_000), frozenset({"customer.email"}))
    both = Obligations(MicroUSD(10_000), frozenset({"customer.email", "note", "log.*"}), watermark=True)
    assert policy.decide(having("support", "clerk"), REFUND, asks(5)).obligations == both
    together = chain(agent("ann", "support"), agent("bob", "clerk"))
    assert policy.decide(together, REFUND, asks(5)).obligations == both
    assert strictest([]) == Obligations()


def test_a_hard_permit_has_terms_too(desk):
    rule = """@id("x") @reason("r") @max_cost_usd("0.5") @redact("a.b, c") @watermark
    permit (principal, action, resource);"""
    decision = desk(rules=rule).decide(having(), REFUND, asks(5))
    assert decision.obligations == Obligations(MicroUSD(500_000), frozenset({"a.b", "c"}), watermark=True)


def test_a_call_that_a_human_may_permit_lists_who_and_is_permitted_once_they_agree(desk):
    policy = desk(SUPPORT)
    asked = policy.decide(having("support"), REFUND, asks(60))
    assert not asked.permitted
    assert [(c.rule, c.approver) for c in asked.consents] == [("support/approve/1", "team-lead")]
    assert "a `team-lead` has to agree" in asked.hint
    agreed = Situation(approved=frozenset({"support/approve/1"}))
    assert policy.decide(having("support"), REFUND, asks(60), agreed).permitted
    assert not policy.decide(having("support"), REFUND, asks(60)).permitted
    for beyond in (Situation(), agreed):
        refused = policy.decide(having("support"), REFUND, asks(501), beyond)
        assert (refused.permitted, refused.consents) == (False, ())


def test_everybody_whose_agreement_is_missing_is_listed_and_nobody_else(desk):
    policy = desk(SUPPORT, CLERK, rules=FORBID)
    principal = having("support")
    wanted = ["support/approve/1", "big"]
    assert [c.rule for c in policy.decide(principal, REFUND, asks(150)).consents] == wanted
    half = Situation(approved=frozenset({"big"}))
    assert [c.rule for c in policy.decide(principal, REFUND, asks(150), half).consents] == wanted[:1]
    whole = Situation(approved=frozenset(wanted))
    assert policy.decide(principal, REFUND, asks(150), whole).permitted
    clerk_too = having("support", "clerk")
    assert [c.rule for c in policy.decide(clerk_too, REFUND, asks(150)).consents] == ["big"]


def test_where_agreeing_would_not_help_both_the_guardrail_and_the_missing_permit_are_named(desk):
    decision = desk(SUPPORT, rules=FORBID).decide(having("support"), REFUND, asks(501))
    assert decision.consents == ()
    assert [b.rule for b in decision.because] == [
        "big",
        "default",
        "support/allow/1",
        "support/approve/1",
    ]


def test_an_obligation_to_ask_binds_whatever_else_permits_the_call(desk):
    policy = desk(CAREFUL, CLERK)
    asked = policy.decide(having("careful", "clerk"), REFUND, asks(1))
    text = "policies/roles/0.yaml:3 role `careful` allows tools *"
    assert (asked.permitted, asked.consents) == (False, (Consent("careful/allow/1", "boss", text),))
    agreed = Situation(approved=frozenset({"careful/allow/1"}))
    assert policy.decide(having("careful", "clerk"), REFUND, asks(1), agreed).permitted
    assert policy.decide(having("clerk"), REFUND, asks(1)).permitted


def test_an_obligation_to_ask_and_a_forbid_are_asked_for_at_once(desk):
    policy = desk(CAREFUL, rules=FORBID)
    asked = policy.decide(having("careful"), REFUND, asks(101))
    assert {c.rule for c in asked.consents} == {"careful/allow/1", "big"}
    agreed = Situation(approved=frozenset({"careful/allow/1", "big"}))
    assert policy.decide(having("careful"), REFUND, asks(101), agreed).permitted


def test_each_actor_of_a_chain_needs_its_own_agreement(desk):
    policy = desk(SUPPORT, CAREFUL)
    both = chain(agent("ann", "support"), agent("bob", "careful"))
    rules = {"support/approve/1", "careful/allow/1"}
    assert {c.rule for c in policy.decide(both, REFUND, asks(60)).consents} == rules
    assert not policy.decide(both, REFUND, asks(60), Situation(approved=frozenset(list(rules)[:1]))).permitted
    assert policy.decide(both, REFUND, asks(60), Situation(approved=frozenset(rules))).permitted


def test_a_hard_permit_with_approval_permits_only_what_somebody_has_agreed_to(desk):
    rule = '@id("x") @reason("r") @approval("boss") permit (principal, action, resource);'
    policy = desk(rules=rule)
    assert policy.sees(having(), REFUND)
    assert [c.rule for c in policy.decide(having(), REFUND, asks(1)).consents] == ["x"]
    assert policy.decide(having(), REFUND, asks(1), Situation(approved=frozenset({"x"}))).permitted


def test_a_list_is_judged_item_by_item_and_one_item_is_enough_to_refuse(desk):
    rule = '@id("out") @reason("r") forbid (principal, action == Action::"call", resource) when { context.str has to && context.str.to like "*@evil" };'
    policy = desk(CLERK, rules=rule)
    inside, mixed = ["a@us", "b@us"], ["a@us", "b@evil"]
    assert policy.decide(having("clerk"), REFUND, asks(1, to=inside)).permitted
    assert [b.rule for b in policy.decide(having("clerk"), REFUND, asks(1, to=mixed)).because] == ["out"]
    crowd = policy.decide(having("clerk"), REFUND, asks(1, to=[f"{n}@us" for n in range(65)]))
    assert (crowd.permitted, crowd.because[0].rule) == (False, "argument")


def test_too_many_combinations_of_lists_are_refused_and_not_sampled(desk):
    rule = '@id("x") @reason("r") forbid (principal, action == Action::"call", resource) when { context.num has amount && context.str has to && context.num.amount > 10000 && context.str.to == "b" };'
    policy = desk(CLERK, rules=rule)
    many = policy.decide(having("clerk"), REFUND, asks(list(range(9)), to=list("abcdefgh")))
    assert (many.permitted, many.because[0].rule) == (False, "argument")
    assert "combinations" in many.because[0].text


SHADOW = (
    '@id("new") @reason("r") @mode("shadow") {effect} (principal, action == Action::"call", resource) {when};'
)


def test_a_shadow_rule_never_decides_and_what_it_would_change_is_told(desk):
    when = "when { context.num has amount && context.num.amount > 1000 }"
    policy = desk(CLERK, rules=SHADOW.format(effect="forbid", when=when))
    for _ in range(2):
        small, large = (policy.decide(having("clerk"), REFUND, asks(n)) for n in (10, 11))
        assert (small.permitted, small.shadow) == (True, None)
        assert large.permitted
        assert (large.shadow.permitted, [b.rule for b in large.shadow.because]) == (False, ["new"])


def test_a_shadow_permit_lets_nobody_do_anything(desk):
    policy = desk(SUPPORT, rules=SHADOW.format(effect="permit", when=""))
    refused = policy.decide(having("support"), REFUND, asks(501))
    assert (refused.permitted, refused.shadow.permitted) == (False, True)
    assert not policy.sees(having(), REFUND)


def test_a_shadow_rule_that_cannot_be_evaluated_refuses_nothing_and_is_told(desk):
    when = "when { context.num has amount && context.num.amount * 9223372036854775807 > 0 }"
    decision = desk(CLERK, rules=SHADOW.format(effect="forbid", when=when)).decide(
        having("clerk"), REFUND, asks(5)
    )
    assert decision.permitted
    assert [b.rule for b in decision.shadow.because] == ["error"]


def test_every_rule_tells_about_every_actor_whether_it_holds(desk):
    policy = desk(SUPPORT, CLERK, rules=FORBID + SHADOW.format(effect="forbid", when=""))
    traces = policy.explain(chain(agent("ann", "support"), agent("bob", "clerk")), REFUND, asks(150))
    told = {(t.actor.id, t.rule.id): (t.applies, t.holds) for t in traces}
    assert told == {
        ("ann", "support/allow/1"): (True, False),
        ("ann", "support/approve/1"): (True, False),
        ("ann", "clerk/allow/1"): (False, False),
        ("ann", "big"): (True, True),
        ("ann", "new"): (True, True),
        ("bob", "support/allow/1"): (False, False),
        ("bob", "support/approve/1"): (False, False),
        ("bob", "clerk/allow/1"): (True, True),
        ("bob", "big"): (True, True),
        ("bob", "new"): (True, True),
    }


@pytest.mark.parametrize(
    ("rule", "message", "hint"),
    [
        (
            '@id("a") @reason("r") @aproval("b") forbid (principal, action, resource);',
            "1: unknown annotation `@aproval`",
            "did you mean `approval`?",
        ),
        (
            '@id("a") @reason("r") @approval("b") forbid (principal, action, resource);',
            "1: a human agrees to calls",
            'action == Action::"call"',
        ),
        (
            '@id("a") @reason("r") @approval("b c") forbid (principal, action == Action::"call", resource);',
            "1: `b c` is not a role",
            None,
        ),
        (
            '@id("a") @reason("r") @mode("shadwo") forbid (principal, action, resource);',
            "1: `shadwo` is not a mode",
            None,
        ),
        (
            '@id("a") @reason("r") @redact("b") forbid (principal, action, resource);',
            "1: `@redact` is a term of a permit",
            None,
        ),
        (
            '@id("a") @reason("r") @max_cost_usd("x") permit (principal, action, resource);',
            "1: `x` is not an amount of money",
            None,
        ),
        ('@id("a) b") @reason("r") permit (principal, action, resource);', "1: `a) b` is not an id", None),
        (
            '@id("a") @reason("r")\nforbid (principal, action, resource)\nwhen { context.taint.contains("x") };',
            "3: attribute `taint`",
            'write `action == Action::"call"`',
        ),
        (
            '@id("a") @reason("r")\nforbid (principal, action == Action::"call", resource)\nwhen { context.num.amount > 5 };',
            "3: ",
            None,
        ),
    ],
)
def test_a_mistake_in_the_terms_of_a_rule_is_named_with_its_line(write, rule, message, hint):
    folder = write({"rules/x.cedar": rule, "tools/t.yaml": TOOLS})
    with pytest.raises(ConfigurationError) as error:
        PolicyEngine(folder)
    assert error.value.message.startswith(f"policies/rules/x.cedar:{message}")
    if hint:
        assert hint in error.value.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("allow: []\napprove:\n  - tools: [a]\n", "4: `approver` is missing"),
        ("allow: []\napprove:\n  - tools: [a]\n    approver: 'a b'\n", "5: `a b` is not a name for a role"),
        (
            "allow: []\napprove:\n  - tools: [a]\n    approver: b\n    obligations: {approval: c}\n",
            "6: an `approve` entry has its `approver`",
        ),
        ("allow:\n  - tools: [a]\n    approver: b\n", "4: unknown key `approver`"),
        ("allow:\n  - tools: [a]\n    obligations: {max_cost: 5}\n", "4: unknown key `max_cost`"),
        ("allow:\n  - tools: [a]\n    obligations: {max_cost_usd: 5}\n", "4: `5` (int) where a text belongs"),
        (
            "allow:\n  - tools: [a]\n    obligations: {max_cost_usd: '-1'}\n",
            "4: `-1` is not an amount of money",
        ),
        ("allow:\n  - tools: [a]\n    obligations: {redact: ['a..b']}\n", "4: `a..b` is not a path"),
        (
            "allow:\n  - tools: [a]\n    obligations: {watermark: 'yes'}\n",
            "4: a text where `true` or `false` belongs",
        ),
        ("allow:\n  - tools: [a]\n    whn: depth == 0\n", "4: unknown key `whn`"),
    ],
)
def test_a_mistake_in_the_terms_of_a_role_is_named_with_its_line(write, text, message):
    with pytest.raises(ConfigurationError) as error:
        load_sources(write({"roles/x.yaml": f"role: r\n{text}"}))
    assert error.value.message.startswith(f"policies/roles/x.yaml:{message}")
