"""Is the stream of a model read like any other text, whatever it is written in and however it is cut?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.app import GUARDS, shipped_policies
from broker.errors import Blocked
from broker.formats import FORMATS
from broker.guardrails.conduct import load_conduct
from broker.guardrails.interface import Finding
from broker.guardrails.relay import ScreenedCaller
from broker.guardrails.scene import Scene
from broker.guardrails.screen import Screen
from broker.model import Json, Kind, Method, Target
from broker.settings import LimitSettings

SCENE = Scene(Target(Kind.MODEL, "m__x", "m", "x", {}))
SECRET = "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc" + "Kb3x"
TEXT = f"{'words before it, ' * 30}{SECRET}{', and words after it' * 30}"


@dataclass
class Reader:
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    modern: bool = True
    events: list[Json] = field(default_factory=list)

    async def deliver(self, event: Json) -> bool:
        self.events.append(event)
        return True


def guards(tmp: Path | None = None, do: str = "redact") -> Screen:
    shipped = shipped_policies()
    folder = shipped
    if tmp is not None:
        folder = tmp
        (tmp / "guardrails").mkdir(exist_ok=True)
        (tmp / "guardrails" / "secrets.yaml").write_text(f'guard: secrets\nrules:\n  - do: {{"*": {do}}}\n')
    return Screen(LimitSettings(), load_conduct(folder, shipped, GUARDS), b"k" * 32)


SCREEN = guards()


def chat(pieces: Sequence[str], key: str = "content") -> list[Json]:
    def chunk(delta: Json, finish: str | None = None) -> Json:
        return {"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    if key == "content":
        return [
            chunk({"role": "assistant", "content": ""}),
            *[chunk({"content": p}) for p in pieces],
            chunk({}, "stop"),
        ]
    call = {"index": 0, "id": "1", "type": "function", "function": {"name": "f", "arguments": ""}}
    rest = [chunk({"tool_calls": [{"index": 0, "function": {"arguments": p}}]}) for p in pieces]
    return [
        chunk({"role": "assistant", "content": None, "tool_calls": [call]}),
        *rest,
        chunk({}, "tool_calls"),
    ]


def messages(pieces: Sequence[str], key: str = "text") -> list[Json]:
    block: Json = (
        {"type": "text", "text": ""} if key == "text" else {"type": "tool_use", "name": "f", "input": {}}
    )
    kind = {"text": "text_delta", "partial_json": "input_json_delta"}[key]
    deltas = [{"type": "content_block_delta", "index": 0, "delta": {"type": kind, key: p}} for p in pieces]
    return [
        {"type": "message_start", "message": {"id": "m", "role": "assistant", "content": []}},
        {"type": "content_block_start", "index": 0, "content_block": block},
        *deltas,
        {"type": "content_block_stop", "index": 0},
    ]


def responses(pieces: Sequence[str], kind: str = "output_text") -> list[Json]:
    at = {"output_index": 0, "content_index": 0}
    ending = {"text" if kind == "output_text" else "arguments": "".join(pieces)}
    return [
        *[{"type": f"response.{kind}.delta", **at, "delta": piece} for piece in pieces],
        {"type": f"response.{kind}.done", **at, **ending},
    ]


def read(method: Method, events: Sequence[Json]) -> str:
    """All that is written in the pieces of a stream."""
    return "".join(delta.text for event in events for delta in FORMATS[method].deltas(event))


def relayed(screen: Screen, method: Method, events: Sequence[Json]) -> tuple[list[Json], list[Finding]]:
    reader, findings = Reader(), list[Finding]()

    async def run() -> None:
        caller = ScreenedCaller(reader, screen, SCENE, findings, FORMATS[method])
        for event in events:
            await caller.deliver(event)

    anyio.run(run)
    return reader.events, findings


WAYS: list[tuple[Method, Callable[[Sequence[str]], list[Json]]]] = [
    (Method.CHAT, chat),
    (Method.CHAT, lambda pieces: chat(pieces, "arguments")),
    (Method.MESSAGES, messages),
    (Method.MESSAGES, lambda pieces: messages(pieces, "partial_json")),
    (Method.RESPONSES, responses),
    (Method.RESPONSES, lambda pieces: responses(pieces, "function_call_arguments")),
]


def cut(text: str, at: Sequence[int]) -> list[str]:
    places = [0, *sorted(set(at)), len(text)]
    return [text[a:b] for a, b in pairwise(places) if a < b]


@pytest.mark.parametrize(("method", "written"), WAYS)
@given(at=st.lists(st.integers(1, len(TEXT) - 1), max_size=30))
def test_a_secret_leaves_in_no_piece_however_the_stream_is_cut(
    method: Method, written: Callable[[Sequence[str]], list[Json]], at: list[int]
) -> None:
    events, findings = relayed(SCREEN, method, written(cut(TEXT, at)))
    assert SECRET not in str(events)
    assert read(method, events) == TEXT.replace(SECRET, "[redacted:stripe-access-token]")
    assert len(findings) == 1
    assert findings[0].stage == "completion"


@pytest.mark.parametrize(("method", "written"), WAYS)
def test_a_harmless_stream_loses_nothing(
    method: Method, written: Callable[[Sequence[str]], list[Json]]
) -> None:
    text = "nothing to see here, " * 80
    events, findings = relayed(SCREEN, method, written([text[n : n + 4] for n in range(0, len(text), 4)]))
    assert (read(method, events), findings) == (text, [])
    assert events[-1] == written([text])[-1]


@pytest.mark.parametrize(("method", "written"), WAYS)
def test_what_a_guard_blocks_ends_the_stream_before_any_of_it_has_left(
    method: Method, written: Callable[[Sequence[str]], list[Json]], tmp_path: Path
) -> None:
    reader, findings = Reader(), list[Finding]()
    screen = guards(tmp_path, "block")

    async def run() -> None:
        caller = ScreenedCaller(reader, screen, SCENE, findings, FORMATS[method])
        for event in written([TEXT[n : n + 4] for n in range(0, len(TEXT), 4)]):
            await caller.deliver(event)

    with pytest.raises(Blocked):
        anyio.run(run)
    assert SECRET[:12] not in read(method, reader.events)
    assert len(findings) == 1


def test_two_answers_that_are_written_at_the_same_time_are_read_apart() -> None:
    half = len(SECRET) // 2

    def chunk(index: int, text: str) -> Json:
        return {"choices": [{"index": index, "delta": {"content": text}, "finish_reason": None}]}

    events = [chunk(0, SECRET[:half]), chunk(1, "other "), chunk(0, SECRET[half:]), chunk(1, "words")]
    ends = {"choices": [{"index": i, "delta": {}, "finish_reason": "stop"} for i in (0, 1)]}
    told, findings = relayed(SCREEN, Method.CHAT, [*events, ends])
    assert "[redacted:" in str(told)
    assert SECRET[half:] not in str(told)
    assert "other words" in str(told)
    assert len(findings) == 1
