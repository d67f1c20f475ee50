"""Anthropic's SDK against a broker: URL and key are all that it is told. Prints what its user would see."""

import json
import os
import sys
from typing import Any

import anthropic
from anthropic import Anthropic
from pydantic import BaseModel

MODEL = "anthropic__large-1"
TOOL: Any = {
    "name": "weather",
    "description": "The weather of a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}


class City(BaseModel):
    name: str
    people: int


def asking(text: str, **more: Any) -> Any:
    return {"model": MODEL, "max_tokens": 40, "messages": [{"role": "user", "content": text}], **more}


def plain(client: Anthropic) -> Any:
    raw = client.messages.with_raw_response.create(**asking("hello there"))
    answer = raw.parse()
    return {
        "text": answer.content[0].text,
        "cached": answer.usage.cache_read_input_tokens,
        "kept": (answer.model_extra or {}).get("a_field_of_tomorrow"),
        "cost": raw.headers["toolbroker-cost-micro-usd"],
        "call": raw.headers["toolbroker-call"] == answer._request_id,
    }


def stream(client: Anthropic) -> Any:
    with client.messages.stream(**asking("count to 5")) as events:
        pieces = list(events.text_stream)
        final = events.get_final_message()
    return {
        "text": "".join(pieces),
        "pieces": len(pieces),
        "end": final.stop_reason,
        "wrote": final.usage.output_tokens,
    }


def tools(client: Anthropic) -> Any:
    whole = client.messages.create(**asking("use the tool", tools=[TOOL]))
    with client.messages.stream(**asking("use the tool", tools=[TOOL])) as events:
        streamed = events.get_final_message()
    return [[m.stop_reason, m.content[0].name, m.content[0].input] for m in (whole, streamed)]


def parsed(client: Anthropic) -> Any:
    return client.messages.parse(**asking("a city"), output_format=City).parsed_output.model_dump()


def limited(client: Anthropic) -> Any:
    answer = client.messages.create(**asking("count to 9") | {"max_tokens": 3})
    return [answer.content[0].text, answer.stop_reason]


def counted(client: Anthropic) -> Any:
    asked = {key: value for key, value in asking("how long is this?").items() if key != "max_tokens"}
    raw = client.messages.with_raw_response.count_tokens(**asked)
    return [raw.parse().input_tokens, raw.headers["toolbroker-cost-micro-usd"]]


def models(client: Anthropic) -> Any:
    return [model.id for model in client.models.list()]


def _error(make: Any) -> Any:
    try:
        make()
    except anthropic.APIStatusError as error:
        return {
            "raised": type(error).__name__,
            "type": error.type,
            "code": error.error_code,
            "call": error.request_id is not None,
        }
    return "nothing was raised"


def errors(client: Anthropic) -> Any:
    stranger = client.with_options(api_key="not-a-token")
    poor = client.with_options(api_key=os.environ["POOR_TOKEN"])

    def streamed() -> None:
        with client.messages.stream(**asking("fail 529")) as events:
            events.until_done()

    return {
        "unknown": _error(lambda: client.messages.create(**asking("hi") | {"model": "anthropic__absent"})),
        "hidden": _error(lambda: client.messages.create(**asking("hi") | {"model": "openai__large-1"})),
        "stranger": _error(lambda: stranger.messages.create(**asking("hi"))),
        "poor": _error(lambda: poor.messages.create(**asking("hi"))),
        "refused": _error(lambda: client.messages.create(**asking("fail 400"))),
        "overloaded": _error(streamed),
    }


STORIES = (plain, stream, tools, parsed, limited, counted, models, errors)


def main() -> None:
    client = Anthropic(base_url=sys.argv[1], api_key=os.environ["TOKEN"], max_retries=0, timeout=30)
    print(json.dumps({story.__name__: story(client) for story in STORIES}, default=str))


if __name__ == "__main__":
    main()
