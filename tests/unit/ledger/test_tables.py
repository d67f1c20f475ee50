"""Where do the prices of models come from?"""

import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from broker.errors import ConfigurationError, Denied, InvalidRequest
from broker.ledger.bounds import DEFAULT_OUTPUT, bound_of
from broker.ledger.tables import Tables, load_prices
from broker.ledger.tariff import Steps, Tariff
from broker.model import Json, Kind, Method, Target, Usage

CHEAP = Tariff("t", Steps(Decimal(1)), Steps(Decimal(2)))
NOW = 1_795_000_000.0


def model(name: str = "gpt-5-mini", **definition: object) -> Target:
    said = {"provider": "https://api.openai.com/v1/", **definition}
    return Target(Kind.MODEL, f"openai__{name}", "openai", name, said)


def tables(folder: Path, text: str = "") -> Tables:
    if text:
        (folder / "prices").mkdir()
        (folder / "prices" / "models.yaml").write_text(text)
    return Tables(load_prices(folder), lambda: NOW)


def test_a_published_price_names_its_table_and_version(tmp_path: Path) -> None:
    tariff = tables(tmp_path).tariff(model())
    assert tariff.source.startswith("genai-prices@")
    assert tariff.source.endswith(":openai/gpt-5-mini")
    assert tariff.cost(Usage(1_000_000, 1_000_000)) == 2_250_000
    assert tariff.cost(Usage(1_000_000, 0, cached=1_000_000)) == 25_000


def test_a_tier_of_service_has_its_own_price(tmp_path: Path) -> None:
    dear = tables(tmp_path).tariff(model(), "priority")
    assert dear.source.endswith("#priority")
    assert dear.cost(Usage(1_000_000, 0)) == 450_000


def test_what_the_operator_says_goes_before_what_is_published(tmp_path: Path) -> None:
    text = 'prices:\n  - {match: "openai__gpt-5*", input: "7", output: "9"}\n'
    tariff = tables(tmp_path, text).tariff(model())
    assert tariff.source.endswith("prices/models.yaml:2")
    assert (tariff.read.base, tariff.wrote.base) == (7, 9)


def test_a_price_that_nobody_knows_is_no_price_of_zero(tmp_path: Path) -> None:
    for unknown in (model("made-up-9"), model(provider="https://models.internal/v1/"), model(provider="")):
        with pytest.raises(Denied, match="nobody knows what"):
            tables(tmp_path).tariff(unknown)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('prices:\n  - {match: "x", inputs: "1", output: "2"}\n', "did you mean `input`"),
        ('prices:\n  - {match: "x", input: "1"}\n', "output"),
        ('prices:\n  - {match: "x", input: "a lot", output: "2"}\n', "is not an amount of money"),
        ('prices:\n  - {match: "x", input: "-1", output: "2"}\n', "is not a price"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as wrong:
        tables(tmp_path, text)
    assert "prices/models.yaml:" in wrong.value.message
    assert said in f"{wrong.value.message} {wrong.value.hint}"


def test_the_published_prices_are_not_read_before_a_model_is_asked() -> None:
    code = "import sys, broker.app; sys.exit(any(name.startswith('genai_prices') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def chat(**fields: object) -> Json:
    return {"model": "m", "messages": [{"role": "user", "content": "grüße"}], **fields}


def test_a_request_reads_no_more_tokens_than_it_has_bytes_and_no_more_than_the_context() -> None:
    small = bound_of(Method.CHAT, chat(), model(), CHEAP)
    assert small.read >= len(str(chat()).encode())
    assert small.wrote == DEFAULT_OUTPUT
    long = chat(max_tokens=50, n=3, messages=[{"role": "user", "content": "x" * 9000}])
    assert bound_of(Method.CHAT, long, model(context=1000), CHEAP).read == 1000
    assert bound_of(Method.CHAT, long, model(), CHEAP).tokens > 9000 + 150


def test_a_picture_is_bounded_by_the_context_alone() -> None:
    picture = chat(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}])
    assert bound_of(Method.CHAT, picture, model(context=128_000), CHEAP).read == 128_000
    with pytest.raises(Denied, match="nobody knows how much of a picture"):
        bound_of(Method.CHAT, picture, model(), CHEAP)


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        (Method.CHAT, {"web_search_options": {}, "tools": [{"type": "web_search"}]}),
        (Method.CHAT, {"logprobs": True}),
        (Method.RESPONSES, {"previous_response_id": "resp_1"}),
        (Method.RESPONSES, {"tools": [{"type": "code_interpreter"}]}),
        (Method.RESPONSES, {"input": [{"type": "item_reference", "id": "x"}]}),
        (Method.MESSAGES, {"mcp_servers": [{"url": "https://x"}]}),
        (Method.MESSAGES, {"speed": "fast"}),
        (Method.MESSAGES, {"tools": [{"type": "web_fetch_20250910", "name": "web_fetch"}]}),
        (Method.EMBED, {"stream": True}),
    ],
)
def test_what_would_pass_the_broker_by_is_refused(method: Method, fields: Json) -> None:
    with pytest.raises(InvalidRequest, match="so it cannot be governed"):
        bound_of(method, {"model": "m", **fields}, model(), CHEAP)


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        (Method.CHAT, {"tools": [{"type": "function", "function": {"name": "f"}}]}),
        (Method.RESPONSES, {"tools": [{"type": "function", "name": "f"}], "store": False}),
        (
            Method.MESSAGES,
            {"tools": [{"name": "f", "input_schema": {}}, {"type": "bash_20250124", "name": "bash"}]},
        ),
    ],
)
def test_tools_that_the_caller_runs_itself_are_fine(method: Method, fields: Json) -> None:
    assert bound_of(method, {"model": "m", "max_tokens": 9, **fields}, model(), CHEAP).wrote > 0
