"""`broker audit` beside a running server."""

import json
import subprocess
import sys

import pytest

from broker.audit.checkpoint import Note
from broker.audit.tree import verify_consistency, verify_inclusion


@pytest.fixture(autouse=True)
def answer(deployment) -> dict[str, object]:
    """What a caller got to a call of this test's own, which is in the log `default`."""
    return deployment.json("call", "echo__say", "text=hello", "--as", "olga")["_meta"]


def test_a_checkpoint_as_it_is_printed_verifies(deployment, tmp_path):
    kept = tmp_path / "kept"
    kept.write_text(deployment.run("audit", "checkpoint", "--log", "default").stdout, encoding="utf-8")
    report = deployment.json("audit", "verify", "--checkpoint", str(kept))
    (log,) = (log for log in report["logs"] if log["log"] == "default")
    assert Note.parse(kept.read_text("utf-8")).checkpoint.size <= log["signed_to"]


def test_the_checkpoints_of_all_logs_are_kept_in_one_file(deployment, tmp_path):
    kept = tmp_path / "kept"
    done = deployment.run("audit", "checkpoint", "--out", str(kept))
    assert (done.returncode, done.stdout) == (0, f"2 checkpoints are in {kept}\n")
    before = {log["log"]: log["checkpoints"] for log in deployment.json("audit", "verify")["logs"]}
    after = deployment.json("audit", "verify", "--checkpoint", str(kept))
    assert {log["log"]: log["checkpoints"] - before[log["log"]] for log in after["logs"]} == {
        "default": 1,
        "system": 1,
    }


def test_a_log_that_is_not_there_has_no_checkpoint(deployment):
    done = deployment.run("audit", "checkpoint", "--log", "nobody")
    assert done.returncode == 5
    assert "`default`" in done.stderr


def test_a_file_that_cannot_be_written_is_named(deployment, tmp_path):
    done = deployment.run("audit", "checkpoint", "--out", str(tmp_path / "no" / "such"))
    assert done.returncode == 2
    assert "cannot write" in done.stderr


def test_the_keys_are_those_that_sign(deployment):
    keys = {row["log"]: row["key"] for row in deployment.json("audit", "keys")}
    for note in deployment.json("audit", "checkpoint"):
        origin, key_id, _ = keys[note["log"]].split("+", 2)
        ((name, blob),) = Note.parse(note["note"]).signatures
        assert (name, blob[:4].hex()) == (origin, key_id)


def test_a_call_is_proven_against_a_signed_checkpoint(deployment, answer):
    call = answer["io.toolbroker/call"]["id"]
    proof = deployment.json("audit", "prove", call)
    note = Note.parse(proof["checkpoint"]["note"])
    assert [record["type"] for record in proof["records"]] == ["call.intent", "call.outcome"]
    for record in proof["records"]:
        path = [bytes.fromhex(step) for step in record["proof"]]
        size, root = note.checkpoint.size, note.checkpoint.root
        assert verify_inclusion(bytes.fromhex(record["leaf"]), record["seq"], size, path, root)
    assert deployment.run("audit", "prove", call).stdout.endswith("signed\nproven\n")


def test_a_call_is_proven_to_be_in_a_log_that_only_grew(deployment, answer, tmp_path):
    kept = tmp_path / "kept"
    deployment.run("audit", "checkpoint", "--out", str(kept))
    later = deployment.json("call", "echo__say", "text=later", "--as", "olga")["_meta"]
    proof = deployment.json("audit", "prove", later["io.toolbroker/call"]["id"], "--since", str(kept))
    ((old,), new) = proof["since"], Note.parse(proof["checkpoint"]["note"]).checkpoint
    path = [bytes.fromhex(step) for step in old["proof"]]
    assert old["size"] < new.size
    assert verify_consistency(old["size"], new.size, bytes.fromhex(old["root"]), new.root, path)


def test_a_checkpoint_of_another_log_proves_nothing_about_a_call(deployment, answer, tmp_path):
    (tmp_path / "kept").write_text(deployment.run("audit", "checkpoint", "--log", "system").stdout)
    words = ("audit", "prove", answer["io.toolbroker/call"]["id"], "--since", str(tmp_path / "kept"))
    (problem,) = deployment.json(*words, code=6)["problems"]
    assert "none of the older checkpoints" in problem


def test_a_callers_receipt_is_for_a_record_of_its_call(deployment, answer):
    receipt = json.dumps(answer["io.toolbroker/receipt"])
    done = deployment.run("audit", "prove", answer["io.toolbroker/call"]["id"], "--receipt", receipt)
    assert done.returncode == 0
    assert "the receipt is for one of these records" in done.stdout


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"log": "system"}, "the receipt is of the log `system`"),
        ({"index": 0}, "none of this call"),
        ({"leaf": "00" * 32}, "its hash is another"),
        ({"size": 0}, "which cannot be"),
        ({"size": 10**9}, "which cannot be"),
    ],
)
def test_a_receipt_that_is_not_so_ends_with_6(deployment, answer, change, what):
    receipt = json.dumps(answer["io.toolbroker/receipt"] | change)
    words = ("audit", "prove", answer["io.toolbroker/call"]["id"], "--receipt", receipt)
    (problem,) = deployment.json(*words, code=6)["problems"]
    assert what in problem


@pytest.mark.parametrize("receipt", ["", "[]", "{}", '{"log": "default"}'])
def test_what_is_no_receipt_is_refused_with_what_to_pass(deployment, answer, receipt):
    done = deployment.run("audit", "prove", answer["io.toolbroker/call"]["id"], "--receipt", receipt)
    assert done.returncode == 2
    assert "io.toolbroker/receipt" in done.stderr


def test_a_call_that_nobody_made_cannot_be_proven(deployment):
    assert deployment.run("audit", "prove", "c_none").returncode == 5


def test_an_export_verifies_without_the_broker(deployment, tmp_path):
    done = deployment.run("audit", "export", "--out", str(tmp_path / "out"))
    assert (done.returncode, done.stdout.endswith(f"exported to {tmp_path / 'out'}\n")) == (0, True)
    words = [sys.executable, "-I", "-S", tmp_path / "out" / "verify.py"]
    assert subprocess.run(words, capture_output=True, timeout=60, check=False).returncode == 0


def test_an_export_holds_the_range_that_was_asked_for(deployment, tmp_path):
    words = (
        "audit",
        "export",
        "--log",
        "default",
        "--from",
        "1",
        "--to",
        "2",
        "--out",
        str(tmp_path / "a.zip"),
    )
    assert deployment.json(*words)["logs"] == [{"log": "default", "records": 2}]
    words = ("audit", "export", "--from", "2001-01-01", "--to", "2002-01-01T00:00:00Z", "--out")
    logs = deployment.json(*words, str(tmp_path / "b.zip"))["logs"]
    assert {log["records"] for log in logs} == {0}


@pytest.mark.parametrize(
    ("words", "what"), [(("--from", "3"), "--log"), (("--from", "yesterday"), "nor a time")]
)
def test_a_range_that_is_none_is_refused(deployment, tmp_path, words, what):
    done = deployment.run("audit", "export", *words, "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert what in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("kind", "known"), [("ocsf", "class_uid"), ("otlp", "resourceSpans"), ("jsonl", "seq")]
)
def test_other_systems_get_the_calls_that_fit_as_lines(deployment, tmp_path, kind, known):
    out = tmp_path / "lines"
    words = (
        "audit",
        "export",
        "--format",
        kind,
        "--out",
        str(out),
        "agent=olga",
        "tool=echo__say",
        "since=1d",
    )
    done = deployment.run(*words)
    assert (done.returncode, done.stdout.endswith(f" lines of {kind} in {out}\n")) == (0, True)
    assert all(known in json.loads(line) for line in out.read_text("utf-8").splitlines())
    assert out.stat().st_size > 0
    assert out.stat().st_mode & 0o077 == 0
    assert deployment.run(*words).returncode != 0, "it is there already"


def test_a_log_is_exported_as_tiles(deployment, tmp_path):
    done = deployment.run(
        "audit", "export", "--format", "tiles", "--out", str(tmp_path / "t"), "--log", "default"
    )
    assert (done.returncode, "records as tiles" in done.stdout) == (0, True)
    assert (tmp_path / "t" / "default" / "checkpoint").is_file()


def test_a_format_that_is_unknown_is_refused_with_one_that_is_meant(deployment, tmp_path):
    done = deployment.run("audit", "export", "--format", "ocfs", "--out", str(tmp_path / "x"))
    assert (done.returncode, "did you mean `ocsf`?" in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "x").exists()


def test_conditions_choose_calls_and_a_mistake_in_one_is_named(deployment):
    done = deployment.run("calls", "tail", "agent=olga", "tool=echo__say", "outcome=ok", "--last", "1")
    assert (done.returncode, done.stdout.count("echo__say")) == (0, 1)
    assert deployment.run("calls", "tail", "agent=olga", "tool=no_such_tool").stdout == ""
    done = deployment.run("calls", "tail", "agnet=olga")
    assert (done.returncode, "did you mean `agent`?" in done.stderr) == (2, True), done.stderr
