"""`broker budget`: how every budget stands, and another cap for a while."""

import contextlib
import io
import json
from pathlib import Path
from typing import cast

import anyio
import pytest

from broker.__main__ import Composition
from broker.edges.cli import main as cli
from broker.journal import Journal
from broker.ledger.prices import Prices
from broker.ledger.rules import load_budgets
from broker.model import (
    AgentId,
    Answer,
    Call,
    Caller,
    CallId,
    Kind,
    Method,
    MicroUSD,
    Principal,
    Target,
)
from broker.storage.sqlite import open_store

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


async def _make_calls(state: Path, calls: int, price: int) -> None:
    """As many calls of `echo__say` by `ann`, with all that is above them, as a server would make."""
    rules = load_budgets(Path("policies"))
    target = Target(Kind.TOOL, "echo__say", "echo", "say", {}, price=MicroUSD(price))
    async with open_store(state / "broker.db", deployment="broker.local", serve=False) as store:
        ann = await store.agents.agent(AgentId("ann"))
        assert ann is not None
        principal = Principal(ann, ann.id, (ann,), frozenset(), "jti", "txn", 0)
        journal = Journal(store.journal, b"k" * 32)
        for n in range(calls):
            call = Call(CallId(f"c{n}"), Method.CALL_TOOL, "echo__say", {}, "", cast("Caller", None))
            async with journal.recorded(call) as record:
                record.principal, record.target = principal, target
                async with journal.hold(record, principal, Prices(rules).quote(principal, target)) as hold:
                    hold.settle(Answer({}))


def test_it_is_explained_which_budget_does_not_hold_a_call(folder: Path):
    (folder / "policies" / "tools").mkdir()
    (folder / "policies" / "tools" / "echo.yaml").write_text(
        'tools: [{match: echo__say, price_usd: "0.5"}]\n'
    )
    rows = json.loads(run("budget", "explain", "echo__say", "--as", "ann", "--json"))
    assert {(r["scope"], r["unit"], r["needs"], r["left"], r[""]) for r in rows} == {
        ("agent:ann", "micro_usd", 500_000, None, "ok"),
        ("agent:ann", "micro_usd", 500_000, 2_000_000, "ok"),
        ("agent:ann", "calls", 1, 50, "ok"),
        ("organisation:acme", "micro_usd", 500_000, 100_000_000, "ok"),
    }
    anyio.run(_make_calls, folder / ".broker", 4, 500_000)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert cli.run(Composition(), ("budget", "explain", "echo__say", "--as", "ann", "--json")) == 3
    over = [r for r in json.loads(out.getvalue()) if r[""] == "over"]
    assert [(r["scope"], r["spent"], r["cap"], r["left"]) for r in over] == [
        ("agent:ann", 2_000_000, 2_000_000, 0)
    ]
    assert over[0]["window"].startswith("day:")
    assert over[0]["turns"].endswith("00:00Z")


def test_a_cap_is_foreseen_from_what_calls_have_cost(folder: Path):
    anyio.run(_make_calls, folder / ".broker", 10, 1000)
    rows = json.loads(run("budget", "forecast", "--over", "1h", "--json"))
    found = {(r["scope"], r["unit"]): r for r in rows}
    day = found["agent:ann", "micro_usd"]
    assert (day["calls"], day["per hour"], day["left"]) == (10, 10_000, 1_990_000)
    assert day["reached"].startswith("not before it turns")  # in 199 hours
    month = found["organisation:acme", "micro_usd"]
    assert month["reached"].startswith("not before it turns")
    assert "no time at all" in run("budget", "forecast", "--over", "0", code=2)


def test_who_is_unknown_and_what_nobody_offers_is_said(folder: Path):
    assert "there is no agent `bob`" in run("budget", "explain", "echo__say", "--as", "bob", code=5)
