"""A worker that fails is no clean bill; a mistake in its file has a line. Real validators: tests/e2e."""

import os
import sys
from pathlib import Path

import anyio
import pytest

from broker.documents import read_yaml
from broker.errors import ConfigurationError
from broker.guardrails.message import Message, Passage
from broker.guardrails.scene import Scene, Stage
from broker.guardrails.workers.guardrails_ai import GuardrailsAi, Order, WorkerError, make_guardrails_ai
from broker.model import Kind, Target

SCENE = Scene(Target(Kind.TOOL, "t", "c", "t", {}))
PYTHON = Path(sys.executable)


@pytest.fixture
def make(tmp_path):
    def make(text):
        (tmp_path / "x.yaml").write_text(text)
        return make_guardrails_ai(read_yaml(tmp_path / "x.yaml", "x.yaml"))

    return make


GOOD = f"python: {PYTHON}\nvalidators:\n  - {{use: 'a.b:C', type: c, with: {{words: [x], n: 2}}}}\n"


def test_a_validator_is_named_with_what_it_is_made_with(make):
    assert make(GOOD).types == {"c": "validators"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("python: /nowhere\nvalidators: []", "x.yaml:1: `/nowhere` is no interpreter"),
        (GOOD.replace("a.b:C", "a.b.C"), "x.yaml:3: `a.b.C` names no class"),
        (GOOD + "  - {use: 'd:E', type: c}\n", "x.yaml:3: two validators have the type `c`"),
        (GOOD + "egress: maybe\n", "x.yaml:4: `maybe` is not one of"),
        (GOOD + "within_ms: soon\n", "x.yaml:4: "),
        (GOOD.replace("n: 2", "n: 2026-01-01"), "x.yaml:3: holds a value that JSON has no word for"),
    ],
)
def test_a_mistake_in_the_settings_has_a_line(make, text, said):
    with pytest.raises(ConfigurationError) as error:
        make(text)
    assert error.value.message.startswith(said)


async def test_where_guardrails_ai_is_not_installed_a_message_counts_as_not_read():
    guard = GuardrailsAi(PYTHON, [Order("a.b:C", "c", {})], egress=False, within_s=5)
    for _ in range(2):
        with pytest.raises(WorkerError):
            await guard.review(Message([Passage("x")], Stage.RESULT, SCENE), [])


STAND_IN = """#!{python}
import json, sys
json.loads(sys.stdin.readline())
print(json.dumps({{"ready": True}}), flush=True)
for line in sys.stdin:
    (text,) = json.loads(line)["texts"]
    if text == "die":
        sys.exit(1)
    if text != "alone":
        open({pipe!r}, text).close()  # waits until the other end is opened too
    print(json.dumps({{"spans": []}}), flush=True)
"""


@pytest.fixture
def stand_in(tmp_path):
    """A worker that reads `r` and `w` only while another worker reads the other of the two."""
    os.mkfifo(tmp_path / "pipe")
    python = tmp_path / "python"
    python.write_text(STAND_IN.format(python=sys.executable, pipe=str(tmp_path / "pipe")))
    python.chmod(0o700)
    return GuardrailsAi(python, [Order("a.b:C", "c", {})], egress=False, within_s=20)


async def test_two_messages_are_read_at_the_same_time(stand_in):
    with anyio.fail_after(20):
        async with anyio.create_task_group() as both:
            both.start_soon(stand_in.review, Message([Passage("r")], Stage.RESULT, SCENE), [])
            both.start_soon(stand_in.review, Message([Passage("w")], Stage.RESULT, SCENE), [])


async def test_a_worker_that_dies_has_not_read_its_message_and_the_next_message_gets_another(stand_in):
    for _ in range(3):
        with pytest.raises(WorkerError):
            await stand_in.review(Message([Passage("die")], Stage.RESULT, SCENE), [])
        assert await stand_in.review(Message([Passage("alone")], Stage.RESULT, SCENE), []) == []
