import ast
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.audit import offline
from broker.audit.checkpoint import Checkpoint, Signer, verifier_key
from broker.audit.tree import leaf_hash, tree_root


@settings(deadline=None, max_examples=30)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200))
def test_what_ed25519_signs_is_accepted(seed: bytes, message: bytes):
    key = Ed25519PrivateKey.from_private_bytes(seed)
    assert offline.signed_by(key.public_key().public_bytes_raw(), message, key.sign(message))


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 511), st.sampled_from(["signature", "key", "message"]))
def test_one_bit_of_difference_is_refused(bit: int, where: str):
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    parts = {
        "signature": key.sign(bytes(64)),
        "key": key.public_key().public_bytes_raw(),
        "message": bytes(64),
    }
    value = bytearray(parts[where])
    value[bit // 8 % len(value)] ^= 1 << bit % 8
    parts[where] = bytes(value)
    assert not offline.signed_by(parts["key"], parts["message"], parts["signature"])


def test_a_signature_whose_scalar_was_raised_by_the_order_is_refused():
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    signature = key.sign(b"x")
    scalar = int.from_bytes(signature[32:], "little") + offline.ORDER
    forged = signature[:32] + scalar.to_bytes(32, "little")
    assert not offline.signed_by(key.public_key().public_bytes_raw(), b"x", forged)


@given(st.lists(st.binary(max_size=8), max_size=70))
def test_the_tree_is_that_of_the_broker(records: list[bytes]):
    leaves = [leaf_hash(record) for record in records]
    frontier: list[bytes] = []
    for size, leaf in enumerate(leaves):
        offline.push(frontier, size, leaf)
    assert offline.root_of(frontier) == tree_root(leaves)


def test_notes_and_keys_of_the_broker_are_read():
    signer = Signer(Ed25519PrivateKey.generate())
    checkpoint = Checkpoint("broker.test/audit/acme", 7, bytes(range(32)))
    keys = offline.parse_keys([verifier_key(checkpoint.origin, signer.public)])
    ((text, signatures),) = offline.split_notes(signer.sign(checkpoint))
    assert offline.open_note(text, signatures, keys) == ((checkpoint.origin, 7, checkpoint.root), True)
    assert offline.open_note(text.replace("\n7\n", "\n8\n"), signatures, keys)[1] is False


def test_the_verifier_is_written_in_python_3_9():
    ast.parse(Path(offline.__file__).read_text("utf-8"), feature_version=(3, 9))
