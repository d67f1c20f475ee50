"""The verbs about approvals, on a state of their own with questions in it."""

import getpass
import json
import os
import pwd
import time
from pathlib import Path

import anyio
import pytest

from broker.__main__ import Composition
from broker.app import office
from broker.approvals.interface import Approval, Term
from broker.audit.interface import Entry, Event
from broker.edges.cli import main as cli
from broker.identity.seals import Sealer
from broker.settings import Settings
from tests.contract.test_approvals import approval

PARAMS = {"name": "shop__refund", "arguments": {"to": "ada\u202e\nb", "amount": 20}}


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    """A deployment with two questions that nobody has answered."""
    settings = Settings(state_dir=tmp_path / "state", policies_dir=tmp_path / "policies")
    (tmp_path / "policies" / "roles").mkdir(parents=True)
    lines = [f"state_dir = '{settings.state_dir}'", f"policies_dir = '{settings.policies_dir}'"]
    (tmp_path / "broker.toml").write_text("\n".join(lines))
    anyio.run(ask, settings)
    return tmp_path


async def ask(settings: Settings) -> None:
    now = int(time.time())
    async with office(settings) as back:
        for name in ("a1", "a2"):
            one = approval(
                name,
                name.encode(),
                requested_at=now,
                expires_at=now + 900,
                task="refunds\ncost     nothing",
                terms=(Term("money", "team-lead", "money leaves"),),
            )
            sealed = Sealer(back.keys.seal).seal(f"approval {name}", {"params": json.dumps(PARAMS)}, 900)
            await back.store.approvals.ask(one, sealed, requested(one), 20, requested)


def requested(one: Approval) -> Entry:
    return Entry("acme", Event.APPROVAL_REQUESTED, {"approval": one.id})


def run(folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = cli.run(Composition(), ["approvals", *words, "--config", str(folder / "broker.toml")])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_what_waits_is_listed_and_shown_in_full(asked: Path, capsys):
    code, out, _ = run(asked, capsys, "list")
    rows = [line.split("\t") for line in out.splitlines()]
    assert (code, rows[0][:4]) == (0, ["approval", "state", "agent", "target"])
    assert [row[:4] for row in rows[1:]] == [
        [name, "pending", "researcher ← planner", "shop__refund"] for name in ("a1", "a2")
    ]
    _, shown, _ = run(asked, capsys, "show", "a1")
    for part in (
        "tools/call shop__refund",
        "(chain researcher ← planner)",
        "money: money leaves",
        "asked of team-lead",
        "untrusted-source",
        "to first seen: untrusted",
        "at most 0.0005 USD",
        '"amount": 20',
    ):
        assert part in shown
    assert "\ncost     nothing" not in shown
    assert "\u202e" not in shown
    _, data, _ = run(asked, capsys, "show", "a1", "--json")
    assert json.loads(data)["params"] == PARAMS


def test_each_decision_is_made_once_and_by_the_user_of_the_machine(asked: Path, capsys, monkeypatch):
    monkeypatch.setenv("LOGNAME", "dana")
    monkeypatch.setenv("USER", "dana")
    code, out, _ = run(asked, capsys, "approve", "a1", "--reason", "fine", "--json")
    decided = json.loads(out)
    me = pwd.getpwuid(os.getuid()).pw_name
    assert getpass.getuser() == "dana"
    assert (code, decided["state"], decided["terms"][0]["agreed"]) == (0, "approved", [me])
    code, _, err = run(asked, capsys, "deny", "a1")
    assert (code, "`a1` is approved already" in err) == (2, True)
    assert run(asked, capsys, "revoke", "a1")[1] == "a1 is revoked\n"
    assert run(asked, capsys, "deny", "a2", "--reason", "no")[1] == "a2 is denied\n"
    assert run(asked, capsys, "list")[2] == "nothing waits for a human\n"
    _, out, _ = run(asked, capsys, "list", "--all", "--json")
    assert [one["state"] for one in json.loads(out)] == ["revoked", "denied"]
    assert "kept only while an answer is pending" in run(asked, capsys, "show", "a1")[1]


def test_an_approval_that_reaches_further_says_how_far_and_until_when(asked: Path, capsys):
    code, out, _ = run(asked, capsys, "approve", "a1", "--for-chain", "--until", "30m")
    assert (code, out) == (
        0,
        "a1 is approved for every call of this chain to this target in this transaction\n",
    )
    assert "29 min" in run(asked, capsys, "list")[1] or "30 min" in run(asked, capsys, "list")[1]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["approve", "a1", "--for-chain"], 2, "--until goes with --for-chain"),
        (["approve", "a1", "--until", "5m"], 2, "--until goes with --for-chain"),
        (["approve", "a1", "--for-chain", "--for-agent", "--until", "5m"], 2, "give one of them"),
        (["approve", "a1", "--for-agent", "--until", "soon"], 2, "is not a duration"),
        (["approve", "a1", "--for-agent", "--until", "0"], 2, "that end is past"),
        (["approve", "nope"], 5, "there is no approval `nope`"),
        (["show", "nope"], 5, "there is no approval `nope`"),
    ],
)
def test_a_decision_that_cannot_be_is_refused_with_what_to_do(asked: Path, capsys, words, code, said):
    ended, _, err = run(asked, capsys, *words)
    assert (ended, said in err) == (code, True), err


def test_whom_the_file_does_not_name_may_not_decide_at_the_command_line(asked: Path, capsys):
    (asked / "policies" / "approvals.yaml").write_text("approvers:\n  team-lead: {people: [nobody-here]}\n")
    code, _, err = run(asked, capsys, "approve", "a1")
    assert (code, "may not decide this: it is asked of `team-lead`" in err) == (3, True)
    (asked / "policies" / "approvals.yaml").write_text("approvers:\n  team-lead: {poeple: [dana]}\n")
    code, _, err = run(asked, capsys, "approve", "a1")
    assert (code, "approvals.yaml:2: unknown key `poeple`" in err, "did you mean `people`" in err) == (
        2,
        True,
        True,
    )
