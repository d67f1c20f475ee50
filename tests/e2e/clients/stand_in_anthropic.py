"""Reads what the stand-in answers with Anthropic's own types, strictly: nothing may be of another type."""

import json
import os
import sys
from typing import Any

from anthropic import Anthropic
from anthropic.types import Message, RawMessageStreamEvent
from pydantic import BaseModel, TypeAdapter

TOOL: Any = {
    "name": "weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}


def verdict(kind: Any, *values: BaseModel) -> str:
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    for value in values:
        adapter.validate_python(value.to_dict(), strict=False)
    return "as its types say" if values else "there is nothing"


def asking(text: str, **more: Any) -> Any:
    return {"model": "large-1", "max_tokens": 40, "messages": [{"role": "user", "content": text}], **more}


def main() -> None:
    messages = Anthropic(base_url=sys.argv[1], api_key=os.environ["TOKEN"], max_retries=0).messages
    use = asking("use the tool", tools=[TOOL])
    told = {
        "message": verdict(Message, messages.create(**asking("hi")), messages.create(**use)),
        "events": verdict(RawMessageStreamEvent, *messages.create(**asking("count to 3"), stream=True)),
        "tool events": verdict(RawMessageStreamEvent, *messages.create(**use, stream=True)),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
