"""Threat: a secret slips past the guards because of where or how it is written."""

import json

import pytest

from broker.errors import Blocked
from broker.guardrails.interface import Finding
from broker.guardrails.relay import ScreenedCaller
from broker.guardrails.scene import Stage
from broker.guardrails.screen import Screen
from broker.model import Json
from tests.unit.guardrails.kit import SCENE, screen_of
from tests.unit.guardrails.samples import AWS, GITHUB, PASSWORD, PRIVATE_KEY, STRIPE


@pytest.fixture(scope="module")
def screen() -> Screen:
    return screen_of()


def leaked(screen: Screen, content: Json, secret: str, stage: Stage = Stage.RESULT) -> bool:
    findings: list[Finding] = []
    try:
        safe = screen.screen_now(content, stage, SCENE, findings)
    except Blocked:
        return False
    return secret in json.dumps(safe, ensure_ascii=False)


@pytest.mark.parametrize(
    "content",
    [
        {"content": [{"type": "text", "text": AWS}]},
        {"content": [{"type": "resource", "resource": {"uri": "a:b", "text": AWS}}]},
        {"content": [{"type": "resource_link", "uri": f"https://h.test/{AWS}", "name": "n"}]},
        {"content": [{"type": "image", "data": "AAAA", "alt": AWS}]},
        {"structuredContent": {"deep": [[[{"x": AWS}]]]}},
        {"messages": [{"role": "user", "content": {"type": "text", "text": AWS}}]},
        {"contents": [{"uri": "file:///a", "text": AWS}]},
        {"completion": {"values": ["a", AWS]}},
        {"_meta": {"note": AWS}},
        {"isError": True, "content": [{"type": "text", "text": f"login failed for {AWS}"}]},
        {"method": "elicitation/create", "params": {"message": AWS}},
        {"content": [{"type": "text", "text": "x" * 100_000 + f" {AWS} " + "y" * 100_000}]},
    ],
)
def test_no_field_of_a_result_is_left_unread(screen: Screen, content: Json):
    assert not leaked(screen, content, AWS)


@pytest.mark.parametrize("kind", ["image", "audio"])
def test_structured_content_that_poses_as_media_is_read_all_the_same(screen: Screen, kind: str):
    for inner in ({"type": kind, "data": AWS}, {"uri": "a:b", "blob": AWS}):
        assert not leaked(screen, {"structuredContent": {"x": [inner]}}, AWS)
        assert not leaked(screen, {"_meta": inner}, AWS)


def test_arguments_that_pose_as_media_are_read_all_the_same(screen: Screen):
    for inner in ({"type": "image", "data": AWS}, {"uri": "a:b", "blob": AWS}):
        assert not leaked(screen, {"arguments": inner}, AWS, Stage.ARGUMENTS)


def test_a_secret_in_a_key_cannot_be_replaced_and_stops_the_content_without_being_recorded(screen: Screen):
    findings: list[Finding] = []
    with pytest.raises(Blocked) as error:
        screen.screen_now({"structuredContent": {GITHUB: {"text": STRIPE}}}, Stage.RESULT, SCENE, findings)
    assert {f.type for f in findings} >= {"github-token", "stripe-access-token"}
    assert GITHUB not in repr(findings)
    assert GITHUB not in str(error.value.as_object())


@pytest.mark.parametrize("glue", [" ", ",", '"', "\n", "\u200b", "é", "="])
def test_secrets_that_touch_each_other_do_not_shield_each_other(screen: Screen, glue: str):
    text = glue.join([STRIPE, AWS, GITHUB, f"password={PASSWORD}", PRIVATE_KEY])
    for secret in (STRIPE, PRIVATE_KEY) if glue == "=" else (STRIPE, AWS, GITHUB, PRIVATE_KEY):
        assert not leaked(screen, {"t": text}, secret)


def test_many_secrets_in_one_text_are_all_replaced(screen: Screen):
    text = "\n".join([f"PASSWORD_{n}={PASSWORD}{n}" for n in range(300)])
    assert not leaked(screen, {"t": text}, PASSWORD)


def test_text_that_is_no_unicode_is_stopped_because_it_cannot_be_read(screen: Screen):
    for content in ({"t": f"\ud800 {AWS}"}, {f"{AWS}\udfff": 1}, {"t": ["x" * 50, "\ud83d" * 20]}):
        with pytest.raises(Blocked, match="could not be screened"):
            screen.screen_now(content, Stage.RESULT, SCENE, [])


class Recorder:
    """A caller that keeps what reaches it and answers with a secret."""

    def __init__(self) -> None:
        self.heard: list[Json] = []
        self.capabilities: Json = {}
        self.modern = True

    async def notify(self, method: str, params: Json) -> None:
        self.heard.append(params)

    async def deliver(self, event: Json) -> bool:
        raise AssertionError(f"no model streams here: {event}")

    async def poll(self, retry_ms: int) -> None:
        raise AssertionError(f"nobody asked to come back after {retry_ms} ms")

    async def ask(self, method: str, params: Json) -> Json:
        self.heard.append(params)
        return {"action": "accept", "content": {"token": GITHUB}}


async def test_what_is_said_on_the_open_line_is_screened_in_both_directions(screen: Screen):
    caller, findings = Recorder(), list[Finding]()
    line = ScreenedCaller(caller, screen, SCENE, findings)
    await line.notify("notifications/message", {"data": f"using {AWS}"})
    await line.notify("notifications/message", {AWS: "a secret in a key is dropped"})
    assert caller.heard == [{"data": "using [redacted:aws-access-token]"}]
    with pytest.raises(Blocked):
        await line.ask("elicitation/create", {"message": "your token?"})
    assert [f.stage for f in findings] == [Stage.RESULT, Stage.RESULT, Stage.ARGUMENTS]
