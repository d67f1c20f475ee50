"""Threat: whoever hands a pack of evidence over has changed it. Python alone says so."""

import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.audit.checkpoint import Checkpoint, Signer, verifier_key
from broker.audit.evidence.mapping import LINES
from broker.audit.evidence.pack import Known, pack
from broker.audit.evidence.sections import SECTIONS
from broker.audit.export import Range, target
from broker.audit.interface import Entry, Event
from broker.audit.publisher import newest_note
from broker.storage.sqlite import open_store

SIGNER = Signer(Ed25519PrivateKey.generate())
FORGER = Signer(Ed25519PrivateKey.generate())
ORIGIN = "broker.test/audit/system"
KEY = verifier_key(ORIGIN, SIGNER.public)
FACTS = ("organisation", "owner", "model", "model_version", "attestation", "status")
NAME = '<img src="https://evil.test/x"><script>alert(1)</script>'


@pytest.fixture
async def made(tmp_path):
    """A pack, and the same one once more."""
    seconds = iter(range(1_800_000_000, 1_900_000_000))
    clock = lambda: float(next(seconds))  # noqa: E731
    async with open_store(tmp_path / "b.db", deployment="broker.test", serve=True, clock=clock) as store:
        write = store.journal.append
        await write(Entry("system", Event.POLICY_CHANGED, {"policy": "sha256:aa"}))
        await write(Entry("system", Event.POLICY_CHANGED, {"policy": "sha256:aa"}))
        facts = {"what": {"name": NAME, "kind": "tool"}, "spend": {"held": 900, "budgets": []}}
        finding = {"guard": "secrets", "stage": "arguments", "type": "token", "action": "redact"}
        await write(Entry("system", Event.CALL_INTENT, facts | {"findings": [finding]}, "c1", NAME))
        await write(Entry("system", Event.CALL_OUTCOME, {"outcome": "ok", "cost": 700}, "c1", NAME))
        await write(Entry("system", Event.CALL_DENIED, {"outcome": "blocked"}, "c2", NAME))
        await write(Entry("system", Event.CALL_STOPPED, {"stopped": "c3", "by": "olga", "reason": "odd"}))
        await write(Entry("system", Event.SUBJECT_ERASED, {"subject": "ps_1", "payloads": 3, "basis": "17"}))
        (head,) = await store.log.logs()
        signed = [(head, await newest_note(store.log, SIGNER, head))]
        for name in ("pack.zip", "again.zip"):
            await pack(
                store.log,
                signed,
                target(tmp_path / name),
                signer=SIGNER,
                wanted=Range(),
                known=Known(
                    "broker.test", agents=[dict.fromkeys(FACTS, NAME) | {"agent": NAME, "roles": [NAME]}]
                ),
                progress=lambda *_: None,
            )
    return tmp_path / "pack.zip"


def check(path: Path, *arguments: str) -> tuple[int, str]:
    """What the verifier inside says, as a reader runs it who has Python and nothing else."""
    verifier = path.parent / "verify.py"
    with zipfile.ZipFile(path) as files:
        verifier.write_bytes(files.read("verify.py"))
    command = [sys.executable, "-I", "-S", str(verifier), str(path), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    return done.returncode, done.stdout


def files_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as files:
        return {name: files.read(name) for name in files.namelist()}


def forged(path: Path, files: dict[str, bytes], *, rehash: bool = True, signer: Signer | None = None) -> Path:
    """A pack of these files; `rehash`: with a manifest that agrees; `signer`: and is signed again."""
    if rehash:
        manifest = json.loads(files["manifest.json"])
        outside = {"manifest.json", "manifest.note"}
        manifest["files"] = {n: hashlib.sha256(d).hexdigest() for n, d in files.items() if n not in outside}
        files["manifest.json"] = json.dumps(manifest).encode()
    if signer:
        data = files["manifest.json"]
        told = Checkpoint(f"{ORIGIN}/evidence", len(data), hashlib.sha256(data).digest())
        files["manifest.note"] = signer.sign(told).encode()
    with zipfile.ZipFile(path.with_name("forged.zip"), "w") as made:
        for name, data in files.items():
            made.writestr(name, data)
    return path.with_name("forged.zip")


async def test_a_pack_is_verified_by_whoever_has_python_alone(made):
    code, out = check(made, "--key", KEY)
    assert (code, out.splitlines()[-1]) == (0, "verified")
    assert f"signed for {ORIGIN}/evidence" in out


async def test_the_same_log_and_period_give_the_same_bytes(made):
    assert made.read_bytes() == made.with_name("again.zip").read_bytes()


@pytest.mark.parametrize("name", ["report.html", "mapping.csv", "privacy/requests.jsonl", "spend/spend.csv"])
async def test_a_changed_file_is_named(made, name):
    files = files_of(made)
    files[name] += b" "
    code, out = check(forged(made, files, rehash=False), "--key", KEY)
    assert (code, f"the file {name} is not the one that was exported" in out) == (1, True)


async def test_a_manifest_that_was_made_to_agree_is_not_the_one_that_was_signed(made):
    files = files_of(made)
    files["report.html"] += b" "
    code, out = check(forged(made, files), "--key", KEY)
    assert (code, "the manifest is not the one that was signed" in out) == (1, True)


async def test_a_manifest_signed_by_another_key_is_not_believed(made):
    files = files_of(made)
    files["report.html"] += b" "
    code, out = check(forged(made, files, signer=FORGER), "--key", KEY)
    assert (code, "the manifest is not signed by a known key" in out) == (1, True)


async def test_a_pack_without_its_signature_does_not_pass_as_a_plain_export(made):
    files = files_of(made)
    files["report.html"] += b" "
    del files["manifest.note"]
    manifest = json.loads(files["manifest.json"])
    del manifest["evidence"]
    files["manifest.json"] = json.dumps(manifest).encode()
    code, out = check(forged(made, files), "--key", KEY)
    assert (code, "nobody has signed the manifest" in out) == (1, True)


async def test_a_checkpoint_of_the_log_does_not_pass_as_a_signature_of_the_manifest(made):
    files = files_of(made)
    files["manifest.note"] = files["logs/0/checkpoints.txt"]
    code, out = check(forged(made, files, rehash=False), "--key", KEY)
    assert (code, "the manifest is not signed by a known key" in out) == (1, True)


async def test_a_file_that_was_added_is_named(made):
    code, out = check(forged(made, files_of(made) | {"extra.txt": b"x"}, rehash=False), "--key", KEY)
    assert (code, "the file extra.txt is not in the manifest" in out) == (1, True)


async def test_a_record_that_was_changed_with_everything_beside_it_is_found(made):
    files = files_of(made)
    files["logs/0/records.jsonl"] = files["logs/0/records.jsonl"].replace(b"olga", b"anna")
    code, out = check(forged(made, files, signer=SIGNER), "--key", KEY)
    assert (code, "the record does not have the hash that was exported" in out) == (1, True)


async def test_the_report_loads_and_runs_nothing_whatever_names_the_log_holds(made):
    page = files_of(made)["report.html"].decode()
    assert "<script" not in page
    assert "<img" not in page
    assert "src=" not in page.replace("src=&quot;", "")
    assert "&lt;img" in page


async def test_a_pack_says_what_was_erased_stopped_and_found(made):
    files = files_of(made)
    lines = {s.file: [json.loads(line) for line in files[s.file].splitlines()] for s in SECTIONS}
    assert [line["subject"] for line in lines["privacy/requests.jsonl"]] == ["ps_1"]
    assert [line["by"] for line in lines["oversight/decisions.jsonl"]] == ["olga"]
    assert [line["findings"][0]["guard"] for line in lines["guardrails/decisions.jsonl"]] == ["secrets"]
    (incident,) = lines["incidents/candidates.jsonl"]
    assert incident["known"]["stopped"] == "c3"
    assert set(incident["to_be_filled_in"].values()) == {None}
    assert [p["policy"] for p in json.loads(files["controls/policies.json"])["in_force"]] == ["sha256:aa"]
    assert b",1,700,0" in files["spend/spend.csv"]


async def test_every_file_that_the_mapping_names_is_there_and_nothing_is_called_compliant(made):
    files = files_of(made)
    named = {file.replace("*", "0") for line in LINES for file in line.files}
    assert named <= files.keys()
    assert not any(b"complian" in data.lower() for name, data in files.items() if name != "verify.py")
