"""Who may agree, as an operator writes it down; and what is said of mistakes."""

from pathlib import Path

import pytest

from broker.approvals.interface import Term
from broker.approvals.people import Approvers, Human, People, read_people
from broker.errors import ConfigurationError


def read(tmp_path: Path, text: str) -> People:
    (tmp_path / "approvals.yaml").write_text(text)
    return read_people(tmp_path)


def test_without_the_file_every_operator_may_agree_to_everything(tmp_path: Path):
    people = read_people(tmp_path)
    assert people.include(Human("anybody"), "team-lead")
    term = Term("money", "team-lead")
    assert people.stricter(term) == term


def test_people_four_eyes_and_owners_are_read_by_role(tmp_path: Path):
    people = read(
        tmp_path,
        "approvers:\n  team-lead: {people: [dana, erik], four_eyes: true, not_owner: true}\n  privacy: {}\n",
    )
    assert people.roles == {
        "team-lead": Approvers(frozenset({"dana", "erik"}), four_eyes=True, not_owner=True),
        "privacy": Approvers(),
    }
    assert people.include(Human("operator:erik"), "team-lead")
    assert not people.include(Human("frida"), "team-lead")
    assert people.include(Human("frida"), "privacy")


def test_a_role_that_the_file_does_not_name_is_nobodys_so_that_a_typo_makes_nothing_laxer(tmp_path: Path):
    people = read(tmp_path, "approvers:\n  team_lead: {people: [dana]}\n")
    assert not people.include(Human("dana"), "team-lead")


def test_what_a_rule_asks_for_can_only_become_stricter(tmp_path: Path):
    people = read(tmp_path, "approvers:\n  a: {four_eyes: true}\n  b: {four_eyes: false, not_owner: false}\n")
    assert people.stricter(Term("r", "a")).four_eyes
    strict = Term("r", "b", four_eyes=True, not_owner=True)
    assert people.stricter(strict) == strict


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("approver: {}\n", 1, "did you mean `approvers`?"),
        ("{}\n", 1, "`approvers` is missing"),
        ("approvers:\n  lead: {peple: [dana]}\n", 2, "did you mean `people`?"),
        ("approvers:\n  lead:\n    people: dana\n", 3, "a text where a list belongs"),
        ("approvers:\n  lead:\n    people: []\n", 3, "nobody could agree"),
        ("approvers:\n  lead:\n    people: [7]\n", 3, "where a text belongs"),
        ("approvers:\n  lead:\n    four_eyes: 'yes'\n", 3, "where `true` or `false` belongs"),
        ("approvers:\n  lead: {people: [dana], four_eyes: true}\n", 2, "one person cannot be two"),
        ("approvers:\n  lead: {}\n  lead: {}\n", 3, "given twice"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, text: str, place: int, said: str):
    with pytest.raises(ConfigurationError) as mistake:
        read(tmp_path, text)
    error = mistake.value
    assert error.message.startswith(f"approvals.yaml:{place}: ")
    assert said in f"{error.message} {error.hint}"
