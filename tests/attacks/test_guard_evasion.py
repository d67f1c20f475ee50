"""Threat: content is written so that guards fail, leak, mix calls up or take the broker's time."""

import json
import sys
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.errors import Blocked
from broker.guardrails import screen as screen_module
from broker.guardrails.interface import Action, Finding
from broker.guardrails.scene import Scene, Stage
from broker.model import Json, Kind, Target
from broker.settings import LimitSettings
from tests.unit.guardrails import samples
from tests.unit.guardrails.kit import SCENE, SCREEN, screen_of

_WORDS = st.sampled_from(
    [
        *samples.TOKENS.values(), samples.JWT, samples.PASSWORD, "password=", "token: ", "https://u:", "@h.test", "![a](", ")",
        "https://x.test/?d=", "DE89370400440532013000", "4111 1111 1111 1111", "+49 30 901820", "anna@firma.de", "born on ",
        "14.05.1953", "%41%4b", "\\u0041\\n", "&#65;", "\u200b", "\u202e", "\U000e0041" * 5, "\ufe01" * 4, "\u0430bc", "../../etc/passwd",
        '"', " ", "\n", "-", "_", "=", ".", "\x01", "\n\x01\n", "[redacted:jwt]", "<EMAIL_1>", "http://169.254.169.254/",
    ]
)  # fmt: skip
_TEXTS = st.lists(_WORDS | st.text(max_size=5), max_size=10).map("".join)
_KEYS = st.sampled_from(["path", "url", "user_id", "password", "note", "text", "items"]) | _TEXTS
_TREES = st.recursive(
    _TEXTS | st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(tree=_TREES, stage=st.sampled_from(list(Stage)))
def test_any_json_is_passed_on_clean_or_refused_and_its_structure_stays(tree: Any, stage: Stage):
    content = {"arguments": tree, "structuredContent": tree}
    before = json.dumps(content)
    findings: list[Finding] = []
    try:
        safe = SCREEN.screen_now(content, stage, SCENE, findings)
    except Blocked:
        blocking = {finding.type for finding in findings if finding.action is Action.BLOCK}
        assert blocking
        assert "not-scanned" not in blocking
        return
    finally:
        assert json.dumps(content) == before
    assert _shape(safe) == _shape(content)
    again: list[Finding] = []
    assert SCREEN.screen_now(safe, stage, SCENE, again) == safe
    assert not [f for f in again if f.action is Action.REDACT]


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return [(key, _shape(inner)) for key, inner in value.items()]
    if isinstance(value, list):
        return [_shape(inner) for inner in value]
    return "number or text" if isinstance(value, str | int) and not isinstance(value, bool) else type(value)


REPEATED = [
    "1 ", "12.", "+4930", "a@", "@", "a.", "//x", "](//", "![", "key=", "password: a1 ", "eyJ", "\\u0041", "\\", "%41", "&#65;", "&",
    "A", "Ab1", "DE89 ", "X1", "a\u200b", "\u0430a", "\ufe01", "\U000e0041", "\u202e", "123456789 ", "1234-", ":", "f:", "-----BEGIN PRIVATE KEY-----",
    "0x2e", "../", "' or ", "$(", "AKIA" + "Q3EGRIV7XK2MTNWP ", "\n", " ", "\U0001d41a",
]  # fmt: skip


@pytest.mark.parametrize("piece", REPEATED)
def test_four_times_the_text_takes_about_four_times_the_steps(piece: str):
    short, long = (_steps({"arguments": {"path": piece * (n // len(piece))}}) for n in (3_000, 12_000))
    assert long <= 5 * short + 500


def _steps(content: Json) -> int:
    """Calls made, each weighed by nothing: what one call does is bounded by the length of what it is given."""
    count = 0

    def step(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(step)
    try:
        SCREEN.screen_now(content, Stage.RESULT, SCENE, [])
    except Blocked:
        pass
    finally:
        sys.setprofile(None)
    return count


async def test_a_thousand_interleaved_calls_never_see_each_others_text():
    guards = screen_of()
    seen: dict[int, tuple[Json, list[Finding]]] = {}

    async def one(number: int) -> None:
        target = Target(Kind.TOOL, f"notes__{number}", "notes", "find", {})
        filler = "lorem ipsum " * (4000 if number % 100 == 0 else 5)  # some are read in another thread
        text = f"{filler} mine-{number}-end password=Zq7Kf9xLmP{number:04d}wV mail u{number}@firma.de"
        findings: list[Finding] = []
        content = {"content": [{"type": "text", "text": text}]}
        seen[number] = (await guards.screen(content, Stage.RESULT, Scene(target), findings), findings)

    async with anyio.create_task_group() as tasks:
        for number in range(1000):
            tasks.start_soon(one, number)
    digests: set[str] = set()
    for number, (safe, findings) in seen.items():
        text = safe["content"][0]["text"]
        assert text.count("mine-") == 1
        assert f"mine-{number}-end password=[redacted:assigned-secret] mail u{number}@firma.de" in text
        assert [f.type for f in findings] == ["assigned-secret", "email"]
        digests |= {f.digest for f in findings}
    assert len(digests) == 2000


async def test_large_content_is_read_in_another_thread_while_others_go_on():
    guards = screen_of()
    text = "password=Zq71234Kf9x2 " + "x " * screen_module.INLINE_BYTES
    short = {"t": "hello there"}
    done: list[str] = []

    async def large() -> None:
        safe = await guards.screen({"t": text}, Stage.RESULT, SCENE, [])
        assert safe["t"].startswith("password=[redacted:assigned-secret] x ")
        done.append("large")

    async def small() -> None:
        assert await guards.screen(short, Stage.RESULT, SCENE, []) is short
        done.append("small")

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(large)
            tasks.start_soon(small)
    assert done == ["small", "large"]


async def test_what_takes_longer_than_allowed_to_read_is_not_passed_on(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(screen_module, "LARGE_WITHIN_S", 0.0)
    findings: list[Finding] = []
    with pytest.raises(Blocked, match="not-scanned"):
        await screen_of().screen({"t": "a@b.eu " * 10_000}, Stage.RESULT, SCENE, findings)
    assert {(f.type, f.action) for f in findings} == {("not-scanned", Action.BLOCK)}


async def test_large_content_above_the_limit_is_refused_without_being_read():
    guards = screen_of(limits=LimitSettings(result_bytes=100_000))
    with pytest.raises(Blocked, match="more than 100000 bytes"):
        await guards.screen({"t": "x" * 100_001}, Stage.RESULT, SCENE, [])


def test_a_result_that_would_no_longer_fit_its_schema_is_refused_and_not_bent():
    schema = {
        "type": "object",
        "properties": {"token": {"type": "string", "pattern": "^ghp_[A-Za-z0-9]{36}$"}},
    }
    strict = Scene(Target(Kind.TOOL, "git__token", "git", "token", {"outputSchema": schema}))
    with pytest.raises(Blocked, match="outputSchema"):
        SCREEN.screen_now({"structuredContent": {"token": samples.GITHUB}}, Stage.RESULT, strict, [])
    lenient = Scene(Target(Kind.TOOL, "git__token", "git", "token", {"outputSchema": {"type": "object"}}))
    safe = SCREEN.screen_now({"structuredContent": {"token": samples.GITHUB}}, Stage.RESULT, lenient, [])
    assert safe["structuredContent"]["token"] == "[redacted:github-token]"
