"""Every mistake in a policies folder is an error that names file and line."""

import pytest

from broker.errors import ConfigurationError
from broker.policy.engine import PolicyEngine
from broker.policy.load import load_sources, shipped_policies, split

GOOD_RULE = '@id("{id}") @reason("r") forbid (principal, action, resource);'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1: is empty"),
        ("role: r\nallow: [\n", "3: not YAML: "),
        ("- role: r\n", "1: a list where `key: value` pairs belong"),
        ("role: r\n", "1: `allow` is missing"),
        ("role: r\nallow: []\nalow: []\n", "3: unknown key `alow`"),
        ("role: r\nrole: s\nallow: []\n", "2: `role` is given twice"),
        ("role: no\nallow: []\n", "1: `no` (bool) where a text belongs"),
        ("allow: []\nrole: 'a b'\n", "2: `a b` is not a name for a role"),
        ("role: 'r\")'\nallow: []\n", '1: `r")` is not a name for a role'),
        ("role: r\nallow:\n  tools: [a]\n", "3: `key: value` pairs where a list belongs"),
        ("role: r\nallow:\n  - a\n", "3: a text where `key: value` pairs belong"),
        ("role: r\nallow:\n  - {}\n", "3: allows nothing"),
        ("role: r\nallow:\n  - tools: a\n", "3: a text where a list belongs"),
        ("role: r\nallow:\n  - tools:\n    - a\n    - 7\n", "5: `7` (int) where a text belongs"),
        ("role: r\nallow:\n  - tools: ['']\n", "3: is not a pattern"),
        ('role: r\nallow:\n  - tools: ["a\\n"]\n', "3: is not a pattern"),
        ("role: r\nallow:\n  - tools: [a]\n    side_effects: [red]\n", "4: `red` is not one of"),
        (
            "role: r\nallow:\n  - prompts: [a]\n    side_effects: [reads]\n",
            "4: `side_effects` narrows `tools`",
        ),
        ("role: r\nallow: []\nmay_delegate_to: s\n", "3: a text where a list belongs"),
        ("role: r\nallow: []\nmay_delegate_to: [s, 'a b']\n", "3: `a b` names no agent or role"),
        ("role: r\nallow: []\n---\nrole: s\nallow: []\n", "3: not YAML: "),
        ("role: r\nallow: " + "[" * 2000 + "]" * 2000, "1: is nested too deeply"),
    ],
)
def test_a_mistake_in_a_role_is_named_with_file_and_line(write, text, message):
    folder = write({"roles/x.yaml": text})
    with pytest.raises(ConfigurationError) as error:
        load_sources(folder)
    assert error.value.message.startswith(f"policies/roles/x.yaml:{message}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("permit (principal, action, resource);", "1: the rule has no @id"),
        ('\n@id("x")\npermit (principal, action, resource);', "2: the rule has no @reason"),
        ('// one; two\n@id("x") @reason("a;b") permit (principal, action', "2: not Cedar: "),
        (f"{GOOD_RULE.format(id='a')}\n}}\n", "2: not Cedar: "),
        (
            f"{GOOD_RULE.format(id='a')}\n{GOOD_RULE.format(id='a')}",
            "2: the id `a` is taken by policies/rules/x.cedar:1",
        ),
        (GOOD_RULE.format(id="r/allow/1"), "1: the id `r/allow/1` is taken by policies/roles/r.yaml:3"),
        (GOOD_RULE.format(id="a").replace("principal,", "principal == ?principal,"), "1: templates"),
        (GOOD_RULE.format(id="a").replace(";", " when { resource.prise > 5 };"), "1: attribute `prise`"),
        (
            GOOD_RULE.format(id="a").replace("principal,", 'principal in Rule::"r",'),
            "1: unrecognized entity type `Rule`",
        ),
    ],
)
def test_a_mistake_in_a_hard_rule_is_named_with_file_and_line(write, text, message):
    folder = write({"rules/x.cedar": text, "roles/r.yaml": "role: r\nallow:\n  - tools: [a]\n"})
    with pytest.raises(ConfigurationError) as error:
        PolicyEngine(folder)
    assert error.value.message.startswith(f"policies/rules/x.cedar:{message}")


def test_a_role_that_is_defined_twice_is_an_error(write):
    folder = write({"roles/a.yaml": "role: r\nallow: []\n", "roles/b.yaml": "role: r\nallow: []\n"})
    with pytest.raises(
        ConfigurationError, match=r"b\.yaml:1: role `r` is defined in policies/roles/a\.yaml already"
    ):
        load_sources(folder)


@pytest.mark.parametrize("name", ["rules/deny.cedar.txt", "roles/r.yml", "rules/more/x.cedar"])
def test_a_file_that_would_silently_not_be_read_is_an_error(write, name):
    with pytest.raises(ConfigurationError, match="is not read"):
        load_sources(write({name: ""}))


def test_hidden_files_and_backups_of_editors_are_left_alone(write):
    folder = write({"rules/.x.cedar.swp": "?", "roles/r.yaml~": "?"})
    assert load_sources(folder).statements == ()


def test_bytes_that_are_not_text_are_named_with_their_line(write):
    folder = write({})
    (folder / "roles" / "r.yaml").write_bytes(b"role: r\nallow: [\xff]\n")
    with pytest.raises(ConfigurationError, match=r"policies/roles/r\.yaml:2: is not UTF-8 text"):
        load_sources(folder)


def test_a_folder_that_holds_no_policies_is_an_error_and_not_an_empty_set(tmp_path):
    with pytest.raises(ConfigurationError, match="holds neither"):
        PolicyEngine(tmp_path)


def test_a_copy_of_the_schema_may_lie_in_the_folder_and_a_changed_one_may_not(write):
    schema = (shipped_policies() / "schema.cedarschema").read_text()
    folder = write({"schema.cedarschema": schema})
    assert load_sources(folder).schema == schema
    write({"schema.cedarschema": schema + "entity Extra;"})
    with pytest.raises(ConfigurationError, match="is not the schema of this version"):
        load_sources(folder)


def test_a_cedar_file_is_split_at_the_semicolons_that_end_policies():
    text = '// a; b\n@id("x;\\";") permit (a); // c;\n\n@id("y")\nforbid (b);\n// the end;\n'
    assert [(s.text, s.place) for s in split(text, "f")] == [
        ('@id("x;\\";") permit (a);', "f:2"),
        ('@id("y")\nforbid (b);', "f:4"),
    ]
