"""A file of agents, planned and applied as from a pipeline of an operator."""

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from broker.__main__ import Composition
from broker.edges.cli import main as cli

TWO = """\
agents:
  - {agent: planner, organisation: acme, roles: [operator], owner: dana, cap: "1"}
  - {agent: researcher, organisation: acme, roles: [reader], owner: dana}
"""


@dataclass
class Place:
    """A deployment of its own, and the file that says which agents it has."""

    folder: Path

    def __call__(self, *words: str) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.chdir(self.folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = cli.run(Composition(), ["agent", *words])
        return code, out.getvalue(), err.getvalue()

    def json(self, *words: str, code: int = 0):
        ended, out, err = self(*words, "--json")
        assert ended == code, err + out
        return json.loads(out)

    def write(self, text: str) -> None:
        (self.folder / "agents.yaml").write_text(text)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.delenv("BROKER_CONFIG", raising=False)
    (tmp_path / "broker.toml").write_text("")
    there = Place(tmp_path)
    there.write(TWO)
    return there


def kinds(rows) -> dict[str, str]:
    return {row["agent"]: row["change"] for row in rows}


def test_a_plan_says_what_would_change_and_changes_nothing(place: Place):
    assert kinds(place.json("plan", "agents.yaml", code=1)) == {"planner": "add", "researcher": "add"}
    assert kinds(place.json("plan", "agents.yaml", code=1)) == {"planner": "add", "researcher": "add"}
    assert place.json("list") == []


def test_applying_a_file_a_second_time_changes_nothing(place: Place):
    first = place.json("apply", "agents.yaml")
    assert all(row["client_secret"].startswith("bk_") for row in first)
    assert place.json("apply", "agents.yaml") == []
    assert place.json("plan", "agents.yaml") == []
    assert len(place.json("history", "planner")) == 1


def test_what_an_operator_changed_by_hand_is_drift_and_is_put_right(place: Place):
    place("apply", "agents.yaml")
    place("set", "planner", "--cap", "5", "--team", "red")
    (row,) = place.json("plan", "agents.yaml", code=1)
    assert row["fields"] == {
        "team": {"now": "red", "file": None},
        "cap_micro_usd": {"now": 5_000_000, "file": 1_000_000},
    }
    place.json("apply", "agents.yaml")
    assert place.json("show", "planner")["cap"] == "1.00 USD"
    assert place.json("history", "planner")[-1]["reason"] == "agents.yaml"


def test_new_secrets_go_into_files_that_only_their_owner_reads(place: Place):
    (place.folder / "secrets").mkdir()
    code, out, err = place("apply", "agents.yaml", "--secrets-dir", "secrets")
    assert code == 0, err
    assert "bk_" not in out + err
    file = place.folder / "secrets" / "planner.secret"
    assert file.read_text().startswith("bk_")
    assert file.stat().st_mode & 0o777 == 0o600


def test_no_secret_is_overwritten_and_then_nobody_is_added(place: Place):
    (place.folder / "secrets").mkdir()
    (place.folder / "secrets" / "researcher.secret").write_text("old")
    code, _, err = place("apply", "agents.yaml", "--secrets-dir", "secrets")
    assert code == 2
    assert "exists already" in err
    assert place.json("list") == []


def test_an_agent_that_left_the_file_is_reported_and_suspended_only_on_request(place: Place):
    place("apply", "agents.yaml")
    place.write(TWO.rpartition("  - ")[0])
    assert kinds(place.json("apply", "agents.yaml")) == {"researcher": "absent"}
    assert place.json("show", "researcher")["status"] == "active"
    assert kinds(place.json("apply", "agents.yaml", "--suspend-absent")) == {"researcher": "suspend"}
    assert place.json("show", "researcher")["status"] == "suspended"
    assert place.json("plan", "agents.yaml", "--suspend-absent") == []


def test_a_suspension_by_an_operator_outlives_every_file(place: Place):
    place("apply", "agents.yaml")
    place("suspend", "planner")
    assert kinds(place.json("plan", "agents.yaml", code=1)) == {"planner": "inactive"}
    place("apply", "agents.yaml")
    assert place.json("show", "planner")["status"] == "suspended"
    assert "which a file does not change (broker agent resume)" in place("plan", "agents.yaml")[1]


def test_a_mistake_in_the_file_changes_nothing(place: Place):
    place.write(TWO + "  - {agent: third, rolls: [reader], owner: dana}\n")
    code, _, err = place("apply", "agents.yaml")
    assert code == 2
    assert "agents.yaml:4: unknown key `rolls`" in err
    assert "did you mean `roles`?" in err
    assert place.json("plan", "agents.yaml", code=2)["error"]["code"] == "configuration"
    place.write(TWO)
    assert kinds(place.json("plan", "agents.yaml", code=1)) == {"planner": "add", "researcher": "add"}


def test_a_plan_reads_well(place: Place):
    place("apply", "agents.yaml")
    place("set", "planner", "--cap", "5", "--role", "reader")
    code, out, _ = place("plan", "agents.yaml")
    assert code == 1
    assert out.startswith("change    planner")
    assert "roles reader → operator, cap_micro_usd 5.00 USD → 1.00 USD" in out


def test_a_role_that_no_policy_defines_is_pointed_out(place: Place):
    place.write(TWO.replace("[reader]", "[raeder]"))
    assert "no policy defines the role `raeder`" in place("plan", "agents.yaml")[2]
