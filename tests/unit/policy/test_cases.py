"""Tests of policies: what they can say, that they are judged by the engine, and that they can fail."""

import shutil

import pytest

from broker.catalog.facts import load_facts
from broker.catalog.known import supposed
from broker.errors import ConfigurationError
from broker.model import Kind, Origin, SideEffect
from broker.policy.cases import load_cases, run_cases
from broker.policy.load import load_sources, shipped_policies
from broker.policy.question import Verdict

ROLE = "role: clerk\nallow:\n  - tools: [time__*, bank__pay]\n"
RULE = '@id("no-money") @reason("ask the desk") forbid (principal, action == Action::"call", resource in Label::"money");\n'
FILES = {"roles/clerk.yaml": ROLE, "rules/money.cedar": RULE}


def results(folder):
    facts = load_facts(folder)
    cases = load_cases(folder, lambda kind, name: supposed(kind, name, facts))
    return run_cases(folder, cases)


def verdict(write, test: str, **files: str):
    text = "tests:\n  - " + test.replace("\n", "\n    ") + "\n"
    (result,) = results(write({**FILES, **files, "tests/t.yaml": text}))
    return result


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ("name: n\nas: {roles: [clerk]}\ntool: time__now\nexpect: allow", Verdict.ALLOW),
        ("name: n\nas: {roles: [clerk]}\ntool: bank__pay\nlabels: [money]\nexpect: deny", Verdict.DENY),
        ("name: n\nas: {roles: [clerk]}\ntool: notes__add\nexpect: hidden", Verdict.HIDDEN),
        ("name: n\nas: {}\ntool: time__now\nexpect: hidden", Verdict.HIDDEN),
        (
            "name: n\nas: {roles: [clerk]}\ndelegated_by: [{roles: [other]}]\ntool: time__now\nexpect: hidden",
            Verdict.HIDDEN,
        ),
    ],
)
def test_a_test_passes_where_the_engine_decides_as_it_says_and_fails_for_every_other_verdict(
    write, test, expected
):
    for claimed in Verdict:
        result = verdict(write, test.replace(f"expect: {expected}", f"expect: {claimed}"))
        assert result.verdict is expected
        denied = expected is Verdict.HIDDEN and claimed is Verdict.DENY
        assert result.passed is (claimed is expected or denied)


def test_the_rules_that_a_test_names_are_exactly_those_that_have_to_decide(write):
    base = "name: n\nas: {roles: [clerk]}\ntool: bank__pay\nlabels: [money]\nexpect: deny\nrules: "
    assert verdict(write, base + "[no-money]").passed
    for wrong in ("[]", "[clerk/allow/1]", "[no-money, clerk/allow/1]"):
        assert not verdict(write, base + wrong).passed


def test_a_test_sees_what_the_operator_says_of_a_tool_unless_it_says_otherwise(write):
    facts = {"tools/t.yaml": "tools:\n  - {match: bank__pay, labels: [money], side_effect: writes}\n"}
    paying = "name: n\nas: {roles: [clerk]}\ntool: bank__pay\nexpect: deny"
    assert verdict(write, paying, **facts).passed
    assert verdict(write, f"{paying}\nlabels: []", **facts).verdict is Verdict.ALLOW


def test_everything_that_a_decision_may_look_at_can_be_said_in_a_test(write):
    test = """name: everything
as: ann
delegated_by: [{roles: [r], team: blue}]
tool: time__now
labels: [a, b]
side_effect: reads
price_micro_usd: 7
arguments: {n: 1, deep: {list: [x, 2.5, null]}}
taint: [untrusted-source]
provenance: {to: untrusted}
counters: {calls: 3}
trust: 640
approved: [rule-1]
hour: 23
task: the report
risk: 7
min_trust: 300
expect: hidden"""
    text = "agents:\n  ann: {roles: [clerk], team: red, organisation: acme, attestation: A2, model: m, owner: o}\n"
    folder = write({"tests/t.yaml": text + "tests:\n  - " + test.replace("\n", "\n    ") + "\n"})
    (case,) = load_cases(folder, lambda kind, name: supposed(kind, name, load_facts(folder)))
    question = case.question
    ann, boss = question.principal.actors
    assert (ann.id, ann.roles, ann.team, ann.organisation, ann.attestation) == (
        "ann",
        {"clerk"},
        "red",
        "acme",
        "A2",
    )
    assert (ann.model, ann.owner, boss.team, question.principal.agent) == ("m", "o", "blue", ann)
    assert (question.target.labels, question.target.price) == ({"a", "b"}, 7)
    assert (question.target.kind, question.target.side_effect) == (Kind.TOOL, SideEffect.READS)
    assert question.params == {"name": "time__now", "arguments": {"n": 1, "deep": {"list": ["x", 2.5, None]}}}
    assert question.situation.taint == {"untrusted-source"}
    assert question.situation.provenance == {"to": Origin.UNTRUSTED}
    assert (question.situation.counters, question.situation.trust) == ({"calls": 3}, 640)
    assert (question.hour, question.principal.grants[-1].task) == (23, "the report")
    assert (question.target.risk, question.target.min_trust) == (7, 300)
    assert (question.situation.approved, case.place) == ({"rule-1"}, "policies/tests/t.yaml:4")


@pytest.mark.parametrize(
    ("test", "message", "hint"),
    [
        ("as: {}\ntool: a\nexpect: deny", "`name` is missing", None),
        ("name: n\nas: {}\ntol: a\nexpect: deny", "unknown key `tol`", "did you mean `tool`?"),
        ("name: n\nas: {}\nexpect: deny", "calls nothing", "name one"),
        ("name: n\nas: {}\ntool: a\nprompt: b\nexpect: deny", "names both `tool` and `prompt`", "name one"),
        ("name: n\nas: {}\ntool: a\nexpect: allowed", "`allowed` is not one of", "did you mean `allow`?"),
        ("name: n\nas: bbo\ntool: a\nexpect: deny", "there is no agent `bbo`", "did you mean `bob`?"),
        ("name: n\nas: {role: [x]}\ntool: a\nexpect: deny", "unknown key `role`", "did you mean `roles`?"),
        ("name: n\nas: {}\ntool: a\narguments: [x]\nexpect: deny", "where `key: value` pairs belong", None),
        ("name: n\nas: {}\ntool: a\ntrust: high\nexpect: deny", "where a whole number belongs", None),
        ("name: n\nas: {}\ntool: a\ncounters: {x: -1}\nexpect: deny", "where a whole number belongs", None),
        ("name: n\nas: {}\ntool: a\ncounters: {x: true}\nexpect: deny", "where a whole number belongs", None),
        ("name: n\nas: {}\ntool: a\nprovenance: {x: evil}\nexpect: deny", "`evil` is not one of", None),
        (
            "name: n\nas: {}\ntool: a\narguments: {x: 2026-01-02}\nexpect: deny",
            "that JSON does not know",
            None,
        ),
        ("name: n\nas: {}\ntool: a\narguments: {1: x}\nexpect: deny", "that JSON does not know", None),
    ],
)
def test_a_mistake_in_a_test_is_named_with_file_and_line(write, test, message, hint):
    text = "agents:\n  bob: {}\ntests:\n  - " + test.replace("\n", "\n    ") + "\n"
    with pytest.raises(ConfigurationError, match=r"policies/tests/t\.yaml:\d+: ") as error:
        results(write({**FILES, "tests/t.yaml": text}))
    assert message in error.value.message
    assert hint is None or hint in (error.value.hint or "")


def test_the_shipped_policies_pass_their_own_tests():
    outcomes = results(shipped_policies())
    assert outcomes
    assert [f"{r.case.place}: {r.verdict} {r.rules}" for r in outcomes if not r.passed] == []


def _shipped_rules():
    sources = load_sources(shipped_policies())
    return [pytest.param(s, id=s.text.partition('"')[2].partition('"')[0]) for s in sources.statements]


@pytest.mark.parametrize("statement", _shipped_rules())
def test_every_shipped_rule_has_a_test_that_fails_without_it(statement, tmp_path):
    folder = tmp_path / "policies"
    shutil.copytree(shipped_policies(), folder)
    for path in (folder / "rules").glob("*.cedar"):
        path.write_text(path.read_text().replace(statement.text, ""))
    failed = [result.case.name for result in results(folder) if not result.passed]
    assert failed


@pytest.mark.parametrize("role", ["operator", "reader"])
def test_every_shipped_role_has_a_test_that_fails_without_it(role, tmp_path):
    folder = tmp_path / "policies"
    shutil.copytree(shipped_policies(), folder)
    (folder / "roles" / f"{role}.yaml").write_text(f"role: {role}\nallow: []\n")
    assert [result.case.name for result in results(folder) if not result.passed]
