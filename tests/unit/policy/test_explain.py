"""Why: its verdict is the engine's own, and what it says of each rule is what Cedar says of it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.catalog.facts import load_facts
from broker.catalog.known import supposed
from broker.model import Attestation, Kind, Origin, Situation
from broker.policy.engine import PolicyEngine
from broker.policy.explain import Says, explain
from broker.policy.question import Question, Verdict, chain_of, hypothetical, params_of, verdict_on

ROLES = {
    "roles/clerk.yaml": """\
role: clerk
allow:
  - tools: [bank__pay]
    when: amount <= 50 and region in ['eu', 'uk']
    obligations: {max_cost_usd: "0.05"}
  - tools: ["time__*"]
approve:
  - tools: [bank__pay]
    when: amount > 50
    approver: lead
""",
    "roles/boss.yaml": 'role: boss\nallow:\n  - tools: ["*"]\n',
    "tools/bank.yaml": """\
tools:
  - match: bank__pay
    labels: [money]
    arguments: {amount: {scale: 2, role: amount}, region: {}, to: {role: destination}}
""",
    "rules/x.cedar": """\
@id("tainted") @reason("it has read what anybody may have written") @approval("lead")
forbid (principal, action == Action::"call", resource in Label::"money")
when { context.taint.contains("untrusted-source") && resource.side_effect != "reads" };
@id("far") @reason("too far down") forbid (principal, action == Action::"call", resource)
when { context.depth > 1 } unless { principal.attestation > 1 };
@id("night") @reason("at night nothing is paid")
forbid (principal in Role::"clerk", action == Action::"call", resource == Tool::"bank__pay")
when { context.hour < 6 };
@id("would-be") @reason("tried out") @mode("shadow") forbid (principal, action, resource in Label::"money");
@id("hidden") @reason("not for them") forbid (principal in Team::"red", action, resource in Connector::"time");
""",
}


class Bench:
    """The policies above, and questions to them."""

    def __init__(self, folder) -> None:
        self.hour = 12
        self.facts = load_facts(folder)
        self.engine = PolicyEngine(folder, clock=lambda: self.hour * 3600.0)

    def ask(self, actors, name="bank__pay", arguments=None, hour=12, **situation):
        target = supposed(Kind.TOOL, name, self.facts)
        params = params_of(target, arguments if arguments is not None else {"amount": 10, "region": "eu"})
        question = Question(chain_of(actors), target, params, Situation(**situation), hour)
        self.engine.retarget([target])
        self.hour = hour
        return explain(self.engine, question)


@pytest.fixture
def bench(write) -> Bench:
    return Bench(write(ROLES))


def who(*roles, name="ann", **more):
    return hypothetical(name, frozenset(roles), **more)


def said(explained, rule):
    (word,) = [word for word in explained.words if word.rule.id == rule]
    return word.says, word.why


def test_a_condition_that_is_not_met_is_named_with_the_value_that_was_there(bench):
    explained = bench.ask([who("clerk")], arguments={"amount": "75.5", "region": "us"})
    assert said(explained, "clerk/allow/1") == (
        Says.ASIDE,
        "`context.num.amount <= 5000` is not so (context.num.amount is 7550)",
    )
    assert said(explained, "clerk/approve/1") == (Says.ASIDE, "no human has agreed")


def test_an_argument_that_is_missing_is_named(bench):
    explained = bench.ask([who("clerk")], arguments={"amount": "5"})
    assert said(explained, "clerk/allow/1")[1] == (
        "`context.str has region` is not so (context.str.region is not there)"
    )


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("boss/allow/1", "`ann` has not the role `boss`"),
        ("clerk/allow/2", "its patterns do not mean `bank__pay`"),
        ("tainted", '`context.taint.contains("untrusted-source")` is not so (context.taint is [])'),
        ("far", "`context.depth > 1` is not so (context.depth is 0)"),
        ("night", "`context.hour < 6` is not so (context.hour is 12)"),
        ("hidden", '`principal in Team::"red"`'),
    ],
)
def test_every_rule_that_has_nothing_to_say_says_why(bench, rule, why):
    says, reason = said(bench.ask([who("clerk")]), rule)
    assert says is Says.ASIDE
    assert why in (reason or "")


def test_a_rule_for_another_target_says_which(bench):
    explained = bench.ask([who("clerk")], "time__now", {})
    assert said(explained, "night")[1] == 'it is about `resource == Tool::"bank__pay"`; `time__now` is not'


def test_what_is_allowed_names_its_terms_and_needs_no_change(bench):
    explained = bench.ask([who("clerk")])
    assert (explained.verdict, explained.changes) == (Verdict.ALLOW, ())
    assert explained.decision.obligations.max_cost == 50_000
    assert said(explained, "clerk/allow/1") == (Says.PERMITS, None)


def test_a_shadow_rule_is_shown_and_is_never_what_would_have_to_change(bench):
    explained = bench.ask(
        [who("boss")], taint=frozenset({"untrusted-source"}), approved=frozenset({"tainted"})
    )
    assert said(explained, "would-be")[0] is Says.FORBIDS
    assert explained.verdict is Verdict.ALLOW


def test_who_has_to_agree_is_what_would_have_to_change(bench):
    explained = bench.ask([who("boss")], taint=frozenset({"untrusted-source"}))
    assert explained.verdict is Verdict.NEEDS_APPROVAL
    assert explained.changes == (
        (
            "somebody with the role `lead` has to agree: `tainted` (policies/rules/x.cedar:1) "
            "it has read what anybody may have written"
        ),
    )


def test_a_forbid_that_holds_is_what_would_have_to_change(bench):
    explained = bench.ask([who("clerk")], hour=3)
    assert explained.changes == (
        "`night` (policies/rules/x.cedar:6) must not forbid it, which holds when { context.hour < 6 }",
    )


def test_without_a_role_the_roles_that_would_do_are_named(bench):
    explained = bench.ask([who()], "time__now", {})
    assert explained.verdict is Verdict.HIDDEN
    assert explained.changes == (
        (
            "`ann` would need a role that allows it, such as `boss` (policies/roles/boss.yaml:3) "
            "or `clerk` (policies/roles/clerk.yaml:6)"
        ),
    )


def test_what_no_role_allows_is_said_to_need_an_entry(write):
    bench = Bench(
        write({"roles/clerk.yaml": ROLES["roles/clerk.yaml"], "tools/bank.yaml": ROLES["tools/bank.yaml"]})
    )
    assert bench.ask([who("clerk")], "notes__add", {}).changes == (
        "no role allows `notes__add`: an entry in `roles/` of a role of `ann` would",
    )


def test_of_a_chain_everybody_is_explained_and_who_lacks_a_permit_is_named(bench):
    explained = bench.ask([who("boss"), who(name="bob")], "time__now", {})
    assert {word.actor.id for word in explained.words} == {"ann", "bob"}
    assert any(change.startswith("`bob` would need a role") for change in explained.changes)


def test_an_argument_that_rules_cannot_read_is_itself_what_has_to_change(bench):
    explained = bench.ask([who("clerk")], arguments={"amount": "much", "region": "eu"})
    assert (explained.verdict, explained.words) == (Verdict.DENY, ())
    assert explained.changes[0].startswith("argument: rules cannot judge this call: its argument `amount`")


_CHAINS = st.lists(
    st.builds(
        lambda roles, team, level: hypothetical("ann", roles, team=team, attestation=level),
        st.frozensets(st.sampled_from(["clerk", "boss", "ghost"])),
        st.sampled_from([None, "red"]),
        st.sampled_from(list(Attestation)),
    ),
    min_size=1,
    max_size=4,
)
_ARGUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "amount": st.sampled_from([1, "49.99", 50, "50.01", 5000, "x", [1, 60]]),
        "region": st.sampled_from(["eu", "us", ["eu", "us"]]),
        "to": st.just("a@b"),
    },
)
_SITUATIONS = st.builds(
    Situation,
    taint=st.frozensets(st.sampled_from(["untrusted-source", "pii"])),
    provenance=st.dictionaries(st.sampled_from(["amount", "to"]), st.sampled_from(list(Origin))),
    trust=st.sampled_from([0, 1000]),
    approved=st.frozensets(st.sampled_from(["tainted", "clerk/approve/1", "other"])),
)


@pytest.fixture(scope="module")
def property_bench(tmp_path_factory) -> Bench:
    folder = tmp_path_factory.mktemp("why") / "policies"
    for name, text in ROLES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Bench(folder)


@given(
    actors=_CHAINS,
    call=st.tuples(st.sampled_from(["bank__pay", "time__now", "notes__add"]), _ARGUMENTS),
    situation=_SITUATIONS,
    hour=st.sampled_from([3, 12]),
)
def test_why_decides_as_the_engine_decides_and_its_words_bear_the_verdict_out(
    property_bench, actors, call, situation, hour
):
    name, arguments = call
    actors = [replace(actor, id=f"agent{n}") for n, actor in enumerate(actors)]
    target = supposed(Kind.TOOL, name, property_bench.facts)
    question = Question(chain_of(actors), target, params_of(target, arguments), situation, hour)
    property_bench.hour = hour
    property_bench.engine.retarget([target])
    explained = explain(property_bench.engine, question)
    property_bench.engine.retarget([target])  # an engine that remembers nothing of the question
    assert (explained.verdict, explained.decision) == verdict_on(property_bench.engine, question)
    if not explained.words:
        assert [because.rule for because in explained.decision.because] == ["argument"]
        return
    words = [word for word in explained.words if not word.rule.shadow]
    permitted = all(
        any(w.says is Says.PERMITS for w in words if w.actor is actor) for actor in question.principal.actors
    )
    refused = any(word.says in {Says.FORBIDS, Says.FAILED} for word in words)
    lists = isinstance(arguments.get("amount"), list) or isinstance(arguments.get("region"), list)
    if explained.verdict is Verdict.ALLOW:
        assert permitted
        assert not refused
    elif not lists and not explained.decision.consents:  # of a list each item is judged by itself
        assert refused or not permitted or explained.verdict is Verdict.HIDDEN
    assert all(word.why for word in explained.ignored)
    assert bool(explained.changes) is (explained.verdict is not Verdict.ALLOW)
