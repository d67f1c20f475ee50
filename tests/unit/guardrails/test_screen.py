"""What passes a screening, what is changed, what is stopped, and what is written down about it."""

import copy
import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.errors import Blocked
from broker.guardrails.interface import Action, Finding
from broker.guardrails.scene import Stage
from broker.model import Json
from broker.settings import LimitSettings
from tests.unit.guardrails import samples
from tests.unit.guardrails.kit import KEY, SCENE, SCREEN, screen, screen_of


def result(text: str) -> Json:
    return {"content": [{"type": "text", "text": text}], "isError": False}


def test_clean_content_comes_back_as_the_same_object_and_without_findings():
    content = result("nothing to see")
    safe, findings = screen(content)
    assert safe is content
    assert findings == []


def test_a_secret_in_a_result_is_replaced_and_everything_else_stays_as_it_was():
    content = {"z": [1, None, {"text": f"key {samples.GITHUB} end"}], "a": {"deep": [True]}}
    before = copy.deepcopy(content)
    safe, findings = screen(content)
    assert safe == {"z": [1, None, {"text": "key [redacted:github-token] end"}], "a": {"deep": [True]}}
    assert list(safe) == ["z", "a"]
    assert content == before
    assert safe["a"] is content["a"]
    assert [(f.place, f.action, f.length) for f in findings] == [("/z/2/text", Action.REDACT, 40)]


def test_a_finding_holds_a_keyed_digest_and_never_the_text():
    _, (finding,) = screen(result(samples.STRIPE))
    expected = hmac.new(KEY, samples.STRIPE.encode(), hashlib.sha256).hexdigest()
    assert (finding.guard, finding.stage, finding.digest) == ("secrets@2", Stage.RESULT, expected)
    assert samples.STRIPE not in repr(finding)


def test_a_token_in_arguments_stops_the_call_and_says_what_to_do():
    with pytest.raises(Blocked) as error:
        screen({"name": "x", "arguments": {"text": samples.AWS}}, Stage.ARGUMENTS)
    assert error.value.message == "arguments of `notes__find`: secrets/aws-access-token"
    assert error.value.because[0].rule == "secrets/aws-access-token"
    assert error.value.because[0].text == "at `/arguments/text`"
    assert "leave the secret out" in (error.value.hint or "")
    assert samples.AWS not in str(error.value.as_object())


def test_findings_are_written_down_before_a_call_is_stopped():
    findings: list[Finding] = []
    with pytest.raises(Blocked):
        SCREEN.screen_now({"a": samples.AWS, "b": samples.PRIVATE_KEY}, Stage.ARGUMENTS, SCENE, findings)
    assert [(f.type, f.action, f.place) for f in findings] == [
        ("aws-access-token", Action.BLOCK, "/a"),
        ("private-key", Action.BLOCK, "/b"),
    ]


def test_a_password_in_arguments_is_sent_and_recorded_because_tools_that_log_in_need_one():
    content = {"arguments": {"user": "ann", "password": samples.PASSWORD}}
    safe, findings = screen(content, Stage.ARGUMENTS)
    assert safe is content
    assert [(f.type, f.action, f.place) for f in findings] == [
        ("assigned-secret", Action.FLAG, "/arguments/password")
    ]


def test_a_web_token_in_a_result_is_passed_on_and_recorded():
    content = {"structuredContent": {"access_token": samples.JWT}}
    safe, findings = screen(content)
    assert safe is content
    assert [(f.type, f.action) for f in findings] == [("jwt", Action.FLAG)]


def test_structured_content_hides_what_the_text_hides():
    payload = {"user": "ann", "password": samples.PASSWORD}
    content = {"content": [{"type": "text", "text": json.dumps(payload)}], "structuredContent": payload}
    safe, _ = screen(content)
    assert samples.PASSWORD not in json.dumps(safe)
    assert safe["structuredContent"]["user"] == "ann"


def test_the_key_above_a_list_speaks_for_its_items():
    safe, _ = screen({"structuredContent": {"passwords": [samples.PASSWORD]}})
    assert safe == {"structuredContent": {"passwords": ["[redacted:assigned-secret]"]}}


def test_overlapping_matches_are_replaced_as_one():
    safe, findings = screen(result(f"GITHUB_TOKEN={samples.GITHUB}"))
    text = safe["content"][0]["text"]
    assert text.startswith("GITHUB_TOKEN=[redacted:")
    assert text.endswith("]")
    assert text.count("[") == 1
    assert len(findings) == 1


def test_a_secret_that_comes_to_light_by_replacing_another_is_replaced_too():
    azure = [
        "QtT8Q" + "~9C-_Ij~RouHVpD2Tuf3oHWGh.DQ3kcjbAn",
        "YYz7Q" + "~Sudoqwap1PnzEBA3zqBK~i5uesDIv.C",
    ]
    safe, findings = screen(result(" ".join(azure)))
    assert safe["content"][0]["text"] == " ".join(["[redacted:azure-ad-client-secret]"] * 2)
    assert len(findings) == 2


def test_the_base64_of_images_audio_and_blobs_is_passed_on_unread_in_results():
    data = "QUtJQTQ1NE1MNkxHNFRKRkNaNEs" + samples.AWS
    for content in (
        {"content": [{"type": "image", "mimeType": "image/png", "data": data}]},
        {"content": [{"type": "audio", "mimeType": "audio/wav", "data": data}]},
        {"contents": [{"uri": "file:///a", "blob": f"/{samples.AWS}/"}]},
    ):
        assert screen(content)[0] is content


def test_content_that_is_too_large_is_stopped_by_its_size_as_text():
    small = screen_of(limits=LimitSettings(argument_bytes=1024, result_bytes=2048))
    small.screen_now({"a": "x" * 900}, Stage.ARGUMENTS, SCENE, [])
    for content in ({"a": "x" * 1100}, {"a": "é" * 600}, {"k" * 1100: 1}, {"a": [1] * 400}):
        with pytest.raises(Blocked, match="more than 1024 bytes"):
            small.screen_now(content, Stage.ARGUMENTS, SCENE, [])
    small.screen_now({"a": "x" * 1100}, Stage.RESULT, SCENE, [])
    with pytest.raises(Blocked, match="more than 2048 bytes"):
        small.screen_now({"content": [{"type": "image", "data": "A" * 3000}]}, Stage.RESULT, SCENE, [])


def test_nesting_is_limited_and_never_exhausts_the_stack():
    def nested(levels: int) -> Json:
        inner: Any = "x"
        for _ in range(levels):
            inner = [inner]
        return {"a": inner}

    assert screen(nested(63))[1] == []
    findings: list[Finding] = []
    for levels in (64, 100_000):
        with pytest.raises(Blocked, match="nested more than 64 levels deep"):
            SCREEN.screen_now(nested(levels), Stage.RESULT, SCENE, findings)
    assert [f.type for f in findings] == ["not-scanned", "not-scanned"]


def test_a_detector_that_fails_stops_the_content_and_leaves_a_finding_and_no_text_in_the_logs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    broken = screen_of()

    def fail(message: Any, hits: Any) -> Any:
        raise RuntimeError(message.text)

    monkeypatch.setattr(
        next(g.detector for g in broken._armed.guards if g.detector.name == "secrets"), "detect", fail
    )
    findings: list[Finding] = []
    with pytest.raises(Blocked, match="secrets/not-scanned") as error:
        broken.screen_now(result("some text of a tool"), Stage.RESULT, SCENE, findings)
    assert [(f.type, f.action) for f in findings] == [("not-scanned", Action.BLOCK)]
    assert "some text" not in str(error.value.as_object())
    assert "guard secrets@2 failed: RuntimeError" in caplog.text
    assert "some text" not in caplog.text


def test_the_record_of_one_call_stays_small_however_much_is_found():
    _, findings = screen({"rows": [f"{samples.STRIPE}{n}" for n in range(500)]})
    assert len(findings) == 65
    assert findings[-1].type == "further-findings"
    safe, _ = screen({"rows": [f"{samples.STRIPE}{n}" for n in range(500)]})
    assert samples.STRIPE not in json.dumps(safe)


def test_places_are_json_pointers():
    _, findings = screen({"a/b": {"c~d": [samples.AWS]}})
    assert [f.place for f in findings] == ["/a~1b/c~0d/0"]


_LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
_TREES = st.recursive(
    _LEAVES | st.sampled_from(list(samples.TOKENS.values())).map(lambda s: f"a {s} b"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=25,
)


@settings(max_examples=150, deadline=None)
@given(tree=_TREES, stage=st.sampled_from(list(Stage)))
def test_structure_and_keys_survive_and_no_part_of_a_secret_does(tree: Any, stage: Stage):
    content = {"content": tree}
    before = copy.deepcopy(content)
    findings: list[Finding] = []
    try:
        safe = SCREEN.screen_now(content, stage, SCENE, findings)
    except Blocked:
        assert any(f.action is Action.BLOCK for f in findings)
        return
    finally:
        assert content == before
    assert _shape(safe) == _shape(content)
    for text in _texts(safe):
        for secret in samples.TOKENS.values():
            assert not any(secret[n : n + 12] in text for n in range(0, len(secret) - 12, 4))
    assert SCREEN.screen_now(safe, stage, SCENE, []) == safe


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return [(key, _shape(inner)) for key, inner in value.items()]
    if isinstance(value, list):
        return [_shape(inner) for inner in value]
    return type(value)


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for inner in value.values() for text in _texts(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in _texts(inner)]
    return [value] if isinstance(value, str) else []


@settings(max_examples=200, deadline=None)
@given(
    pieces=st.lists(
        st.sampled_from(
            [
                *samples.TOKENS.values(),
                samples.JWT,
                samples.PASSWORD,
                "password=",
                "token: ",
                "https://u:",
                "@h.test",
                '"',
                " ",
                "\n",
                "é",
                "-",
                "_",
                "=",
            ]
        )
        | st.text(max_size=6),
        max_size=14,
    ),
    stage=st.sampled_from(list(Stage)),
)
def test_screening_ends_in_clean_content_or_a_refusal_and_in_nothing_else(pieces: list[str], stage: Stage):
    content = {"text": "".join(pieces)}
    try:
        safe = SCREEN.screen_now(content, stage, SCENE, [])
    except Blocked:
        return
    again: list[Finding] = []
    assert SCREEN.screen_now(safe, stage, SCENE, again) == safe
    assert {f.action for f in again} <= {Action.FLAG}
