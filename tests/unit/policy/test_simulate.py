"""A simulation says what would be decided otherwise, and says of no call what nobody can know."""

import orjson
import pytest

from broker.catalog.facts import load_facts
from broker.catalog.known import supposed
from broker.catalog.retold import retold
from broker.circumstances import recalled
from broker.model import Call, CallId, Kind, Method, Situation
from broker.policy.compile import compile_sources
from broker.policy.engine import PolicyEngine
from broker.policy.load import load_sources
from broker.policy.question import Verdict, chain_of, hypothetical, params_of
from broker.policy.simulate import Difference, Simulation, Tally, Unjudged
from broker.record import CallRecord, Scribe

ROLE = "role: r\nallow:\n  - tools: [bank__*]\n{when}"
FACTS = """tools:
  - match: bank__pay
    labels: [money]
    arguments: {amount: {scale: 2}, to: {role: destination}, region: {record: true}}
"""
RULE = '@id("{id}") @reason("x") {more}forbid (principal, action == Action::"call", resource) when {{ {when} }};\n'


def files(*rules: str, when: str = "", facts: str = FACTS) -> dict[str, str]:
    role = ROLE.format(when=f"    when: {when}\n" if when else "")
    return {"roles/r.yaml": role, "rules/x.cedar": "".join(rules) or "// none\n", "tools/t.yaml": facts}


def forbid(when: str, rule_id: str = "no", more: str = "") -> str:
    return RULE.format(id=rule_id, when=when, more=more)


@pytest.fixture
def replay(tmp_path):
    """Decide calls by one set, record them, and judge the records by another."""

    def write(name, texts):
        for file, text in texts.items():
            path = tmp_path / name / "policies" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path / name / "policies"

    def replayed(before, after, arguments, situation=Situation(), name="bank__pay", at="12"):  # noqa: B008, PLR0917
        then, now = write("then", before), write("now", after)
        engine = PolicyEngine(then, clock=lambda: int(at) * 3600.0)
        facts = load_facts(then)
        target = supposed(Kind.TOOL, name, facts)
        engine.retarget([target])
        params = params_of(target, arguments)
        call = Call(CallId("c1"), Method.CALL_TOOL, name, params, "", None)
        record = CallRecord(call, 0.0, target=target, params=params, situation=situation)
        record.principal = chain_of([hypothetical("ann", frozenset({"r"}), organisation="acme")])
        record.decision = engine.decide(record.principal, target, params, situation)
        entry = Scribe(b"k" * 32).intent(record)
        ts = f"2026-01-02T{at}:30:00.000000Z"
        body = orjson.loads(orjson.dumps({**entry.facts, "call": "c1", "log": "x/audit/acme", "ts": ts}))
        simulation = Simulation(
            compile_sources(load_sources(now)),
            compile_sources(load_sources(then)),
            retold(facts, load_facts(now)),
        )
        return simulation.judge(recalled(body))

    return replayed


def test_under_the_same_policies_nothing_differs(replay):
    rules = files(forbid("context.num has amount && context.num.amount > 1000"), when="region in ['eu']")
    for arguments in (
        {"amount": 5, "region": "eu"},
        {"amount": 50, "region": "eu"},
        {"to": "x"},
        {"amount": "x"},
    ):
        assert replay(rules, rules, arguments) is None


def test_a_changed_limit_is_judged_by_the_amount_that_was_recorded(replay):
    before = files(forbid("context.num has amount && context.num.amount > 10000"))
    after = files(forbid("context.num has amount && context.num.amount > 1000"))
    assert replay(before, after, {"amount": "10.00"}) is None
    assert replay(before, after, {"amount": "10.01"}) == Difference(
        "c1", "ann", "bank__pay", Verdict.ALLOW, Verdict.DENY, ("no",)
    )
    found = replay(after, before, {"amount": "10.01"})
    assert (found.before, found.after) == (Verdict.DENY, Verdict.ALLOW)


def test_a_call_is_judged_with_the_taint_counters_and_hour_that_it_had(replay):
    tainted = Situation(taint=frozenset({"pii"}), counters={"writes": 21})
    for when in ('context.taint.contains("pii")', "context.counters.writes > 20", "context.hour == 3"):
        assert replay(files(), files(forbid(when)), {}, tainted, at="03").after is Verdict.DENY
        assert replay(files(), files(forbid(when)), {}, at="12") is None


def test_a_call_that_would_wait_for_a_human_is_told_from_one_that_would_be_refused(replay):
    after = files(forbid('resource in Label::"money"', more='@approval("lead") '))
    assert replay(files(), after, {}).after is Verdict.NEEDS_APPROVAL
    agreed = Situation(approved=frozenset({"no"}))
    assert replay(files(), after, {}, agreed) is None


def test_changed_facts_of_a_tool_count_and_what_they_leave_alone_stays(replay):
    rule = forbid('resource in Label::"money" && resource.side_effect == "destroys"')
    facts = FACTS.replace("labels: [money]", "labels: [money]\n    side_effect: destroys")
    assert replay(files(rule), files(rule, facts=facts), {}).after is Verdict.DENY
    harmless = files(rule, facts=facts.replace("labels: [money]", "labels: [harmless]"))
    assert replay(files(rule), harmless, {}) is None


def test_a_changed_rule_about_a_text_that_is_not_in_the_log_leaves_the_call_unjudged(replay):
    after = files(forbid('context.str has to && context.str.to like "*@evil.example"'))
    assert replay(files(), after, {"to": "bob@evil.example"}) == Unjudged(
        "c1", "ann", "bank__pay", ("no",), ("str.to",)
    )
    assert replay(files(), after, {"amount": 1}) is None


def test_a_text_that_the_operator_has_recorded_is_judged(replay):
    after = files(forbid('context.str has region && context.str.region == "us"'))
    assert replay(files(), after, {"region": "us"}).after is Verdict.DENY
    assert replay(files(), after, {"region": "eu"}) is None


def test_what_is_refused_whatever_the_unknown_text_is_counts_as_judged(replay):
    text = forbid('context.str has to && context.str.to == "x"')
    after = files(text, forbid('resource in Label::"money"', "money"))
    assert replay(files(), after, {"to": "y"}).after is Verdict.DENY


def test_a_rule_that_has_not_changed_is_taken_to_say_what_it_said_then(replay):
    text = forbid('context.str has to && context.str.to == "x"', "text")
    before = files(text)
    after = files(text, forbid("context.num has amount && context.num.amount > 100", "amount"))
    assert replay(before, after, {"to": "y", "amount": 1}) is None
    assert replay(before, after, {"to": "y", "amount": 2}).after is Verdict.DENY
    assert replay(before, after, {"to": "x", "amount": 2}) is None
    assert replay(before, files(), {"to": "x"}).after is Verdict.ALLOW


def test_an_entry_whose_text_is_unknown_is_taken_to_have_held_where_the_call_was_permitted(replay):
    same = files(when="to like '*@acme.example'")
    assert replay(same, same, {"to": "a@acme.example"}) is None
    assert replay(same, same, {"to": "a@other.example"}) is None
    assert isinstance(replay(files(), same, {"to": "a@acme.example"}), Unjudged)


def test_an_argument_that_is_declared_anew_was_never_recorded(replay):
    bare = "tools:\n  - {match: bank__pay, labels: [money]}\n"
    after = files(forbid("context.num has amount && context.num.amount > 1"))
    found = replay(files(facts=bare), after, {"amount": 5})
    assert isinstance(found, Unjudged)
    assert "num.amount" in found.what


def test_a_tally_counts_alike_differences_together_and_names_the_first_calls():
    tally = Tally()
    for n in range(5):
        tally.add(Difference(f"c{n}", "ann", "t", Verdict.ALLOW, Verdict.DENY, ("no",)))
    tally.add(Unjudged("u", "ann", "t", ("no",), ("str.to",)))
    tally.add(None)
    ((found, group),) = tally.differences.items()
    assert (tally.judged, found.call, group.count, group.calls) == (7, "", 5, ["c0", "c1", "c2"])
    assert [group.count for group in tally.unjudged.values()] == [1]
