"""Does the log tell what the policies said, at any time, and each text once?"""

import hashlib
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.audit.checkpoint import Signer
from broker.audit.evidence.pack import Known, pack
from broker.audit.export import Range, target
from broker.audit.interface import SYSTEM_LOG, Filter
from broker.audit.publisher import newest_note
from broker.journal import Journal
from broker.policy_records import MOST_BYTES, PolicyRecords
from broker.storage.sqlite import open_store
from broker.storage.store import Store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files of policies, and one that is none."""
    made = tmp_path / "policies"
    (made / "roles").mkdir(parents=True)
    (made / "roles" / "reader.yaml").write_text("role: reader\n")
    (made / "rules.cedar").write_text("// none\n")
    (made / "notes.txt").write_text("not a policy")
    return made


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def at_work(store: Store, folder: Path) -> PolicyRecords:
    """What a broker that starts now makes its records with."""
    return PolicyRecords(store.log, Journal(store.journal, b"k" * 32), folder)


async def told(store: Store) -> list[dict[str, Any]]:
    return [orjson.loads(one.body) async for one in store.log.records(SYSTEM_LOG, Filter()) if one.body]


async def test_a_text_is_told_once_and_a_version_each_time(tmp_path: Path, folder: Path):
    async with open_store(tmp_path / "b.db", deployment="broker.test", serve=True) as store:
        records = at_work(store, folder)
        await records.in_force("v1")
        (folder / "rules.cedar").write_text("// another\n")
        await records.in_force("v2")
        await at_work(store, folder).in_force("v2")
        bodies = await told(store)
    texts = [one["text"] for one in bodies if one["type"] == "policy.text"]
    assert texts == ["role: reader\n", "// none\n", "// another\n"]
    changes = [one for one in bodies if one["type"] == "policy.changed"]
    assert [one["policy"] for one in changes] == ["v1", "v2", "v2"]
    assert changes[0]["files"] == {
        "roles/reader.yaml": digest("role: reader\n"),
        "rules.cedar": digest("// none\n"),
    }
    assert changes[2]["files"]["rules.cedar"] == digest("// another\n")


async def test_a_file_too_long_for_a_record_is_known_by_its_hash(tmp_path: Path, folder: Path):
    long = "#" * MOST_BYTES
    (folder / "rules.cedar").write_text(long)
    async with open_store(tmp_path / "b.db", deployment="broker.test", serve=True) as store:
        await at_work(store, folder).in_force("v1")
        bodies = await told(store)
    assert [one["text"] for one in bodies if one["type"] == "policy.text"] == ["role: reader\n"]
    assert bodies[-1]["files"]["rules.cedar"] == digest(long)


async def test_a_pack_holds_what_the_policies_of_its_period_said(tmp_path: Path, folder: Path):
    signer = Signer(Ed25519PrivateKey.generate())
    async with open_store(tmp_path / "b.db", deployment="broker.test", serve=True) as store:
        records = at_work(store, folder)
        await records.in_force("v1")
        (folder / "rules.cedar").write_text("// another\n")
        await records.in_force("v2")
        (head,) = await store.log.logs()
        await pack(
            store.log,
            [(head, await newest_note(store.log, signer, head))],
            target(tmp_path / "pack"),
            signer=signer,
            wanted=Range(),
            known=Known("broker.test"),
            progress=lambda *_: None,
        )
    controls = tmp_path / "pack" / "controls"
    versions = orjson.loads((controls / "policies.json").read_bytes())["in_force"]
    said = [(controls / "texts" / one["files"]["rules.cedar"]).read_text() for one in versions]
    assert said == ["// none\n", "// another\n"]
