"""Threat: whoever hands an export over has changed it. Python alone says in which log, and where."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.audit.checkpoint import Checkpoint, Signer, verifier_key
from broker.audit.export import Range, export, target
from broker.audit.interface import Entry, Event
from broker.audit.publisher import newest_note
from broker.audit.tree import leaf_hash, tree_root
from broker.journal import Closing, Opening
from broker.ledger.interface import Budget, Quote, Settlement
from broker.model import MicroUSD
from broker.storage.sqlite import open_store
from broker.storage.store import Store
from tests.contract.words import NOBODY

SIGNER = Signer(Ed25519PrivateKey.generate())
SIGNED = 9
"""The size of both logs at their first checkpoint; the export ends with a second one, at 13."""
LOGS = {"acme": 0, "zenith": 1}
ORIGIN = "broker.test/audit/{}"


@dataclass
class Verdict:
    code: int
    out: str

    @property
    def problems(self) -> list[str]:
        return [line for line in self.out.split("\n") if "#" in line and not line.startswith("  ")]


@dataclass
class Victim:
    """An export of two logs, what an attacker does to it, and what was kept elsewhere."""

    path: Path
    kept: Path
    older: Path
    """A genuine export of the same logs as they were at their first checkpoint."""

    def file(self, log: str, name: str) -> Path:
        return self.path / "logs" / str(LOGS[log]) / name

    def records(self, log: str) -> list[bytes]:
        return self.file(log, "records.jsonl").read_bytes().split(b"\n")[:-1]

    def write(self, log: str, records: list[bytes], *, rehash: bool = True) -> None:
        """Put records into a log; `rehash`: with leaves and counts that agree."""
        self.file(log, "records.jsonl").write_bytes(b"".join(record + b"\n" for record in records))
        if rehash:
            self.file(log, "leaves.bin").write_bytes(b"".join(map(leaf_hash, records)))
        self.manifest(log, size=len(records), end=len(records)) if rehash else self.manifest(log)

    def manifest(self, log: str, **changes: Any) -> None:
        """Make the manifest agree with whatever files are there: what a thorough attacker does."""
        file = self.path / "manifest.json"
        manifest = json.loads(file.read_text())
        manifest["logs"][LOGS[log]] |= changes
        for name in manifest["files"]:
            manifest["files"][name] = sha256((self.path / name).read_bytes()).hexdigest()
        file.write_text(json.dumps(manifest))

    def sign(self, log: str, signer: Signer) -> None:
        """Sign whatever is there: what somebody with a key does."""
        leaves = [leaf_hash(record) for record in self.records(log)]
        note = signer.sign(Checkpoint(ORIGIN.format(log), len(leaves), tree_root(leaves)))
        self.file(log, "checkpoints.txt").write_text(note)
        self.manifest(log)

    def verify(self, *more: str) -> Verdict:
        """Run the verifier as somebody without a broker does; the copy is one that was fetched apart."""
        words = [sys.executable, "-I", "-S", self.older / "verify.py", self.path, *more]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, cwd="/")
        assert "Traceback" not in done.stderr, done.stderr
        return Verdict(done.returncode, done.stdout)

    def problems(self, *more: str) -> list[str]:
        """What is found, given that something is."""
        verdict = self.verify(*more)
        assert (verdict.code, verdict.out.endswith("does not verify\n")) == (1, True), verdict.out
        return verdict.problems


def rewritten(record: bytes, **changes: Any) -> bytes:
    return orjson.dumps(orjson.loads(record) | changes, option=orjson.OPT_SORT_KEYS)


def renumbered(records: list[bytes]) -> list[bytes]:
    return [rewritten(record, seq=seq) for seq, record in enumerate(records)]


async def call(store: Store, log: str, name: str) -> None:
    spend = {"held": 10, "price": "fixed", "budgets": [{"scope": f"agent:{log}", "cap": 60}]}
    quote = Quote(MicroUSD(10), "fixed", (Budget(f"agent:{log}", MicroUSD(60)),))
    facts = {"spend": spend, "cause": {"root": name}}
    await store.journal.open(Opening(name, quote, Entry(log, Event.CALL_INTENT, facts, name, "a"), NOBODY))
    outcome = Entry(log, Event.CALL_OUTCOME, {"outcome": "ok", "cost": 5}, name, "a")
    await store.journal.close(Closing(name, Settlement(MicroUSD(5)), outcome))


async def exported(store: Store, path: Path, wanted: Range = Range()) -> None:  # noqa: B008 - frozen
    heads = await store.log.logs()
    signed = [(head, await newest_note(store.log, SIGNER, head)) for head in heads]
    into = target(path)
    await export(store.log, signed, into, public=SIGNER.public, wanted=wanted, progress=lambda *_: None)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def genuine(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("genuine")
    async with open_store(folder / "broker.db", deployment="broker.test", serve=True) as store:
        for n in range(6):
            for log in LOGS:
                await call(store, log, f"{log}-{n}")
            if (await store.log.logs())[0].size == SIGNED:
                await exported(store, folder / "older")
        await exported(store, folder / "export")
        await exported(store, folder / "export.zip")
        await exported(store, folder / "part", Range(first=6, last=9))
        for log in LOGS:
            await call(store, log, f"{log}-later")
        heads = await store.log.logs()
        notes = [await newest_note(store.log, SIGNER, head) for head in heads]
        (folder / "later.txt").write_text("\n".join(notes))
    return folder


@pytest.fixture
def victim(genuine: Path, tmp_path: Path) -> Victim:
    shutil.copytree(genuine / "export", tmp_path / "export")
    kept = tmp_path / "kept.txt"
    notes = [(genuine / "export" / "logs" / n / "checkpoints.txt").read_text() for n in ("0", "1")]
    kept.write_text("\n".join(notes))
    return Victim(tmp_path / "export", kept, genuine / "older")


def pinned() -> list[str]:
    return [word for log in LOGS for word in ("--key", verifier_key(ORIGIN.format(log), SIGNER.public))]


def test_an_untouched_export_verifies_without_the_broker(victim: Victim):
    verdict = victim.verify(*pinned(), "--checkpoint", str(victim.kept))
    assert (verdict.code, verdict.problems) == (0, [])
    assert verdict.out.count("13 records of 13") == 2
    assert verdict.out.count("signed to 13, 0 calls open") == 2


def test_the_verifier_finds_the_export_that_it_lies_in(victim: Victim):
    words = [sys.executable, "-I", "-S", victim.path / "verify.py"]
    assert subprocess.run(words, capture_output=True, timeout=60, check=False, cwd="/").returncode == 0


def test_the_verifier_imports_nothing_of_the_broker():
    code = (Path(__file__).parents[2] / "broker" / "audit" / "offline.py").read_text()
    imported = {
        line.split()[1].split(".")[0] for line in code.split("\n") if line.startswith(("import ", "from "))
    }
    assert imported - {"__future__"} <= sys.stdlib_module_names


def test_an_untouched_zip_verifies(genuine: Path, victim: Victim):
    victim.path = genuine / "export.zip"
    assert victim.verify(*pinned()).code == 0


def test_a_part_of_a_log_verifies_and_says_what_it_cannot_judge(genuine: Path, victim: Victim):
    victim.path = genuine / "part"
    verdict = victim.verify()
    assert verdict.code == 0
    assert verdict.out.count("4 records of 13") == 2
    assert "from #6 on only" in verdict.out


def test_an_edited_record_is_named(victim: Victim):
    records = victim.records("acme")
    records[4] = records[4].replace(b'"cost":5', b'"cost":1')
    victim.write("acme", records, rehash=False)
    assert victim.problems() == ["acme #4: the record does not have the hash that was exported"]


def test_an_edit_that_was_not_written_into_the_manifest_is_named_with_its_file(victim: Victim):
    file = victim.file("acme", "records.jsonl")
    file.write_bytes(file.read_bytes().replace(b'"cost":5', b'"cost":1'))
    assert victim.problems()[0] == "export #0: the file logs/0/records.jsonl is not the one that was exported"


def test_a_rehashed_edit_is_found_by_the_signed_checkpoint(victim: Victim):
    records = victim.records("acme")
    records[10] = records[10].replace(b'"cost":5', b'"cost":1')
    victim.write("acme", records)
    assert victim.problems() == ["acme #9: records 9 to 12 are not those that were signed"]


@pytest.mark.parametrize(
    ("change", "first"),
    [
        (lambda r: r[:5] + r[6:], "acme #5: the record was written as number 6"),
        (lambda r: [*r[:4], r[5], r[4], *r[6:]], "acme #4: the record was written as number 5"),
        (
            lambda r: [*r[:6], rewritten(r[6], call="made-up"), *r[6:]],
            "acme #7: the record was written as number 6",
        ),
        (lambda r: [*r, r[12]], "acme #13: the record was written as number 12"),
    ],
    ids=["deleted", "reordered", "inserted", "replayed"],
)
def test_a_record_that_was_moved_is_named_and_the_signed_root_with_it(
    victim: Victim, change: Callable[[list[bytes]], list[bytes]], first: str
):
    victim.write("acme", change(victim.records("acme")))
    problems = victim.problems()
    assert first in problems
    assert not [problem for problem in problems if problem.startswith("zenith")]


def test_a_deleted_record_whose_successors_were_numbered_anew_is_found_by_the_checkpoint(victim: Victim):
    records = victim.records("acme")
    victim.write("acme", renumbered(records[:11]))
    problems = victim.problems()
    assert problems == ["acme #11: the log ends here, a signed checkpoint covers 13 records"]


def test_a_record_replayed_under_a_new_number_by_somebody_with_the_key_is_named(victim: Victim):
    records = victim.records("acme")
    victim.write("acme", renumbered([*records, records[12]]))
    victim.sign("acme", SIGNER)
    assert "acme #13: the call `acme-5` already has an end" in victim.problems()


def test_a_tail_that_was_cut_off_is_found_by_a_kept_checkpoint(victim: Victim):
    victim.write("acme", victim.records("acme")[:SIGNED])
    notes = victim.file("acme", "checkpoints.txt").read_text().split("\n\n\u2014")
    assert len(notes) == 3
    first = (victim.older / "logs" / "0" / "checkpoints.txt").read_text()
    victim.file("acme", "checkpoints.txt").write_text(first)
    victim.manifest("acme")
    assert victim.verify(*pinned()).code == 0
    problems = victim.problems("--checkpoint", str(victim.kept))
    assert problems == ["acme #9: the log ends here, a signed checkpoint covers 13 records"]


def test_an_older_copy_is_found_by_a_kept_checkpoint(victim: Victim, genuine: Path):
    victim.path = genuine / "older"
    assert victim.verify().code == 0
    problems = victim.problems("--checkpoint", str(victim.kept))
    assert problems == [f"{log} #9: the log ends here, a signed checkpoint covers 13 records" for log in LOGS]


def test_records_swapped_between_logs_are_named_in_both(victim: Victim):
    ours, theirs = victim.records("acme"), victim.records("zenith")
    ours[3], theirs[3] = theirs[3], ours[3]
    victim.write("acme", ours)
    victim.write("zenith", theirs)
    problems = victim.problems()
    assert "acme #3: the record belongs to the log `broker.test/audit/zenith`" in problems
    assert "zenith #3: the record belongs to the log `broker.test/audit/acme`" in problems


@pytest.mark.parametrize("evidence", ["key", "checkpoint"])
def test_an_export_signed_by_another_key_is_found_by_what_was_kept(victim: Victim, evidence: str):
    other = Signer(Ed25519PrivateKey.generate())
    victim.write("acme", victim.records("acme"))
    for log in LOGS:
        victim.sign(log, other)
    keys = [verifier_key(ORIGIN.format(log), other.public) for log in LOGS]
    (victim.path / "keys.txt").write_text("".join(f"{key}\n" for key in keys))
    victim.manifest("acme")
    more = pinned() if evidence == "key" else ["--checkpoint", str(victim.kept)]
    assert victim.verify().code == 0
    named = "acme" if evidence == "key" else "broker.test/audit/acme"
    assert f"{named} #13: the checkpoint at 13 is not signed by a known key" in victim.problems(*more)


def test_a_dropped_outcome_is_found_by_the_checkpoint_and_its_call_is_named_as_open(victim: Victim):
    records = victim.records("acme")
    victim.write("acme", renumbered([*records[:4], *records[5:]]))
    verdict = victim.verify()
    assert verdict.code == 1
    assert "acme #0: records 0 to 8 are not those that were signed" in verdict.problems
    assert "open: `acme-1` since #3" in verdict.out


def test_an_intent_dropped_by_somebody_with_the_key_is_named_by_the_end_it_leaves(victim: Victim):
    records = victim.records("acme")
    victim.write("acme", renumbered([*records[:3], *records[4:]]))
    victim.sign("acme", SIGNER)
    assert victim.problems() == ["acme #3: the call `acme-1` has no beginning"]


@pytest.mark.parametrize("field", ["parent", "root"])
def test_a_forged_parent_is_named_even_if_it_is_signed(victim: Victim, field: str):
    records = victim.records("acme")
    records[3] = rewritten(records[3], cause={field: "acme-4"})
    victim.write("acme", records)
    victim.sign("acme", SIGNER)
    assert victim.problems() == [f"acme #3: its {field} `acme-4` is no call before it"]


def test_a_reference_to_what_comes_later_is_named(victim: Victim):
    records = victim.records("acme")
    records[3] = rewritten(records[3], cause={"refs": [2, 7]})
    victim.write("acme", records)
    victim.sign("acme", SIGNER)
    assert victim.problems() == ["acme #3: it refers to record 7, which is not before it"]


def test_an_overspend_is_named_even_if_it_is_signed(victim: Victim):
    records = victim.records("acme")
    records[4] = rewritten(records[4], cost=40)
    victim.write("acme", records)
    victim.sign("acme", SIGNER)
    assert victim.problems()[0] == "acme #9: `agent:acme` held and had spent 65 of 60 micro-USD"


def test_a_call_that_was_refused_and_made_all_the_same_is_named(victim: Victim):
    records = victim.records("acme")
    records[5] = rewritten(records[5], type="call.denied", call="acme-1")
    victim.write("acme", records)
    victim.sign("acme", SIGNER)
    assert "acme #5: the call `acme-1` was refused, but it has other records" in victim.problems()


def test_a_time_that_was_turned_back_is_named(victim: Victim):
    records = victim.records("zenith")
    records[10] = rewritten(records[10], ts="2001-01-01T00:00:00.000000Z")
    victim.write("zenith", records)
    assert "zenith #10: the record is older than the one before it" in victim.problems()


@pytest.mark.parametrize("record", [b"", b"[]", b"{}", b"\xff", b'{"v":1}', b"1"], ids=repr)
def test_a_record_that_is_none_is_named(victim: Victim, record: bytes):
    records = victim.records("acme")
    records[6] = record
    victim.write("acme", records)
    assert [problem for problem in victim.problems() if problem.startswith("acme #6:")]


def test_a_file_that_was_put_in_is_named(victim: Victim):
    (victim.path / "logs" / "0" / "more.txt").write_text("x")
    assert victim.problems() == ["export #0: the file logs/0/more.txt is not in the manifest"]


@pytest.mark.parametrize("text", ["not a note", "", "a\n\nb\n\nc\n"])
def test_a_checkpoint_that_is_none_leaves_the_log_unsigned(victim: Victim, text: str):
    victim.file("acme", "checkpoints.txt").write_text(text)
    victim.manifest("acme")
    assert "acme #0: no signed checkpoint covers the records from here on" in victim.problems()


def test_a_log_that_was_left_out_is_missed_by_who_kept_its_checkpoint(victim: Victim):
    manifest = json.loads((victim.path / "manifest.json").read_text())
    del manifest["logs"][1]
    (victim.path / "manifest.json").write_text(json.dumps(manifest))
    problems = victim.problems("--checkpoint", str(victim.kept))
    assert set(problems) == {
        "broker.test/audit/zenith #9: a kept checkpoint is of a log that is not in this export",
        "broker.test/audit/zenith #13: a kept checkpoint is of a log that is not in this export",
    }


def test_what_is_no_export_is_said_to_be_none(tmp_path: Path, victim: Victim):
    (victim.path / "manifest.json").unlink()
    assert victim.verify().code == 2
