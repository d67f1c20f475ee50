"""What is in a blob is told by its first bytes; what it says of itself is only compared with them."""

import base64

import pytest

from broker.errors import Blocked
from broker.guardrails.binary import found_in
from broker.guardrails.interface import Action
from broker.guardrails.message import Blob
from broker.guardrails.scene import Stage
from tests.unit.guardrails.kit import SCENE, SCREEN, screen, screen_of

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + b"\x00" * 17
ELF = b"\x7fELF\x02\x01\x01" + b"\x00" * 40
PROGRAM = b"MZ" + b"\x00" * 58 + (64).to_bytes(4, "little") + b"PE\x00\x00"
OFFICE = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


def spelled(data):
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    ("mime", "data", "found"),
    [
        ("image/png", PNG, None),
        ("IMAGE/PNG; q=1", PNG, None),
        ("image/jpg", b"\xff\xd8\xff\xe0" + b"\x00" * 20, None),
        ("application/octet-stream", PNG, None),
        ("", PNG, None),
        (OFFICE, b"PK\x03\x04\x14\x00\x06", None),
        ("audio/mpeg", b"\xff\xfb\x90\x64" + b"\x00" * 20, None),
        ("application/x-own", b"\x00\x01\x02\x03", None),
        ("image/jpeg", PNG, "other-type"),
        ("image/png", b"%PDF-1.7\n", "other-type"),
        ("application/pdf", b"\x00\x01\x02\x03", "other-type"),
        ("image/png", ELF, "executable"),
        ("application/octet-stream", PROGRAM, "executable"),
        ("text/plain", b"#!/bin/sh\nrm -rf /\n", "executable"),
        ("text/plain", "MZ is a code, says the Größe of it. ".encode() * 3, "text"),
        ("", "né".encode() * 2000, "text"),
    ],
)
def test_a_blob_is_what_its_first_bytes_say(mime, data, found):
    assert found_in(Blob(mime, spelled(data))) == found


def test_what_is_no_base64_is_said_so():
    assert found_in(Blob("image/png", "<svg onload=x>")) == "not-base64"


@pytest.mark.parametrize(
    "content",
    [
        {"content": [{"type": "image", "mimeType": "image/png", "data": spelled(ELF)}]},
        {"contents": [{"uri": "file:///a", "blob": spelled(ELF)}]},
        {"content": [{"type": "resource", "resource": {"uri": "file:///a", "blob": spelled(ELF)}}]},
    ],
)
def test_a_program_is_never_passed_on_whatever_it_says_it_is(content):
    findings = []
    with pytest.raises(Blocked, match="binary/executable"):
        SCREEN.screen_now(content, Stage.RESULT, SCENE, findings)
    assert [(f.guard, f.type, f.action, f.length) for f in findings] == [
        ("binary@1", "executable", Action.BLOCK, len(spelled(ELF)))
    ]
    assert findings[0].place.endswith(("/data", "/blob"))


def test_another_type_than_it_says_is_passed_on_and_recorded():
    content = {"content": [{"type": "image", "mimeType": "image/jpeg", "data": spelled(PNG)}]}
    safe, findings = screen(content)
    assert safe is content
    assert [(f.type, f.action, f.place) for f in findings] == [("other-type", Action.FLAG, "/content/0/data")]


def test_an_exception_for_one_blob_holds_for_no_other():
    other = screen_of()
    findings = []
    with pytest.raises(Blocked):
        other.screen_now({"contents": [{"uri": "a:b", "blob": spelled(ELF)}]}, Stage.RESULT, SCENE, findings)
    other.except_from(frozenset({("binary", findings[0].digest)}))
    assert other.screen_now({"contents": [{"uri": "a:b", "blob": spelled(ELF)}]}, Stage.RESULT, SCENE, [])
    with pytest.raises(Blocked):
        other.screen_now({"contents": [{"uri": "a:b", "blob": spelled(PROGRAM)}]}, Stage.RESULT, SCENE, [])


def test_a_rule_that_redacts_blobs_stops_them_because_nothing_can_stand_in_their_place(tmp_path):
    (tmp_path / "guardrails").mkdir()
    (tmp_path / "guardrails" / "binary.yaml").write_text("guard: binary\nrules:\n  - do: {'*': redact}\n")
    content = {"contents": [{"uri": "a:b", "mimeType": "image/jpeg", "blob": spelled(PNG)}]}
    with pytest.raises(Blocked):
        screen_of(tmp_path).screen_now(content, Stage.RESULT, SCENE, [])
