"""Models in their providers' formats: what comes in, what goes out, how streams end."""

import anyio
import orjson
import pytest

from broker.errors import BudgetExceeded, RateLimited, UpstreamLost, UpstreamRefused
from broker.model import CLAMPED, Answer
from tests.unit.edges.house import until
from tests.unit.edges.model_house import ModelHouse, asking, chunk, completion, open_models


@pytest.fixture
def house() -> ModelHouse:
    return ModelHouse()


def streaming(*texts: str):
    """A model that streams these texts."""

    async def behave(method, params, line):
        for text in texts:
            await line.caller.deliver(chunk(text))
        return Answer(completion("".join(texts)))

    return behave


def failing(error):
    async def behave(method, params, line):
        raise error

    return behave


async def test_the_answer_arrives_as_it_came_and_headers_say_what_was_recorded(house) -> None:
    house.model("small", Answer(completion("hi")))
    async with open_models(house) as http:
        answer = await http.post("chat/completions", json=asking(tomorrow={"kept": [1]}))
    assert answer.json() == completion("hi")
    ((_, params),) = house.calls
    assert params | asking(tomorrow={"kept": [1]}) == params
    assert orjson.loads(answer.headers["toolbroker-receipt"])["index"] == len(house.entries)
    assert answer.headers["toolbroker-cost-micro-usd"] == "600"
    assert answer.headers["x-request-id"] == answer.headers["toolbroker-call"]


async def test_an_alias_reaches_its_model(house) -> None:
    house.model("small", Answer(completion("hi")), "cheap")
    async with open_models(house) as http:
        assert (await http.post("chat/completions", json=asking(model="cheap"))).status_code == 200
        listed = (await http.get("models")).json()
        one = (await http.get("models/cheap")).json()
    assert [model["id"] for model in listed["data"]] == ["small", "cheap"]
    assert (one["id"], one["object"], one["owned_by"]) == ("cheap", "model", "house")


async def test_a_stream_comes_event_by_event_and_ends_when_the_outcome_is_recorded(house) -> None:
    go = anyio.Event()

    async def behave(method, params, line):
        await line.caller.deliver(chunk("one"))
        await go.wait()
        await line.caller.deliver(chunk("two"))
        return Answer(completion("onetwo"))

    house.model("small", behave)
    async with (
        open_models(house) as http,
        http.stream("POST", "chat/completions", json=asking(stream=True)) as answer,
    ):
        lines = answer.aiter_lines()
        first = await anext(lines)
        assert house.outcomes == []
        go.set()
        rest = [line async for line in lines if line]
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert orjson.loads(first.removeprefix("data: ")) == chunk("one")
    assert orjson.loads(rest[0].removeprefix("data: ")) == chunk("two")
    told = orjson.loads(rest[1].removeprefix(": toolbroker "))
    assert (told["call"], told["receipt"]["index"]) == (answer.headers["toolbroker-call"], len(house.entries))
    assert rest[2:] == ["data: [DONE]"]
    assert house.outcomes == ["ok"]


async def test_how_much_a_model_may_write_is_told_before_it_writes(house) -> None:
    async def behave(method, params, line):
        await line.caller.notify(CLAMPED, {"max_tokens": 12, "asked": None})
        await line.caller.deliver(chunk("x"))
        return Answer(completion("x"))

    house.model("small", behave)
    async with open_models(house) as http:
        answer = await http.post("chat/completions", json=asking(stream=True))
    assert answer.headers["toolbroker-max-tokens"] == "12"


WHOLE_MESSAGE = {
    "id": "m",
    "type": "message",
    "role": "assistant",
    "content": [
        {"type": "text", "text": "hi"},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 2},
}
WHOLE_RESPONSE = {
    "id": "r",
    "object": "response",
    "status": "incomplete",
    "output": [{"type": "message", "id": "i", "content": [{"type": "output_text", "text": "hi"}]}],
}


@pytest.mark.parametrize(
    ("path", "body", "kinds"),
    [
        ("chat/completions", completion("hi"), [None, None, None]),
        (
            "messages",
            WHOLE_MESSAGE,
            ["message_start"]
            + ["content_block_start", "content_block_delta", "content_block_stop"] * 2
            + ["message_delta", "message_stop"],
        ),
        (
            "responses",
            WHOLE_RESPONSE,
            [
                "response.created",
                "response.output_item.added",
                "response.content_part.added",
                "response.output_text.delta",
                "response.output_text.done",
                "response.content_part.done",
                "response.output_item.done",
                "response.incomplete",
            ],
        ),
    ],
)
async def test_an_answer_that_was_held_back_is_streamed_all_the_same(house, path, body, kinds) -> None:
    house.model("small", Answer(body))
    options = {"stream_options": {"include_usage": True}}
    async with open_models(house) as http:
        answer = await http.post(path, json=asking(stream=True, **options))
    lines = [line for line in answer.text.splitlines() if line.startswith("data: ")]
    events = [orjson.loads(line[6:]) for line in lines if line != "data: [DONE]"]
    assert [event.get("type") for event in events] == kinds
    if path == "chat/completions":
        assert events[0]["choices"][0]["delta"]["content"] == "hi"
        assert events[1]["choices"][0]["finish_reason"] == "stop"
        assert events[2]["usage"] == body["usage"]
        assert lines[-1] == "data: [DONE]"
    if path == "responses":
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        assert events[-1]["response"] == body


async def test_who_goes_away_ends_the_call(house) -> None:
    ended = anyio.Event()

    async def behave(method, params, line):
        try:
            await line.caller.deliver(chunk("one"))
            await anyio.sleep_forever()
        finally:
            ended.set()

    house.model("small", behave)
    async with open_models(house) as http:
        async with http.stream("POST", "chat/completions", json=asking(stream=True)) as answer:
            await anext(answer.aiter_lines())
        with anyio.fail_after(5):
            await ended.wait()
        await until(lambda: house.outcomes)
    assert house.outcomes == ["cancelled"]


REFUSED = UpstreamRefused(
    "the context is too long",
    status=400,
    data={"error": {"type": "invalid_request_error", "code": "context_length_exceeded", "param": "messages"}},
)


@pytest.mark.parametrize(
    ("error", "openai", "anthropic", "again"),
    [
        (
            BudgetExceeded("no money left"),
            (429, "insufficient_quota", "insufficient_quota"),
            (402, "billing_error", "over_budget"),
            "false",
        ),
        (
            RateLimited("too soon", retry_after_s=7),
            (429, "rate_limit_error", "rate_limit_exceeded"),
            (429, "rate_limit_error", "rate_limited"),
            "true",
        ),
        (
            REFUSED,
            (400, "invalid_request_error", "context_length_exceeded"),
            (400, "invalid_request_error", "upstream_refused"),
            "false",
        ),
        (
            UpstreamRefused("bad key", status=401, data={"error": {"code": "invalid_api_key"}}),
            (502, "server_error", "upstream_refused"),
            (502, "api_error", "upstream_refused"),
            "false",
        ),
        (
            UpstreamLost("no answer"),
            (504, "server_error", "upstream_lost"),
            (504, "timeout_error", "upstream_lost"),
            "false",
        ),
    ],
    ids=["budget", "rate", "refused", "our key", "lost"],
)
async def test_each_provider_says_an_error_in_its_own_words(house, error, openai, anthropic, again) -> None:
    house.model("small", failing(error))
    async with open_models(house) as http:
        first = await http.post("chat/completions", json=asking())
        second = await http.post("messages", json=asking(max_tokens=5))
    told = first.json()["error"]
    assert (first.status_code, told["type"], told["code"]) == openai
    assert told["broker"]["call"] == first.headers["x-request-id"]
    said = second.json()
    assert (second.status_code, said["error"]["type"], said["error"]["details"]["error_code"]) == anthropic
    assert (said["type"], said["request_id"]) == ("error", second.headers["request-id"])
    assert {first.headers["x-should-retry"], second.headers["x-should-retry"]} == {again}
    assert first.headers.get("retry-after") == ("7" if again == "true" else None)


@pytest.mark.parametrize(
    ("path", "reads"),
    [
        ("chat/completions", lambda event: event["error"]["code"]),
        ("responses", lambda event: (event["type"], event["error"]["code"])[1]),
        ("messages", lambda event: event["error"]["details"]["error_code"]),
    ],
)
async def test_a_stream_that_fails_ends_with_the_error_and_with_nothing_that_looks_whole(
    house, path, reads
) -> None:
    async def behave(method, params, line):
        await line.caller.deliver(chunk("one"))
        raise UpstreamLost("the provider hung up")

    house.model("small", behave)
    async with open_models(house) as http:
        answer = await http.post(path, json=asking(stream=True))
    lines = [line for line in answer.text.splitlines() if line.startswith("data: ")]
    assert reads(orjson.loads(lines[-1][6:])) == "upstream_lost"
    assert len(lines) == 2


async def test_hidden_and_missing_models_answer_alike(house) -> None:
    house.model("secret", Answer(completion("hi")))
    house.hidden.add(("alice", "secret"))
    async with open_models(house) as http:
        hidden = await http.post("chat/completions", json=asking(model="secret"))
        missing = await http.post("chat/completions", json=asking(model="absent"))
        listed = (await http.get("models")).json()["data"]
        one, other = await http.get("models/secret"), await http.get("models/absent")
    assert (hidden.status_code, listed) == (404, [])

    def plain(answer, name):
        return answer.text.replace(name, "NAME").replace(answer.headers.get("x-request-id", "-"), "ID")

    assert plain(hidden, "secret") == plain(missing, "absent")
    assert (one.status_code, plain(one, "secret")) == (404, plain(other, "absent"))


async def test_a_model_that_speaks_another_format_says_which(house) -> None:
    house.model("small", Answer(completion("hi")), methods=["messages"])
    async with open_models(house) as http:
        answer = await http.post("chat/completions", json=asking())
    assert answer.status_code == 400
    assert "messages" in answer.json()["error"]["broker"]["hint"]


async def test_the_list_is_in_the_words_of_whose_sdk_asks(house) -> None:
    house.model("claude", Answer({}), methods=["messages"])
    house.model("gpt", Answer({}), methods=["chat/completions"])
    async with open_models(house) as http:
        openai = (await http.get("models")).json()
        anthropic = (await http.get("models", headers={"anthropic-version": "2023-06-01"})).json()
    assert [model["id"] for model in openai["data"]] == ["claude", "gpt"]
    assert (anthropic["has_more"], [model["id"] for model in anthropic["data"]]) == (False, ["claude"])


@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
async def test_a_token_is_taken_where_each_sdk_puts_it(house, header) -> None:
    house.model("small", Answer(completion("hi")))
    value = "Bearer bob-token" if header == "authorization" else "bob-token"
    async with open_models(house) as http:
        del http.headers["authorization"]
        answer = await http.post("messages", json=asking(), headers={header: value})
        assert answer.status_code == 200
        nobody = await http.post("messages", json=asking())
    assert (nobody.status_code, nobody.json()["error"]["type"]) == (401, "authentication_error")
    assert nobody.headers["www-authenticate"].startswith("Bearer ")


async def test_delegation_task_and_parent_come_in_headers(house) -> None:
    house.model("small", Answer(completion("hi")))
    token = house.delegate("bob", "alice")
    headers = {"toolbroker-delegation": token, "toolbroker-task": "t-1", "toolbroker-parent-call": "claimed"}
    async with open_models(house) as http:
        answer = await http.post("chat/completions", json=asking(), headers=headers)
        fallen = await http.post(
            "chat/completions", json=asking(), headers={"toolbroker-delegation": "nothing"}
        )
    assert (answer.status_code, fallen.status_code) == (200, 403)
    assert b"bob" in orjson.dumps(house.entries[0].facts)
    assert b"claimed" in orjson.dumps([entry.facts for entry in house.entries])


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "not JSON"),
        (b"[]", "JSON object"),
        (b'{"messages": []}', "`model`"),
        (b'{"model": 7}', "`model`"),
        (b'{"model": "small", "stream": "yes"}', "`stream`"),
        (b'{"model": "small", "x": ' + b"[" * 300 + b"]" * 300 + b"}", "nested"),
    ],
)
async def test_a_body_that_is_no_request_is_told_what_is_wrong(house, body, said) -> None:
    house.model("small", Answer(completion("hi")))
    async with open_models(house) as http:
        answer = await http.post(
            "chat/completions", content=body, headers={"content-type": "application/json"}
        )
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]
    assert house.entries == []


async def test_a_body_that_is_too_large_is_not_read(house) -> None:
    async with open_models(house, request_bytes=2000) as http:
        answer = await http.post("messages", json=asking("x" * 3000))
    assert (answer.status_code, answer.json()["error"]["type"]) == (413, "request_too_large")


async def test_what_is_not_here_is_said_in_the_providers_words(house) -> None:
    async with open_models(house) as http:
        counted = await http.post("messages/batches", json={})
        wrong = await http.get("chat/completions")
    assert (counted.status_code, counted.json()["error"]["type"]) == (404, "not_found_error")
    assert (wrong.status_code, "POST" in wrong.json()["error"]["message"]) == (400, True)


async def test_features_on_trial_are_handed_on_by_name(house) -> None:
    asked = []

    async def behave(method, params, line):
        asked.append(line.betas)
        return Answer(completion("hi"))

    house.model("small", behave)
    async with open_models(house) as http:
        await http.post("messages", json=asking(), headers={"anthropic-beta": "one,two"})
        await http.post("chat/completions", json=asking(), headers={"openai-beta": "three"})
        await http.post("chat/completions", json=asking())
    assert asked == [("one", "two"), ("three",), ()]


@pytest.mark.parametrize("path", ["chat/completions", "messages"])
@pytest.mark.parametrize(
    ("error", "after"),
    [
        (BudgetExceeded("no money left until then", retry_after_s=90), "90"),
        (BudgetExceeded("no money left"), None),
        (RateLimited("too soon", retry_after_s=7), "7"),
    ],
)
async def test_who_is_stopped_is_told_when_to_come_back(house, path, error, after) -> None:
    house.model("small", failing(error))
    async with open_models(house) as http:
        refused = await http.post(path, json=asking())
    assert refused.headers.get("retry-after") == after
