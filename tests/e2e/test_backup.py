"""A backup is made while the broker runs, and is the state again only if it verifies."""

import json
import shutil
from functools import partial
from pathlib import Path

import anyio
import apsw
import pytest

from tests.e2e.restartable import Restartable
from tests.e2e.rpc import call_tool

pytestmark = pytest.mark.timeout(120)

SAID = "twelve thousand euros"


class Before:
    """A broker that has stopped, with a backup from the middle of its life and checkpoints of both times."""

    def __init__(self, folder: Path) -> None:
        self.broker = Restartable(
            folder / "broker", {"echo": {"use": "echo"}}, settings={"audit": {"payloads": "keep"}}
        )
        self.state = self.broker.folder / ".broker"
        self.backup, self.keys = folder / "state.backup", folder / "keys.backup"
        self.saved = folder / "saved"
        self.then, self.later = folder / "then.checkpoint", folder / "later.checkpoint"

    def live(self) -> None:
        with self.broker:
            at = self.broker.deployment
            token = at.token(at.add_agent("wide", "everything"))
            anyio.run(partial(call_tool, at.mcp_url, token, "echo__say", text=SAID))
            at.command("audit", "checkpoint", "--out", str(self.then))
            at.command("backup", str(self.backup), "--keys", str(self.keys))
            anyio.run(partial(call_tool, at.mcp_url, token, "echo__say", text="more"))
            at.command("audit", "checkpoint", "--out", str(self.later))
        shutil.copytree(self.state, self.saved)

    def lose(self) -> None:
        """The disk is gone; the wrapping key was kept elsewhere."""
        shutil.rmtree(self.state)
        self.state.mkdir(mode=0o700)
        shutil.copy(self.saved / "payload.key", self.state)


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Before:
    made = Before(tmp_path_factory.mktemp("backup"))
    made.live()
    return made


@pytest.fixture
def before(once: Before) -> Before:
    shutil.rmtree(once.state)
    shutil.copytree(once.saved, once.state)
    return once


def test_a_restored_state_verifies_serves_and_holds_what_was_said(before: Before):
    assert {file.stat().st_mode & 0o777 for file in (before.backup, before.keys)} == {0o600}
    before.lose()
    run = before.broker.run
    done = run("restore", str(before.backup), "--keys", str(before.keys), "--checkpoint", str(before.then))
    assert done.returncode == 0, done.stdout + done.stderr
    assert run("audit", "verify", "--checkpoint", str(before.then)).returncode == 0
    (call,) = [json.loads(line)["call"] for line in run("calls", "tail", "--json").stdout.splitlines()]
    assert SAID in run("calls", "show", call, "--payload", "--reason", "after the fire").stdout
    with before.broker:
        assert "wide" in run("agent", "list").stdout


def test_a_state_that_is_there_is_never_overwritten(before: Before):
    was = before.broker.database.read_bytes()
    done = before.broker.run("restore", str(before.backup))
    assert done.returncode == 2
    assert "holds a state already" in done.stderr
    assert before.broker.database.read_bytes() == was


def test_an_older_state_than_was_signed_is_not_restored(before: Before):
    before.lose()
    done = before.broker.run("restore", str(before.backup), "--checkpoint", str(before.later))
    assert done.returncode == 6
    assert "the log ends here, a signed checkpoint covers" in done.stdout
    assert not before.broker.database.exists()


def test_a_bent_backup_is_not_restored(before: Before):
    before.lose()
    bent = shutil.copy(before.backup, before.backup.with_name("bent.backup"))
    connection = apsw.Connection(str(bent))
    connection.execute(
        "update audit_rec set body = cast(replace(cast(body as text), 'wide', 'evil') as blob)"
    )
    connection.close()
    done = before.broker.run("restore", str(bent))
    assert done.returncode == 6
    assert "the record does not have the hash it was stored with" in done.stdout
    assert not before.broker.database.exists()


def test_a_backup_without_its_keys_is_a_whole_log_whose_payloads_nobody_can_read(before: Before):
    before.lose()
    run = before.broker.run
    assert run("restore", str(before.backup)).returncode == 0
    (call,) = [json.loads(line)["call"] for line in run("calls", "tail", "--json").stdout.splitlines()]
    shown = run("calls", "show", call, "--payload", "--reason", "after the fire").stdout
    assert SAID not in shown
    assert "a key of it is gone" in shown


def test_a_backup_never_overwrites_a_file(before: Before):
    was = before.backup.read_bytes()
    assert before.broker.run("backup", str(before.backup)).returncode == 2
    assert before.backup.read_bytes() == was
