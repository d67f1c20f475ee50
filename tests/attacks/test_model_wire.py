"""Attacks on the endpoints of models: who asks, what is asked, and what a model may write into a stream."""

import socket
from collections.abc import Iterator

import httpx2
import orjson
import pytest

from broker.errors import UpstreamRefused
from broker.model import Answer
from tests.e2e.providers import Models, models
from tests.unit.edges.model_house import ModelHouse, asking, chunk, completion, open_models

JSON = {"content-type": "application/json"}


@pytest.fixture
def house() -> ModelHouse:
    house = ModelHouse()
    house.model("small", Answer(completion("hi")), "cheap")
    house.model("secret", Answer(completion("hidden")), "quiet")
    house.hidden.add(("alice", "secret"))
    return house


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Models]:
    with models(tmp_path_factory.mktemp("models")) as place:
        yield place


@pytest.mark.parametrize("name", ["access_token", "api_key", "key", "token"])
async def test_a_token_in_the_address_is_not_read(house, name) -> None:
    async with open_models(house) as http:
        del http.headers["authorization"]
        answer = await http.post("chat/completions", params={name: "alice-token"}, json=asking())
    assert answer.status_code == 401
    assert house.calls == []


@pytest.mark.parametrize(
    "headers",
    [
        {"x-api-key": "bob-token"},
        {"x-api-key": ""},
        {"authorization": "Basic YWxpY2UtdG9rZW46", "x-api-key": "bob-token"},
    ],
    ids=["two agents", "an empty one", "another scheme"],
)
async def test_who_presents_two_credentials_is_nobody(house, headers) -> None:
    async with open_models(house) as http:
        answer = await http.post("messages", json=asking(), headers=headers)
    assert answer.status_code == 401
    assert house.calls == []


async def test_repeated_api_keys_are_no_choice(house) -> None:
    keys = [("x-api-key", "alice-token"), ("x-api-key", "bob-token"), ("content-type", "application/json")]
    async with open_models(house) as http:
        del http.headers["authorization"]
        answer = await http.post("messages", content=orjson.dumps(asking()), headers=keys)
    assert answer.status_code == 401


@pytest.mark.parametrize("name", ["secret", "quiet", "SECRET", "secret ", "small\u0000secret", "../secret"])
async def test_a_hidden_model_has_no_name_that_reaches_it(house, name) -> None:
    async with open_models(house) as http:
        answer = await http.post("chat/completions", json=asking(model=name))
        listed = await http.get("models")
    assert answer.status_code == 404
    assert house.calls == []
    assert [model["id"] for model in listed.json()["data"]] == ["small", "cheap"]


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("?model=secret", {}),
        ("", {"model": "secret", "x-model": "secret", "openai-model": "secret"}),
        ("", {"x-original-url": "/v1/models/secret", "x-http-method-override": "GET"}),
    ],
)
async def test_nothing_but_the_body_names_the_model(house, query, headers) -> None:
    async with open_models(house) as http:
        answer = await http.post(f"chat/completions{query}", json=asking(), headers=headers)
    assert answer.json() == completion("hi")
    assert [params["model"] for _, params in house.calls] == ["small"]


async def test_a_model_that_is_named_twice_is_the_one_that_is_judged_and_called(house) -> None:
    first = b'{"model": "secret", "messages": [], "model": "small"}'
    second = b'{"model": "small", "messages": [], "model": "secret"}'
    async with open_models(house) as http:
        one = await http.post("chat/completions", content=first, headers=JSON)
        other = await http.post("chat/completions", content=second, headers=JSON)
    assert (one.status_code, other.status_code) == (200, 404)
    ((_, params),) = house.calls
    assert (params["model"], params["messages"]) == ("small", [])


async def test_a_body_without_a_declared_length_is_cut_off_at_the_limit(house) -> None:
    async def endless():
        for _ in range(100):
            yield b" " * 1000

    async with open_models(house, request_bytes=4096) as http:
        answer = await http.post("chat/completions", content=endless(), headers=JSON)
    assert answer.status_code == 413


@pytest.mark.parametrize("depth", [250, 20_000])
async def test_deep_json_is_refused_before_anybody_walks_it(house, depth) -> None:
    nested = b"[" * depth + b"]" * depth
    body = b'{"model": "small", "messages": [{"role": "user", "content": %b}]}' % nested
    async with open_models(house) as http:
        answer = await http.post("chat/completions", content=body, headers=JSON)
    assert answer.status_code == 400
    assert house.entries == []


@pytest.mark.parametrize("name", ["toolbroker-delegation", "toolbroker-task", "traceparent"])
async def test_headers_that_speak_to_the_broker_are_there_once_and_plain(house, name) -> None:
    headers = [("content-type", "application/json"), (name, "one"), (name, "two")]
    strange = [("content-type", "application/json"), (name, "caf\u00e9".encode())]
    async with open_models(house) as http:
        twice = await http.post("chat/completions", content=orjson.dumps(asking()), headers=headers)
        unreadable = await http.post("chat/completions", content=orjson.dumps(asking()), headers=strange)
    assert (twice.status_code, unreadable.status_code) == (400, 400)
    assert house.calls == []


SPLIT = "x\r\nset-cookie: stolen=1\r\n\r\n<script>"


async def test_no_text_of_a_model_a_provider_or_a_caller_becomes_a_header(house) -> None:
    async def refusing(method, params, line):
        raise UpstreamRefused(SPLIT, status=400, data={"error": {"type": SPLIT, "code": SPLIT}})

    house.model("rude", refusing)
    house.model("chatty", Answer({**completion(SPLIT), "id": SPLIT, "model": SPLIT}))
    async with open_models(house) as http:
        answers = [
            await http.post("chat/completions", json=asking(model=name)) for name in ("rude", "chatty", SPLIT)
        ]
    assert [answer.status_code for answer in answers] == [400, 200, 404]
    for answer in answers:
        assert "set-cookie" not in answer.headers
        assert not any("script" in value for value in answer.headers.values())


BREAKS = (
    "\n\ndata: [DONE]\n\n",
    "\r\n\r\ndata: {}\r\n\r\n",
    "\u2028data: [DONE]",
    "\u2029: toolbroker {}",
    "\u0085data: x",
)


@pytest.mark.parametrize("text", BREAKS, ids=["lf", "crlf", "u2028", "u2029", "u0085"])
@pytest.mark.parametrize("path", ["chat/completions", "responses", "messages"])
async def test_text_of_a_model_cannot_begin_a_line_of_the_stream(house, path, text) -> None:
    async def writing(method, params, line):
        await line.caller.deliver({"type": "piece", "text": text, text: 1})
        return Answer({"status": "completed", "text": text})

    house.model("writer", writing)
    async with open_models(house) as http:
        answer = await http.post(path, json=asking(model="writer", stream=True))
    for split in (str.splitlines, lambda told: told.split("\n")):  # clients split lines in both ways
        lines = [line for line in split(answer.text) if line]
        assert {line.partition(":")[0] for line in lines} <= {"data", "event", ""}
        told = [line for line in lines if line.startswith("data: {")]
        assert orjson.loads(told[0][6:])["text"] == text
        assert sum(line == "data: [DONE]" for line in lines) == (path == "chat/completions")
        assert sum(line.startswith(": toolbroker") for line in lines) == 1


@pytest.mark.parametrize(
    "kind", ["message_stop\ndata: {}", "x\r\nevent: error", "", "a b", 7, None, "\u2028"]
)
async def test_a_type_that_is_no_name_does_not_name_an_event(house, kind) -> None:
    async def writing(method, params, line):
        await line.caller.deliver({"type": kind, "text": "hi"})
        return Answer({"stop_reason": "end_turn"})

    house.model("writer", writing)
    async with open_models(house) as http:
        answer = await http.post("messages", json=asking(model="writer", stream=True))
    named = [line for line in answer.text.splitlines() if line.startswith("event:")]
    assert named == ["event: message_stop"]
    assert orjson.loads(answer.text.splitlines()[0][6:]) == {"type": kind, "text": "hi"}


async def test_a_stream_that_broke_off_has_no_ending_that_looks_whole(house) -> None:
    async def breaking(method, params, line):
        await line.caller.deliver(chunk("half of it"))
        raise RuntimeError("a mistake of ours")

    house.model("broken", breaking)
    async with open_models(house) as http:
        for path in ("chat/completions", "responses", "messages"):
            answer = await http.post(path, json=asking(model="broken", stream=True))
            assert "a mistake of ours" not in answer.text
            assert not any(end in answer.text for end in ("[DONE]", "message_stop", "response.completed"))


@pytest.mark.parametrize(
    "more",
    [
        {"stream_options": {"include_usage": False}},
        {"stream_options": None},
        {"stream_options": {"include_usage": "no", "chunk_size": 1}},
        {"stream_options": "none"},
        {"stream_options": []},
        {"stream_options": 7},
    ],
    ids=str,
)
def test_a_stream_is_metered_whatever_is_said_about_its_usage(place: Models, more) -> None:
    token = place.broker.token(place.writer)
    body = {
        "model": "openai__small-1",
        "messages": [{"role": "user", "content": "count to 5"}],
        "stream": True,
    }
    before = place.control.requests()[-1:]
    with httpx2.Client(headers={"authorization": f"Bearer {token}"}, timeout=30) as http:
        answer = http.post(f"{place.broker.url}/v1/chat/completions", json={**body, **more})
    options = more["stream_options"]
    if not isinstance(options, dict | None):
        assert (answer.status_code, place.control.requests()[-1:]) == (400, before)
        return
    told = next(line for line in answer.text.splitlines() if line.startswith(": toolbroker "))
    assert orjson.loads(told.removeprefix(": toolbroker "))["cost_micro_usd"] == 3 + 5 * 10
    assert '"usage":{' not in answer.text


def test_pages_of_other_sites_and_other_names_are_turned_away(place: Models) -> None:
    token = place.broker.token(place.writer)
    with httpx2.Client(headers={"authorization": f"Bearer {token}"}, timeout=30) as http:
        page = http.get(f"{place.broker.url}/v1/models", headers={"origin": "https://evil.example"})
        rebound = http.get(f"{place.broker.url}/v1/models", headers={"host": "evil.example"})
    assert (page.status_code, rebound.status_code) == (403, 421)


def test_a_raw_request_with_a_line_break_in_a_header_reaches_nobody(place: Models) -> None:
    host, port = place.broker.url.removeprefix("http://").split(":")
    request = (
        f"GET /v1/models HTTP/1.1\r\nHost: {host}:{port}\r\n"
        "Toolbroker-Task: a\rAuthorization: Bearer x\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(request.encode())
        answer = connection.recv(65536)
    assert answer.split(b" ")[1] in (b"400", b"401")
