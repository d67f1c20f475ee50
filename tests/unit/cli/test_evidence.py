"""`broker evidence pack` beside a running server."""

import json
import subprocess
import sys
import zipfile

import pytest


def test_a_pack_of_a_running_broker_verifies_with_python_alone(deployment, tmp_path):
    deployment.json("call", "echo__say", "text=a text that is nowhere else", "--as", "olga")
    pack = tmp_path / "pack.zip"
    done = deployment.run("evidence", "pack", "--out", str(pack))
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(pack) as files:
        (tmp_path / "verify.py").write_bytes(files.read("verify.py"))
        everything = b"".join(files.read(name) for name in files.namelist())
        policies = json.loads(files.read("controls/policies.json"))
        agents = json.loads(files.read("inventory/agents.json"))
    assert b"nowhere else" not in everything
    assert policies["texts_at_writing"]["version"] == policies["in_force"][-1]["policy"]
    assert "olga" in {agent["agent"] for agent in agents}
    keys = [part for row in deployment.json("audit", "keys") for part in ("--key", row["key"])]
    command = [sys.executable, "-I", "-S", str(tmp_path / "verify.py"), str(pack), *keys]
    checked = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert (checked.returncode, checked.stdout.splitlines()[-1]) == (0, "verified")


def test_a_pack_of_one_organisation_has_no_other_log(deployment, tmp_path):
    pack = tmp_path / "pack.zip"
    deployment.json("call", "echo__say", "text=hello", "--as", "olga")
    assert deployment.run("evidence", "pack", "--org", "default", "--out", str(pack)).returncode == 0
    with zipfile.ZipFile(pack) as files:
        manifest = json.loads(files.read("manifest.json"))
    assert [log["name"] for log in manifest["logs"]] == ["default"]
    assert manifest["evidence"]["organisation"] == "default"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--out", "pack.tar"), ".zip"),
        (("--out", "pack.zip", "--from", "12"), "not a time"),
        (("--out", "pack.zip", "--to", "soon"), "neither"),
    ],
)
def test_what_cannot_be_packed_is_said(deployment, tmp_path, arguments, said):
    done = deployment.run("evidence", "pack", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
