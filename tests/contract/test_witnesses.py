"""A witness signs only what is consistent with what it has signed before. This one goes by C2SP's tlog-witness alone."""

import base64
import hashlib
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import scitt_cose
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.audit.checkpoint import Note, Signer
from broker.audit.export import Range, export, target
from broker.audit.interface import SYSTEM_LOG, Entry, Event
from broker.audit.publisher import newest_note
from broker.audit.verify import verify
from broker.audit.witness import Witness, WitnessKey
from broker.errors import ConfigurationError, UpstreamRefused
from broker.storage.store import Store

SIGNER = Signer(Ed25519PrivateKey.generate())
NAME = "witness.example/w1"
AT = 1_700_000_000


@dataclass
class Notary:
    """The witness: how many records it has seen, with which root."""

    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    size: int = 0
    root: str = ""
    asked: int = 0

    @property
    def public(self) -> bytes:
        return b"\4" + self.key.public_key().public_bytes_raw()

    @property
    def id(self) -> bytes:
        return hashlib.sha256(f"{NAME}\n".encode() + self.public).digest()[:4]

    @property
    def verifier_key(self) -> str:
        return f"{NAME}+{self.id.hex()}+{base64.b64encode(self.public).decode()}"

    async def __call__(self, body: bytes) -> tuple[int, bytes]:
        self.asked += 1
        head, _, note = body.decode().partition("\n\n")
        first, *proof = head.split("\n")
        old = int(first.removeprefix("old "))
        _, size, root, *_ = note.split("\n")
        if old != self.size:
            return 409, f"{self.size}\n".encode()
        now = base64.b64decode(root).hex()
        steps = [base64.b64decode(step).hex() for step in proof]
        if old and not scitt_cose.verify_consistency(self.root, now, old, int(size), steps):
            return 422, b""
        self.size, self.root = int(size), now
        said = f"cosignature/v1\ntime {AT}\n{note.partition(chr(10) * 2)[0]}\n".encode()
        blob = self.id + AT.to_bytes(8, "big") + self.key.sign(said)
        return 200, f"\u2014 {NAME} {base64.b64encode(blob).decode()}\n".encode()


async def grow(store: Store, records: int = 3) -> None:
    for _ in range(records):
        await store.journal.append(Entry(SYSTEM_LOG, Event.LOG_HEARTBEAT, {}))
    (head,) = await store.log.logs()
    await newest_note(store.log, SIGNER, head)


def witness(store: Store, notary: Notary) -> Witness:
    return Witness(WitnessKey.parse(notary.verifier_key), log=store.log, post=notary)


async def test_a_log_that_grows_is_cosigned_and_an_export_proves_it(store: Store, tmp_path: Path):
    notary = Notary()
    seen = witness(store, notary)
    await grow(store)
    assert await seen.look()
    await grow(store, 5)
    assert await seen.look()
    assert (await seen.look(), notary.asked) == (True, 2)
    assert (await verify(store.log, keys=[SIGNER.public])).ok
    signed = [(head, await newest_note(store.log, SIGNER, head)) for head in await store.log.logs()]
    into = target(tmp_path / "x")
    await export(store.log, signed, into, public=SIGNER.public, wanted=Range(), progress=lambda *_: None)

    def offline(key: str) -> "subprocess.CompletedProcess[str]":
        words = [sys.executable, "-I", "-S", tmp_path / "x" / "verify.py", "--witness", key]
        return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)

    done = offline(notary.verifier_key)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"system to 9 seen by the witness `{NAME}` at 2023-11-14T22:13:20Z" in done.stdout
    other = offline(Notary().verifier_key)
    assert (other.returncode, "no checkpoint is signed by the witness" in other.stdout) == (1, True)


async def test_after_a_restart_it_is_asked_from_where_it_was(store: Store):
    notary = Notary()
    await grow(store)
    assert await witness(store, notary).look()
    await grow(store)
    assert await witness(store, notary).look()
    assert notary.asked == 2


async def test_a_witness_that_has_seen_something_else_is_asked_from_there(store: Store):
    notary = Notary()
    await grow(store)
    seen = witness(store, notary)
    assert await seen.look()
    (note,) = await store.log.checkpoints(SYSTEM_LOG)
    await store.log.cosign(SYSTEM_LOG, 4, note[: note.rindex("\u2014")])
    await grow(store)
    assert await witness(store, notary).look()
    assert notary.size == 7


async def test_a_log_that_was_made_anew_is_not_cosigned(store: Store):
    notary = Notary(size=2, root="00" * 32)
    await grow(store)
    with pytest.raises(UpstreamRefused, match="422"):
        await witness(store, notary).look()


@pytest.mark.parametrize("answer", [b"", b"nonsense\n", "\u2014 witness.example/w1 AAAAAAAA\n".encode()])
async def test_what_is_no_signature_of_the_witness_is_not_kept(store: Store, answer: bytes):
    async def post(body: bytes) -> tuple[int, bytes]:
        return 200, answer

    await grow(store)
    with pytest.raises(UpstreamRefused, match="gave"):
        await Witness(WitnessKey.parse(Notary().verifier_key), log=store.log, post=post).look()
    (note,) = await store.log.checkpoints(SYSTEM_LOG)
    assert len(Note.parse(note).signatures) == 1


@pytest.mark.parametrize("line", ["", "w+00+AA==", f"{NAME}+00000000+{base64.b64encode(bytes(33)).decode()}"])
def test_what_is_no_key_of_a_witness_is_refused(line: str):
    with pytest.raises(ConfigurationError, match="is no Ed25519 key of a witness"):
        WitnessKey.parse(line)
