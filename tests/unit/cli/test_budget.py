"""`broker budget`: how every budget stands, and another cap for a while."""

import contextlib
import io
import json
from pathlib import Path

import pytest

from broker.__main__ import Composition
from broker.edges.cli import main as cli

BUDGETS = """
budgets:
  - {scope: "agent:*", window: day, usd: "2", calls: 50}
  - {scope: "organisation:acme", window: month, usd: "100"}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "policies" / "budgets").mkdir(parents=True)
    (tmp_path / "policies" / "roles").mkdir()
    (tmp_path / "policies" / "budgets" / "caps.yaml").write_text(BUDGETS)
    (tmp_path / "broker.toml").write_text('policies_dir = "policies"\n')
    monkeypatch.chdir(tmp_path)
    run("agent", "add", "ann", "--org", "acme", "--role", "none", "--secret-file", "ann.secret")
    return tmp_path


def run(*words: str, code: int = 0) -> str:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert cli.run(Composition(), words) == code, err.getvalue()
    return out.getvalue() if code == 0 else err.getvalue()


def listed() -> dict[tuple[str, str, str], dict[str, object]]:
    rows = json.loads(run("budget", "list", "--json"))
    return {(row["scope"], row["window"], row["unit"]): row for row in rows}


def test_every_budget_that_names_its_scope_is_listed_before_it_is_used(folder: Path):
    row = listed()["organisation:acme", "month", "micro_usd"]
    assert (row["spent"], row["cap"], row["left"]) == (0, 100_000_000, 100_000_000)
    assert str(row["rule"]).endswith("budgets/caps.yaml:4")


def test_another_cap_is_in_force_at_once_and_recorded_with_its_reason(folder: Path):
    run(
        "budget", "set", "organisation:acme", "-w", "month", "--usd", "250", "--for", "2h", "--reason", "sale"
    )
    row = listed()["organisation:acme", "month", "micro_usd"]
    assert (row["cap"], str(row["rule"]).endswith("(overridden)")) == (250_000_000, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("agent:ann", "-w", "week", "--usd", "5"), "no budget caps the usd of `agent:ann`"),
        (("agent:ann", "-w", "day", "--tokens", "5"), "no budget caps the tokens of `agent:ann`"),
        (("agent:ann", "-w", "day"), "one cap is set at a time"),
        (("agent:ann", "-w", "day", "--usd", "5", "--calls", "5"), "one cap is set at a time"),
        (("agent:ann", "-w", "day", "--usd", "five"), "five"),
        (("agent:ann", "-w", "day", "--usd", "5", "--for", "soon"), "`soon` is not a duration"),
    ],
)
def test_a_cap_that_nothing_would_look_at_is_refused(folder: Path, words: tuple[str, ...], said: str):
    assert said in run("budget", "set", *words, "--reason", "x", code=2)
