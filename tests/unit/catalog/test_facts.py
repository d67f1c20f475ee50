import pytest

from broker.catalog.facts import load_facts
from broker.errors import ConfigurationError
from broker.model import SideEffect


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
    ],
)
def test_a_mistake_is_answered_with_file_and_line(tmp_path, line, message):
    with pytest.raises(ConfigurationError, match=message):
        facts_of(tmp_path, f"tools:\n  - match: a\n    {line}\n")
