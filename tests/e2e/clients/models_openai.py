"""OpenAI's SDK against a broker: URL and key are all that it is told. Prints what its user would see."""

import json
import os
import sys
from typing import Any

import openai
from openai import OpenAI
from pydantic import BaseModel

MODEL, HIDDEN, CHEAP, EMBED = "openai__small-1", "openai__large-1", "cheap", "openai__embed-1"


class City(BaseModel):
    name: str
    people: int


PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
CHAT_TOOL: Any = {"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}
TOOL: Any = {"type": "function", "name": "weather", "parameters": PARAMETERS, "strict": False}


def user(text: str) -> Any:
    return [{"role": "user", "content": text}]


def chat(client: OpenAI) -> Any:
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=user("hello there"))
    answer = raw.parse()
    return {
        "text": answer.choices[0].message.content,
        "tokens": answer.usage.total_tokens if answer.usage else None,
        "kept": (answer.model_extra or {}).get("a_field_of_tomorrow"),
        "cost": raw.headers["toolbroker-cost-micro-usd"],
        "receipt": "index" in json.loads(raw.headers["toolbroker-receipt"]),
        "call": raw.headers["toolbroker-call"] == answer._request_id,
    }


def chat_stream(client: OpenAI) -> Any:
    chunks = list(client.chat.completions.create(model=CHEAP, messages=user("count to 5"), stream=True))
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    return {
        "text": "".join(texts),
        "pieces": sum(map(bool, texts)),
        "end": chunks[-1].choices[0].finish_reason,
        "usage": [chunk.usage for chunk in chunks if chunk.usage],
    }


def chat_stream_with_usage(client: OpenAI) -> Any:
    options: Any = {"include_usage": True}
    with client.chat.completions.stream(
        model=MODEL, messages=user("count to 5"), stream_options=options
    ) as stream:
        whole = list(stream)[-1] and stream.get_final_completion()
    return {"text": whole.choices[0].message.content, "wrote": whole.usage and whole.usage.completion_tokens}


def chat_tools(client: OpenAI) -> Any:
    asked = {"model": MODEL, "messages": user("use the tool"), "tools": [CHAT_TOOL]}
    plain = client.chat.completions.create(**asked).choices[0]
    with client.chat.completions.stream(**asked) as stream:
        for _ in stream:
            pass
        streamed = stream.get_final_completion().choices[0]
    return [
        [choice.finish_reason, *[[c.function.name, c.function.arguments] for c in choice.message.tool_calls]]
        for choice in (plain, streamed)
    ]


def chat_parsed(client: OpenAI) -> Any:
    answer = client.chat.completions.parse(model=MODEL, messages=user("a city"), response_format=City)
    return answer.choices[0].message.parsed.model_dump()


def chat_limited(client: OpenAI) -> Any:
    answer = client.chat.completions.create(model=MODEL, messages=user("count to 9"), max_tokens=3)
    return [answer.choices[0].message.content, answer.choices[0].finish_reason]


def responses(client: OpenAI) -> Any:
    answer = client.responses.create(model=MODEL, input="hello there")
    return {"text": answer.output_text, "tokens": answer.usage.total_tokens if answer.usage else None}


def responses_stream(client: OpenAI) -> Any:
    with client.responses.stream(model=MODEL, input="count to 4") as stream:
        events = list(stream)
        final = stream.get_final_response()
    return {"text": final.output_text, "last": events[-1].type, "status": final.status}


def responses_tools(client: OpenAI) -> Any:
    with client.responses.stream(model=MODEL, input="use the tool", tools=[TOOL]) as stream:
        for _ in stream:
            pass
        (item,) = stream.get_final_response().output
    return [item.type, item.name, item.arguments]


def responses_parsed(client: OpenAI) -> Any:
    return client.responses.parse(model=MODEL, input="a city", text_format=City).output_parsed.model_dump()


def embeddings(client: OpenAI) -> Any:
    answer = client.embeddings.create(model=EMBED, input=["a", "bcd"])
    return [item.embedding for item in answer.data]


def models(client: OpenAI) -> Any:
    return [[model.id for model in client.models.list()], client.models.retrieve(CHEAP).owned_by]


def _error(make: Any) -> Any:
    try:
        make()
    except openai.APIError as error:
        broker = error.body.get("broker", {}) if isinstance(error.body, dict) else {}
        call = getattr(error, "request_id", None)
        return {
            "raised": type(error).__name__,
            "code": error.code,
            "broker": broker.get("code"),
            "call": call is not None and broker.get("call") == call,
            "hint": bool(broker.get("hint")),
        }
    return "nothing was raised"


def errors(client: OpenAI) -> Any:
    def ask(model: str, text: str, **more: Any) -> Any:
        return lambda: client.chat.completions.create(model=model, messages=user(text), **more)

    stranger = client.with_options(api_key="not-a-token")
    poor = client.with_options(api_key=os.environ["POOR_TOKEN"])
    return {
        "unknown": _error(ask("openai__absent", "hi")),
        "hidden": _error(ask(HIDDEN, "hi")),
        "stranger": _error(stranger.models.list),
        "poor": _error(lambda: poor.chat.completions.create(model=MODEL, messages=user("hi"))),
        "poor stream": _error(lambda: poor.responses.create(model=MODEL, input="hi", stream=True)),
        "refused": _error(ask(MODEL, "fail 400")),
        "busy": _error(ask(MODEL, "fail 429")),
        "broken": _error(ask(MODEL, "fail 500")),
        "broken stream": _error(ask(MODEL, "fail 500", stream=True)),
        "other format": _error(ask("anthropic__large-1", "hi")),
        "blocked": _error(ask(MODEL, os.environ["BLOCKED_TEXT"])),
    }


STORIES = (
    chat,
    chat_stream,
    chat_stream_with_usage,
    chat_tools,
    chat_parsed,
    chat_limited,
    responses,
    responses_stream,
    responses_tools,
    responses_parsed,
    embeddings,
    models,
    errors,
)


def main() -> None:
    client = OpenAI(base_url=f"{sys.argv[1]}/v1", api_key=os.environ["TOKEN"], max_retries=0, timeout=30)
    print(json.dumps({story.__name__: story(client) for story in STORIES}, default=str))


if __name__ == "__main__":
    main()
