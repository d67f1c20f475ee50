"""Models through the same door: decided, priced, shrunk to the budget, screened, metered and recorded."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import anyio
import orjson
import pytest

from broker.errors import BudgetExceeded, Denied, InvalidRequest, UnknownTarget, UpstreamRefused
from broker.model import CLAMPED, Attestation, Json, Manifest, Method
from tests.e2e.asking_models import Desk, Listener, desk
from tests.e2e.processes import python_upstream

STREAMED = [Method.CHAT, Method.RESPONSES, Method.MESSAGES]


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with python_upstream("providers.py", log=tmp_path_factory.mktemp("provider") / "log") as url:
        yield url


def body(method: Method, prompt: str, most: int | None = 200, **fields: object) -> Json:
    """A request in one of the formats."""
    model = f"{'claude' if method is Method.MESSAGES else 'openai'}__small-1"
    if method is Method.RESPONSES:
        request: Json = {"model": model, "input": prompt, "max_output_tokens": most}
    else:
        request = {"model": model, "messages": [{"role": "user", "content": prompt}], "max_tokens": most}
    return {key: value for key, value in {**request, **fields}.items() if value is not None}


def words(method: Method, answer: Json) -> str:
    match method:
        case Method.CHAT:
            return answer["choices"][0]["message"]["content"]
        case Method.RESPONSES:
            return answer["output"][0]["content"][0]["text"]
        case _:
            return answer["content"][0]["text"]


@pytest.mark.parametrize("method", STREAMED)
async def test_an_answer_comes_as_the_provider_sent_it_and_is_settled_from_its_usage(
    tmp_path: Path, provider: str, method: Method
) -> None:
    async with desk(tmp_path, provider) as at:
        released = await at.ask(method, body(method, "count to 40"))
        assert words(method, released.body) == " ".join(map(str, range(1, 41)))
        assert released.body["a_field_of_tomorrow"] == {"kept": True}
        # three words read; Anthropic tells two of them as cached
        cost = (
            604 if method is Method.MESSAGES else 403
        )  # 1 * 3 + 2 * 0.3 + 40 * 15, rounded up; 3 * 1 + 40 * 10
        assert released.cost == cost
        assert await at.balance() == (cost, 0)
        intent, outcome = await at.log()
    assert intent["spend"]["price"].startswith("policies/prices/models.yaml:")
    assert intent["spend"]["held"] >= cost
    assert intent["observed"]["max_tokens"] == 200
    assert (outcome["outcome"], outcome["cost"], outcome["tokens"]) == ("ok", cost, 43)
    assert "estimated" not in outcome


@pytest.mark.parametrize("method", STREAMED)
async def test_a_stream_comes_whole_and_costs_what_the_same_answer_costs_without(
    tmp_path: Path, provider: str, method: Method
) -> None:
    listener = Listener()
    async with desk(tmp_path, provider) as at:
        whole = await at.ask(method, body(method, "count to 300", 400))
        streamed = await at.ask(method, body(method, "count to 300", 400, stream=True), listener)
    assert listener.text() == words(method, whole.body) == words(method, streamed.body)
    assert streamed.cost == whole.cost
    assert len(listener.events) > 3
    assert not any("usage" in event for event in listener.events if "choices" in event)


async def test_the_usage_of_a_stream_is_handed_on_where_it_was_asked_for(
    tmp_path: Path, provider: str
) -> None:
    listener = Listener()
    asked = body(Method.CHAT, "count to 5", stream=True, stream_options={"include_usage": True})
    async with desk(tmp_path, provider) as at:
        await at.ask(Method.CHAT, asked, listener)
    assert listener.events[-1]["choices"] == []
    assert listener.events[-1]["usage"]["completion_tokens"] == 5


async def test_embeddings_are_priced_and_pass_as_they_are(tmp_path: Path, provider: str) -> None:
    async with desk(tmp_path, provider) as at:
        request = {"model": "openai__embed-1", "input": ["one two", "three"]}
        released = await at.ask(Method.EMBED, request)
    assert [item["embedding"] for item in released.body["data"]] == [[7.0, 0.5, -0.25], [5.0, 0.5, -0.25]]
    assert released.cost == 3


@pytest.mark.parametrize("method", STREAMED)
async def test_the_limit_of_an_answer_is_shrunk_to_what_the_budget_holds_and_the_caller_told(
    tmp_path: Path, provider: str, method: Method
) -> None:
    listener = Listener()
    async with desk(tmp_path, provider, cap=9_000) as at:
        released = await at.ask(method, body(method, "count to 900", 2000, stream=True), listener)
        spent, held = await at.balance()
        intent, outcome = await at.log()
    ((told, what),) = listener.told
    assert told == CLAMPED
    assert what["asked"] == 2000
    assert what["max_tokens"] == released.clamped == intent["observed"]["max_tokens"] < 2000
    assert len(listener.text().split()) == released.clamped
    assert intent["spend"]["held"] <= 9_000
    assert spent == outcome["cost"] == released.cost <= 9_000
    assert held == 0


async def test_what_the_budget_cannot_hold_usefully_is_refused_and_never_sent(
    tmp_path: Path, provider: str
) -> None:
    async with desk(tmp_path, provider, cap=300) as at:
        before = len(await at.control("requests"))
        with pytest.raises(BudgetExceeded):
            await at.ask(Method.CHAT, body(Method.CHAT, "count to 900"))
        assert len(await at.control("requests")) == before
        assert await at.balance() == (0, 0)


async def test_many_streams_against_one_cap_never_spend_more_than_it(tmp_path: Path, provider: str) -> None:
    """64 at a time; what one of them cannot have another may, and each is told how much it got."""
    cap = 60_000
    answers: list[int] = []
    refused: list[str] = []

    async def worker(at: Desk) -> None:
        for _ in range(3):
            listener = Listener()
            try:
                released = await at.ask(
                    Method.CHAT, body(Method.CHAT, "count to 900", 500, stream=True), listener
                )
            except BudgetExceeded as error:
                refused.append(error.code)
            else:
                assert len(listener.text().split()) == (released.clamped or 500)
                answers.append(released.cost)
            spent, held = await at.balance()
            assert spent + held <= cap

    async with desk(tmp_path, provider, cap=cap) as at:
        async with anyio.create_task_group() as tasks:
            for _ in range(64):
                tasks.start_soon(worker, at)
        spent, held = await at.balance()
        outcomes = [r for r in await at.log() if r["type"] == "call.outcome"]
    assert (sum(answers), held) == (spent, 0)
    assert spent == sum(r["cost"] for r in outcomes) <= cap
    assert len(answers) + len(refused) == 64 * 3
    assert refused
    assert spent > cap - 3000  # what is left is less than the least useful answer


async def test_an_agent_that_is_not_what_its_manifest_says_is_seen_by_what_it_asks_a_model(
    tmp_path: Path, provider: str
) -> None:
    prompt, tools = "You are ada.", [["f", {"type": "object"}]]
    manifest = Manifest(
        "ada", "1", "openai__small-1", "1", sha256(prompt.encode()).hexdigest(),
        sha256(orjson.dumps(tools)).hexdigest(), "0" * 64, "dana", 2**32, "kid", "0" * 64,
    )  # fmt: skip
    said = [{"role": "system", "content": prompt}, {"role": "user", "content": "hello"}]
    offered = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    true = body(Method.CHAT, "", messages=said, tools=offered)
    async with desk(tmp_path, provider, agent={"manifest": manifest}) as at:
        await at.ask(Method.CHAT, true)
        assert (await at.ada()).drift is None
        observed = (await at.log())[0]["observed"]
        assert observed["prompt_sha256"] == manifest.prompt_sha256
        assert observed["tools_sha256"] == manifest.tools_sha256
        await at.ask(
            Method.CHAT, {**true, "messages": [{"role": "system", "content": "You are eve."}, said[1]]}
        )
        assert (await at.ada()).drift == "it runs with another system prompt than its manifest says"
        assert (await at.ada()).attestation is Attestation.SELF_DECLARED


async def test_a_budget_in_tokens_shrinks_too(tmp_path: Path, provider: str) -> None:
    rule = 'budgets:\n  - {scope: "model:openai__*", window: total, tokens: 700}\n'
    async with desk(tmp_path, provider, files={"budgets/b.yaml": rule}) as at:
        released = await at.ask(Method.CHAT, body(Method.CHAT, "count to 5", 5000))
        assert released.clamped is not None
        assert released.clamped < 700
        assert (await at.log())[0]["spend"]["tokens"] == 700
        assert (await at.log())[1]["tokens"] == 8


async def test_a_model_whose_price_nobody_knows_is_refused_with_the_line_to_add(
    tmp_path: Path, provider: str
) -> None:
    async with desk(tmp_path, provider, files={"prices/models.yaml": "prices: []\n"}) as at:
        with pytest.raises(Denied) as refused:
            await at.ask(Method.CHAT, body(Method.CHAT, "hello"))
    assert refused.value.hint is not None
    assert '- {match: "openai__small-1", input: "0.00", output: "0.00"}' in refused.value.hint


@pytest.mark.parametrize("method", [Method.MESSAGES, Method.CHAT])
async def test_a_stream_beyond_its_limit_is_ended_there_and_what_was_written_is_paid(
    tmp_path: Path, provider: str, method: Method
) -> None:
    listener = Listener()
    async with desk(tmp_path, provider) as at:
        before = len(await at.control("answers"))
        prompt = "step by step count to 900 and ignore the limit"
        await at.control("steps", count=150)
        released = await at.ask(method, body(method, prompt, 100, stream=True), listener)
        outcome = await at.outcome()
        answer = (await at.control("answers", count=before + 1))[-1]
    assert not answer["whole"]
    written = len(listener.text().split())
    assert written == 101  # the one that shows that it does not stop
    assert outcome["estimated"] is True
    if method is Method.CHAT:
        assert listener.events[-1]["choices"][0]["finish_reason"] == "length"
    else:
        assert listener.events[-1]["delta"]["stop_reason"] == "max_tokens"
        # ten words read, two of them cached
        assert released.cost == outcome["cost"] == -(-(8 * 30 + 2 * 3 + 101 * 150) // 10)
    assert outcome["outcome"] == "ok"


@pytest.mark.parametrize("method", STREAMED)
async def test_an_answer_whose_caller_has_gone_is_read_on_for_what_it_cost(
    tmp_path: Path, provider: str, method: Method
) -> None:
    listener = Listener(leaves_after=1)
    async with desk(tmp_path, provider) as at:
        released = await at.ask(method, body(method, "count to 150", stream=True), listener)
        outcome = await at.outcome()
    assert "estimated" not in outcome
    assert outcome["tokens"] == 153
    assert released.cost == outcome["cost"]


async def test_a_call_that_is_cancelled_while_it_streams_pays_what_was_written(
    tmp_path: Path, provider: str
) -> None:
    listener = Listener()
    request = body(Method.MESSAGES, "step by step count to 300", 400, stream=True)
    async with desk(tmp_path, provider) as at:
        before = len(await at.control("answers"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(at.ask, Method.MESSAGES, request, listener)
            await at.control("steps", count=200)
            with anyio.fail_after(20):
                while len(listener.text().split()) < 20:  # the rest is held back until it has been read
                    await listener.next()
            tasks.cancel_scope.cancel()
        answer = (await at.control("answers", count=before + 1))[-1]
        outcome = await at.outcome()
        spent, held = await at.balance()
    assert (outcome["outcome"], outcome["estimated"], held) == ("cancelled", True, 0)
    assert not answer["whole"]
    assert 20 <= outcome["tokens"] - 6 <= 200  # six words were read
    assert spent == outcome["cost"] == -(-(4 * 30 + 2 * 3 + (outcome["tokens"] - 6) * 150) // 10)


async def test_a_refusal_of_the_provider_comes_with_its_status_and_words(
    tmp_path: Path, provider: str
) -> None:
    async with desk(tmp_path, provider) as at:
        with pytest.raises(UpstreamRefused) as refused:
            await at.ask(Method.CHAT, body(Method.CHAT, "fail 429"))
        assert refused.value.status == 429
        assert refused.value.data["error"]["code"] == "rate_limit_exceeded"
        assert await at.balance() == (0, 0)


async def test_counting_tokens_is_free_and_recorded_even_where_there_is_no_money(
    tmp_path: Path, provider: str
) -> None:
    async with desk(tmp_path, provider, cap=0) as at:
        asked = body(Method.MESSAGES, "how long is this?", None)
        released = await at.ask(Method.COUNT, asked)
        assert (released.body, released.cost) == ({"input_tokens": 4}, 0)
        intent, outcome = await at.log()
    assert intent["what"]["method"] == "messages/count_tokens"
    assert intent["spend"]["price"] == "free: tokens are counted, none is written"
    assert (outcome["outcome"], outcome["cost"]) == ("ok", 0)


async def test_a_format_that_the_provider_does_not_speak_is_refused_with_those_that_it_does(
    tmp_path: Path, provider: str
) -> None:
    async with desk(tmp_path, provider) as at:
        with pytest.raises(InvalidRequest, match="does not speak `messages`") as refused:
            await at.ask(Method.MESSAGES, {**body(Method.MESSAGES, "hello"), "model": "openai__small-1"})
    assert "chat/completions" in str(refused.value.hint)


async def test_a_model_is_found_by_its_alias_and_decided_on_by_its_name(
    tmp_path: Path, provider: str
) -> None:
    role = 'role: operator\nallow:\n  - models: ["openai__small-*"]\n'
    models = {"small-1": {"aliases": ["fast"]}, "large-1": {"aliases": ["best"]}}
    async with desk(tmp_path, provider, models=models, files={"roles/operator.yaml": role}) as at:
        released = await at.ask(Method.CHAT, {**body(Method.CHAT, "hello"), "model": "fast"})
        assert released.body["model"] == "small-1"
        assert (await at.log())[0]["what"]["name"] == "openai__small-1"
        with pytest.raises(UnknownTarget):
            await at.ask(Method.CHAT, {**body(Method.CHAT, "hello"), "model": "best"})


async def test_an_answer_that_a_rule_takes_values_out_of_does_not_stream(
    tmp_path: Path, provider: str
) -> None:
    role = 'role: operator\nallow:\n  - models: ["*"]\n    obligations: {redact: [choices.message.content]}\n'
    async with desk(tmp_path, provider, files={"roles/operator.yaml": role}) as at:
        released = await at.ask(Method.CHAT, body(Method.CHAT, "count to 9"))
        assert released.body["choices"][0]["message"]["content"] == "[redacted]"
        before = len(await at.control("requests"))
        with pytest.raises(Denied, match="a stream has no places"):
            await at.ask(Method.CHAT, body(Method.CHAT, "count to 9", stream=True))
        assert len(await at.control("requests")) == before


async def test_tools_that_the_provider_would_run_itself_are_refused(tmp_path: Path, provider: str) -> None:
    search = [{"type": "web_search_20250305", "name": "web_search"}]
    async with desk(tmp_path, provider) as at:
        with pytest.raises(InvalidRequest, match="is run by the provider"):
            await at.ask(Method.MESSAGES, body(Method.MESSAGES, "hello", tools=search))


SECRET = "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc" + "Kb3x"


@pytest.mark.parametrize("method", STREAMED)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_secret_in_an_answer_is_taken_out_before_anybody_reads_it(
    tmp_path: Path, provider: str, method: Method, stream: bool
) -> None:
    """In what a model writes, and in what it wants a tool to be called with."""
    listener = Listener()
    files = {
        "guardrails/secrets.yaml": 'guard: secrets\nrules:\n  - direction: out\n    do: {"*": allow}\n  - do: {"*": redact}\n'
    }
    async with desk(tmp_path, provider, files=files) as at:
        prompt = f"repeat exactly: the key is {SECRET} and " + "more words " * 60
        released = await at.ask(method, body(method, prompt, 400, stream=stream or None), listener)
        outcome = await at.outcome()
    assert SECRET not in str(released.body) + str(listener.events)
    assert "[redacted:" in words(method, released.body)
    assert len(outcome["findings"]) == 1
    if stream:
        assert listener.text() == words(method, released.body)
