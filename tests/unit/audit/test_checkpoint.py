import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.audit.checkpoint import BadNote, Checkpoint, Note, Signer, notes_in, verifier_key

ORIGIN = "broker.test/audit/acme"
SIGNER = Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
OTHER = Signer(Ed25519PrivateKey.from_private_bytes(bytes(32)))
CHECKPOINT = Checkpoint(ORIGIN, 7, bytes(range(32)))
NOTE = SIGNER.sign(CHECKPOINT)


def test_a_note_is_three_lines_an_empty_one_and_a_signature():
    text, signature = NOTE.split("\n\n")
    assert text == f"{ORIGIN}\n7\n{base64.b64encode(bytes(range(32))).decode()}"
    assert signature.startswith(f"\u2014 {ORIGIN} ")
    assert len(base64.b64decode(signature.split(" ")[2])) == 4 + 64


def test_what_was_signed_can_be_read_and_verified():
    note = Note.parse(NOTE)
    assert note.checkpoint == CHECKPOINT
    assert note.verified_by([OTHER.public, SIGNER.public])


@pytest.mark.parametrize(
    "published",
    [
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
    ],
)
def test_verifier_keys_are_written_as_others_publish_theirs(published: str):
    name, _, key = published.split("+", 2)
    assert verifier_key(name, base64.b64decode(key)[1:]) == published


def test_a_note_that_nobody_known_has_signed_is_not_believed():
    assert not Note.parse(NOTE).verified_by([OTHER.public])
    assert not Note.parse(NOTE).verified_by([])


@pytest.mark.parametrize(
    ("was", "becomes"), [("\n7\n", "\n8\n"), ("audit/acme\n7", "audit/evil\n7"), ("\nAAEC", "\nAAED")]
)
def test_a_changed_text_spoils_the_signature(was: str, becomes: str):
    assert not Note.parse(NOTE.replace(was, becomes, 1)).verified_by([SIGNER.public])


def test_signatures_of_strangers_are_passed_over():
    stranger = OTHER.sign(CHECKPOINT).split("\n\n")[1]
    both = NOTE + stranger
    assert Note.parse(both).verified_by([SIGNER.public])
    assert Note.parse(both).verified_by([OTHER.public])


def test_a_bad_signature_under_a_known_key_spoils_the_note():
    forged = SIGNER.sign(Checkpoint(ORIGIN, 8, bytes(32))).split("\n\n")[1]
    assert not Note.parse(NOTE + forged).verified_by([SIGNER.public])


def test_a_signature_holds_for_its_origin_only():
    renamed = NOTE.replace(f"\u2014 {ORIGIN}", "\u2014 broker.test/audit/evil")
    assert not Note.parse(renamed).verified_by([SIGNER.public])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no note",
        NOTE.strip(),
        NOTE.replace("\n7\n", "\n07\n"),
        NOTE.replace("\n7\n", "\n-7\n"),
        NOTE.replace("\n7\n", "\n²\n"),
        NOTE.replace("\u2014", "-"),
        NOTE.replace("\nAAEC", "\n!AEC"),
        NOTE.replace(ORIGIN + "\n7", "\n7"),
    ],
    ids=repr,
)
def test_what_is_not_a_checkpoint_is_called_so(text: str):
    with pytest.raises(BadNote):
        Note.parse(text)


@pytest.mark.parametrize(
    "kept",
    [NOTE, NOTE + "\n", "\n" + NOTE.rstrip("\n"), NOTE.replace("\n", "\r\n")],
    ids=["as signed", "as printed", "as copied", "from Windows"],
)
def test_a_kept_note_is_read_however_it_was_kept(kept: str):
    assert notes_in(kept) == [NOTE]
    assert Note.parse(notes_in(kept)[0]).verified_by([SIGNER.public])


def test_a_file_holds_many_notes():
    other = OTHER.sign(Checkpoint("broker.test/audit/zenith", 3, bytes(32)))
    assert notes_in(f"{NOTE}\n{other}\n\n{NOTE}") == [NOTE, other, NOTE]


@pytest.mark.parametrize("text", ["", "\n", "nothing", "a\n\nb\n", NOTE + "\nmore"])
def test_what_is_no_note_is_left_to_the_parser_to_refuse(text: str):
    (left,) = notes_in(text)
    with pytest.raises(BadNote):
        Note.parse(left)
