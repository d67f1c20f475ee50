"""Is the key of checkpoints changed while the broker runs, and does what the old one signed still verify?"""

import subprocess
import sys
from functools import partial
from pathlib import Path

import anyio
import pytest

from broker.audit.checkpoint import Note, notes_in
from tests.e2e.restartable import Restartable
from tests.e2e.rpc import call_tool

pytestmark = pytest.mark.timeout(120)


def keys(broker: Restartable) -> list[str]:
    return broker.run("audit", "keys").stdout.split()


def verdict(export: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    words = [sys.executable, "-I", "-S", str(export / "verify.py"), *more]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


def test_a_rotation_changes_who_signs_and_nothing_of_what_was_signed(tmp_path: Path):
    broker, kept, export = (
        Restartable(tmp_path / "b", {"echo": {"use": "echo"}}),
        tmp_path / "kept",
        tmp_path / "x",
    )
    with broker:
        at = broker.deployment
        token = at.token(at.add_agent("wide", "everything"))
        anyio.run(partial(call_tool, at.mcp_url, token, "echo__say", text="before"))
        assert broker.run("audit", "checkpoint", "--out", str(kept)).returncode == 0
        before = keys(broker)
        assert broker.run("keys", "rotate", "--log").returncode == 0
        anyio.run(partial(call_tool, at.mcp_url, token, "echo__say", text="after"))
    after = keys(broker)
    assert set(before) < set(after)
    assert len(after) == 2 * len(before)
    assert broker.run("audit", "verify", "--checkpoint", str(kept)).returncode == 0
    assert broker.run("audit", "export", "--out", str(export)).returncode == 0
    assert "# signed from" in (export / "keys.txt").read_text()
    pinned = [word for key in after for word in ("--key", key)]
    done = verdict(export, *pinned, "--checkpoint", str(kept))
    assert done.returncode == 0, done.stdout
    only_new = [word for key in after if key not in before for word in ("--key", key)]
    assert "is not signed by a known key" in verdict(export, *only_new).stdout
    newest = notes_in((export / "logs/0/checkpoints.txt").read_text())[-1]
    assert Note.parse(newest).signatures[0][1][:4].hex() in {
        key.split("+")[1] for key in after if key not in before
    }
