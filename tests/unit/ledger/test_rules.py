"""What operators write in `policies/budgets/` and what is wrong with it."""

from pathlib import Path

import pytest

from broker.errors import ConfigurationError
from broker.ledger.interface import Unit
from broker.ledger.rules import load_budgets


def written(folder: Path, text: str) -> Path:
    (folder / "budgets").mkdir(exist_ok=True)
    (folder / "budgets" / "caps.yaml").write_text(text)
    return folder


def test_a_budget_has_a_cap_in_each_unit_that_it_names(tmp_path: Path):
    text = 'budgets:\n  - {scope: "agent:*", window: 24h, usd: "2.50", calls: 1_000, tokens: 0}\n'
    (rule,) = load_budgets(written(tmp_path, text)).budgets
    assert rule.caps == {Unit.USD: 2_500_000, Unit.CALLS: 1000, Unit.TOKENS: 0}
    assert (rule.scope.kind, rule.scope.glob, rule.window.name) == ("agent", "*", "24h")
    assert rule.place.endswith("budgets/caps.yaml:2")


def test_a_rate_is_never_faster_than_written(tmp_path: Path):
    text = 'rates:\n  - {scope: "tool:web__*", calls: 7, per: second}\n'
    (rate,) = load_budgets(written(tmp_path, text)).rates
    assert (rate.interval_us, rate.burst) == (142_858, 7)


def test_no_folder_is_no_budgets(tmp_path: Path):
    rules = load_budgets(tmp_path)
    assert (rules.budgets, rules.rates) == ((), ())


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ('budgets:\n  - {scope: "agent:*", window: day}\n', 2, "caps nothing"),
        ('budgets:\n  - {scope: "agent:*", window: dya, usd: "1"}\n', 2, "`dya` is not a window"),
        ('budgets:\n  - {scope: "agnt:*", window: day, usd: "1"}\n', 2, "`agnt:*` is not a scope"),
        ('budgets:\n  - {scope: "agent", window: day, usd: "1"}\n', 2, "`agent` is not a scope"),
        ('budgets:\n  - {scope: "agent:*", window: day, usd: 1}\n', 2, "where a text belongs"),
        ('budgets:\n  - {scope: "agent:*", window: day, usd: "0.0000001"}\n', 2, "is not a cap"),
        ('budgets:\n  - {scope: "agent:*", window: day, usd: "-1"}\n', 2, "is not a cap"),
        ('budgets:\n  - {scope: "agent:*", window: day, calls: "5"}\n', 2, "is not a whole number"),
        ('budgets:\n  - {scope: "agent:*", window: day, calls: 1.5}\n', 2, "is not a whole number"),
        (
            'budgets:\n  - {scope: "agent:*", window: day, calls: 5, warn: [100]}\n',
            2,
            "100 is out of range",
        ),
        ('budgets:\n  - {scope: "agent:*", window: day, call: 5}\n', 2, "unknown key `call`"),
        ('rates:\n  - {scope: "agent:*", calls: 0, per: minute}\n', 2, "0 is out of range"),
        ('rates:\n  - {scope: "agent:*", calls: 5, per: fortnight}\n', 2, "`fortnight` is not one of"),
        ('budgets:\n  - {scope: "agent:*", window: day, open: 5}\n', 2, "caps calls in flight, at any time"),
        ("time_zones:\n  acme: Europe/Berlyn\n", 2, "is not a time zone"),
        ("budget: []\n", 1, "unknown key `budget`"),
    ],
)
def test_a_mistake_is_answered_with_its_line(tmp_path: Path, text: str, line: int, said: str):
    with pytest.raises(ConfigurationError, match=rf"budgets/caps\.yaml:{line}: .*{said.replace('*', '[*]')}"):
        load_budgets(written(tmp_path, text))
