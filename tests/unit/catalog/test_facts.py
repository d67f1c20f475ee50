import pytest

from broker.catalog.facts import load_facts
from broker.errors import ConfigurationError
from broker.model import Argument, Kind, Role, SideEffect


def facts_of(tmp_path, text):
    (tmp_path / "policies" / "tools").mkdir(parents=True)
    (tmp_path / "policies" / "tools" / "t.yaml").write_text(text)
    return load_facts(tmp_path / "policies")


def test_the_first_entry_decides_price_and_effect_and_labels_add_up(tmp_path):
    facts = facts_of(
        tmp_path,
        """tools:
  - match: git__git_commit
    price_usd: "0.01"
    labels: [writes-history]
  - match: git__*
    price_usd: "0"
    side_effect: reads
    labels: [source]
""",
    )
    commit = facts("git__git_commit")
    assert (commit.price_usd, commit.price_source) == ("0.01", "policies/tools/t.yaml:2")
    assert commit.side_effect is SideEffect.READS
    assert commit.labels == {"writes-history", "source"}
    assert facts("time__now").price_usd is None


def test_without_a_folder_nothing_is_known(tmp_path):
    assert load_facts(tmp_path)("x").labels == frozenset()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('price_usd: "-1"', r"t\.yaml:3: `-1` is not a price"),
        ("price_usd: 0.1", r"t\.yaml:3: .*where a text belongs"),
        ('price_usd: "NaN"', "is not a price"),
        ("side_effect: write", "not one of"),
        ("prize_usd: '1'", r"t\.yaml:3: unknown key `prize_usd`"),
        ("risk: 11", r"t\.yaml:3: `11` \(int\) where a whole number belongs"),
        ("risk: high", r"t\.yaml:3: a text where a whole number belongs"),
        ("min_trust: -1", r"t\.yaml:3: `-1` \(int\) where a whole number belongs"),
        ("min_trust: 5.5", r"where a whole number belongs"),
        ("labels: ['a b']", r"t\.yaml:3: `a b` is not a label"),
        ("arguments: {Amount: {}}", r"t\.yaml:3: `Amount` cannot be the name of an argument"),
        ("arguments: {taint: {}}", r"`taint` cannot be the name of an argument"),
        ("arguments: {a: {path: 'b..c'}}", r"t\.yaml:3: `b\.\.c` is not a path"),
        ("own_fields: ['b..c']", r"t\.yaml:3: `b\.\.c` is not a path"),
        ("own_fields: to", r"t\.yaml:3: "),
        ("arguments: {a: {role: amount}}", r"t\.yaml:3: an amount is a number"),
        ("arguments: {a: {role: destinaton}}", r"`destinaton` is not one of"),
        ("arguments: {a: {scale: 10}}", r"`10` \(int\) where a whole number belongs"),
        ("arguments: {a: {typ: x}}", r"unknown key `typ`"),
        (
            "arguments: {a: {subject: true, record: true}}",
            r"t\.yaml:3: `a` names a person, so it can neither",
        ),
        ("arguments: {a: {subject: true, scale: 0}}", r"t\.yaml:3: `a` names a person, so it can neither"),
        ("arguments: {a: {subjct: true}}", r"unknown key `subjct`"),
    ],
)
def test_a_mistake_is_answered_with_file_and_line(tmp_path, line, message):
    with pytest.raises(ConfigurationError, match=message):
        facts_of(tmp_path, f"tools:\n  - match: a\n    {line}\n")


def test_fields_of_ones_own_add_up(tmp_path):
    text = "tools:\n  - {match: a, own_fields: [x.to]}\n  - {match: '*', own_fields: [x.to, from]}\n"
    assert facts_of(tmp_path, text)("a").own_fields == ("x.to", "from")


def test_one_name_of_an_argument_means_one_thing_everywhere(tmp_path):
    text = """tools:
  - match: a
    arguments: {amount: {scale: 2}, to: {}}
  - match: b
    arguments: {to: {path: x.y}, amount: {scale: 0}}
"""
    with pytest.raises(ConfigurationError) as error:
        facts_of(tmp_path, text)
    assert error.value.message == (
        "policies/tools/t.yaml:5: `amount` is a number of scale 2 in policies/tools/t.yaml:3"
    )


def test_arguments_risk_and_trust_floor_come_from_the_first_entry_that_says_them(tmp_path):
    text = """connectors:
  - {match: bank, labels: [external-sink], risk: 1, min_trust: 100}
tools:
  - match: bank__pay
    risk: 9
    arguments: {amount: {path: sum, scale: 2, role: amount}}
  - match: "bank__*"
    risk: 2
    min_trust: 300
    arguments: {amount: {scale: 2}, to: {role: destination}}
"""
    pay = facts_of(tmp_path, text)("bank__pay", Kind.TOOL, "bank")
    assert (pay.risk, pay.min_trust, pay.labels) == (9, 300, {"external-sink"})
    assert pay.arguments == (
        Argument("amount", "sum", 2, Role.AMOUNT),
        Argument("to", "to", None, Role.DESTINATION),
    )


def test_what_is_said_of_a_connector_counts_for_all_that_it_offers_and_of_resources_for_these(tmp_path):
    text = """connectors:
  - {match: "ma*", labels: [untrusted-source]}
resources:
  - {match: "kb://*", labels: [private-data], min_trust: 5}
prompts:
  - {match: "p__*", labels: [pii]}
"""
    facts = facts_of(tmp_path, text)
    assert facts("mail__read", Kind.TOOL, "mail").labels == {"untrusted-source"}
    assert facts("kb://a", Kind.RESOURCE, "mail").labels == {"untrusted-source", "private-data"}
    assert facts("kb://{a}", Kind.TEMPLATE, "x").min_trust == 5
    assert facts("kb://a", Kind.TOOL, "x").labels == frozenset()
    assert facts("p__q", Kind.PROMPT, "x").labels == {"pii"}
