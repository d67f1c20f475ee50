"""Do the providers' own SDKs work through the broker, with nothing changed but base URL and key?"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.providers import Models, models
from tests.e2e.venvs import venv
from tests.unit.guardrails.samples import GITHUB

pytestmark = [pytest.mark.timeout(400), pytest.mark.xdist_group("models")]  # the first sets everything up

CLIENTS = Path(__file__).parent / "clients"
CITY = {"name": "Paris", "people": 7}
COUNTED = "1 2 3 4 5"
ARGUMENTS = '{"city": "Paris"}'


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Models]:
    with models(tmp_path_factory.mktemp("models")) as place:
        yield place


@pytest.fixture(scope="module")
def sdks() -> Path:
    return venv("models")


def told(place: Models, sdks: Path, program: str, *arguments: str) -> Any:
    """What a program built on an SDK prints."""
    done = subprocess.run(
        [str(sdks / "python"), str(CLIENTS / f"{program}.py"), place.broker.url, *arguments],
        env={
            "PATH": os.environ["PATH"],
            "HOME": os.environ["HOME"],
            "TOKEN": place.broker.token(place.writer),
            "POOR_TOKEN": place.broker.token(place.poor),
            "BLOCKED_TEXT": GITHUB,
            "CONTROL": place.control.url,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-5000:]}"
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def openai(place: Models, sdks: Path) -> dict[str, Any]:
    return told(place, sdks, "models_openai")


@pytest.fixture(scope="module")
def anthropic(place: Models, sdks: Path) -> dict[str, Any]:
    return told(place, sdks, "models_anthropic")


@pytest.fixture(scope="module")
def stopped(place: Models, sdks: Path) -> dict[str, Any]:
    return told(place, sdks, "models_stopping")


def outcome(place: Models, call: str) -> dict[str, Any]:
    """What the log says a call came to."""
    return place.record(call)[-1]["record"]


def test_openai_gets_plain_answers_with_their_price_and_receipt(openai: dict[str, Any]) -> None:
    kept = {"kept": True}
    assert openai["chat"] == {
        "text": "You said: hello there",
        "tokens": 6,
        "kept": kept,
        "cost": str(2 * 1 + 4 * 10),
        "receipt": True,
        "call": True,
    }
    assert openai["responses"] == {"text": "You said: hello there", "tokens": 6}


def test_openai_streams_and_sees_usage_only_where_it_asked(openai: dict[str, Any]) -> None:
    assert (openai["chat_stream"]["text"], openai["chat_stream"]["end"]) == (COUNTED, "stop")
    assert openai["chat_stream"]["usage"] == []
    assert openai["chat_stream_with_usage"] == {"text": COUNTED, "wrote": 5}
    assert openai["responses_stream"] == {
        "text": "1 2 3 4",
        "last": "response.completed",
        "status": "completed",
    }


def test_openai_gets_tool_calls_whole_and_streamed(openai: dict[str, Any]) -> None:
    assert openai["chat_tools"] == [["tool_calls", ["weather", ARGUMENTS]]] * 2
    assert openai["responses_tools"] == ["function_call", "weather", ARGUMENTS]


def test_openai_gets_structured_output_embeddings_and_its_own_limit(openai: dict[str, Any]) -> None:
    assert (openai["chat_parsed"], openai["responses_parsed"]) == (CITY, CITY)
    assert openai["embeddings"] == [[1.0, 0.5, -0.25], [3.0, 0.5, -0.25]]
    assert openai["chat_limited"] == ["1 2 3", "length"]


def test_openai_lists_the_models_it_may_use_and_no_other(openai: dict[str, Any]) -> None:
    listed, owner = openai["models"]
    assert listed == ["anthropic__large-1", "openai__embed-1", "openai__small-1", "cheap"]
    assert owner == "openai"


@pytest.mark.parametrize(
    ("case", "raised", "code", "broker"),
    [
        ("unknown", "NotFoundError", "model_not_found", "unknown_target"),
        ("hidden", "NotFoundError", "model_not_found", "unknown_target"),
        ("stranger", "AuthenticationError", "invalid_api_key", "unauthenticated"),
        ("poor", "RateLimitError", "insufficient_quota", "over_budget"),
        ("poor stream", "RateLimitError", "insufficient_quota", "over_budget"),
        ("refused", "BadRequestError", "upstream_refused", "upstream_refused"),
        ("busy", "RateLimitError", "rate_limit_exceeded", "upstream_refused"),
        ("broken", "InternalServerError", "upstream_refused", "upstream_refused"),
        ("broken stream", "InternalServerError", "upstream_refused", "upstream_refused"),
        ("other format", "BadRequestError", "invalid_request", "invalid_request"),
        ("blocked", "BadRequestError", "content_filter", "blocked"),
    ],
)
def test_openai_raises_what_its_users_expect(
    openai: dict[str, Any], case: str, raised: str, code: str, broker: str
) -> None:
    error = openai["errors"][case]
    assert (error["raised"], error["code"], error["broker"]) == (raised, code, broker)
    assert error["call"] is (case != "stranger")


def test_anthropic_gets_plain_answers_with_their_price(anthropic: dict[str, Any]) -> None:
    assert anthropic["plain"] == {
        "text": "You said: hello there",
        "cached": 2,
        "kept": {"kept": True},
        "cost": str(2 * 0.5 + 4 * 20).removesuffix(".0"),
        "call": True,
    }


def test_anthropic_streams_calls_tools_and_parses(anthropic: dict[str, Any]) -> None:
    stream = anthropic["stream"]
    assert (stream["text"], stream["end"], stream["wrote"]) == (COUNTED, "end_turn", 5)
    assert anthropic["tools"] == [["tool_use", "weather", {"city": "Paris"}]] * 2
    assert anthropic["parsed"] == CITY
    assert anthropic["limited"] == ["1 2 3", "max_tokens"]
    assert anthropic["counted"] == [4, "0"]
    assert anthropic["models"] == ["anthropic__large-1"]


@pytest.mark.parametrize(
    ("case", "raised", "kind", "code"),
    [
        ("unknown", "NotFoundError", "not_found_error", "unknown_target"),
        ("hidden", "NotFoundError", "not_found_error", "unknown_target"),
        ("stranger", "AuthenticationError", "authentication_error", "unauthenticated"),
        ("poor", "PaymentRequiredError", "billing_error", "over_budget"),
        ("refused", "BadRequestError", "invalid_request_error", "upstream_refused"),
        ("overloaded", "OverloadedError", "overloaded_error", "upstream_refused"),
    ],
)
def test_anthropic_raises_what_its_users_expect(
    anthropic: dict[str, Any], case: str, raised: str, kind: str, code: str
) -> None:
    error = anthropic["errors"][case]
    assert (error["raised"], error["type"], error["code"]) == (raised, kind, code)


def test_agents_of_pydantic_ai_run_on_every_format(place: Models, sdks: Path) -> None:
    answers = told(place, sdks, "models_pydantic_ai")
    assert answers.pop("unknown") == 404
    assert set(answers) == {"chat", "responses", "messages"}
    for answer in answers.values():
        assert answer == {
            "plain": "You said: hello there",
            "tokens": 6,
            "streamed": "1 2 3 4",
            "calls": ["Paris"],
            "used": "You said: thank you",
            "parsed": CITY,
        }


@pytest.mark.parametrize(
    ("story", "end", "in_usd"),
    [
        ("chat_cut", "length", 10),
        ("responses_cut", "response.incomplete", 10),
        ("messages_cut", "max_tokens", 20),
    ],
)
def test_a_model_that_writes_beyond_its_limit_is_cut_one_token_later_and_paid_for_what_it_wrote(
    place: Models, stopped: dict[str, Any], story: str, end: str, in_usd: int
) -> None:
    cut = stopped[story]
    assert (cut["text"], cut["end"]) == ("1 2 3 4 5 6", end)
    settled = outcome(place, cut["call"])
    read = settled["tokens"] - 6
    price = read - 1.5 * 2 + read if story == "messages_cut" else read
    assert (settled["outcome"], settled["cost"]) == ("ok", price + 6 * in_usd)


def test_who_goes_away_pays_for_what_was_written_until_then(place: Models, stopped: dict[str, Any]) -> None:
    left = stopped["left"]
    settled = outcome(place, left["call"])
    prompt, wrote = 5 + 40, 28
    assert (settled["outcome"], settled["tokens"]) == ("cancelled", prompt + wrote)
    assert settled["cost"] == (prompt - 2) * 2 + 2 * 0.5 + wrote * 20
    assert {"tokens": wrote, "whole": False} in place.control.answers(1)


def test_a_provider_is_never_shown_the_agents_token(place: Models, openai: dict[str, Any]) -> None:
    assert openai["chat"]
    shown = {request["headers"].get("authorization") for request in place.control.requests()}
    assert shown <= {"Bearer sk-openai-test", None}
    assert not any(name.startswith("toolbroker") for r in place.control.requests() for name in r["headers"])
