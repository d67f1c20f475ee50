"""Reads what the stand-in answers with OpenAI's own types, strictly: nothing may be of another type."""

import json
import os
import sys
from typing import Any

from openai import OpenAI
from openai.types import CreateEmbeddingResponse, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}


def verdict(kind: Any, *values: BaseModel) -> str:
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    for value in values:
        adapter.validate_python(value.to_dict(), strict=False)
    return "as its types say" if values else "there is nothing"


def main() -> None:
    client = OpenAI(base_url=f"{sys.argv[1]}/v1", api_key=os.environ["TOKEN"], max_retries=0)
    chat, responses = client.chat.completions, client.responses
    count: Any = {"model": "small-1", "messages": [{"role": "user", "content": "count to 3"}]}
    tool: Any = {"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}
    called: Any = {"type": "function", "name": "weather", "parameters": PARAMETERS, "strict": False}
    use: Any = count | {"messages": [{"role": "user", "content": "use the tool"}], "tools": [tool]}
    usage: Any = {"include_usage": True}
    asked: Any = {"model": "small-1", "input": "use the tool", "tools": [called]}
    told = {
        "models": verdict(Model, *client.models.list().data),
        "chat": verdict(ChatCompletion, chat.create(**count), chat.create(**use)),
        "chunks": verdict(ChatCompletionChunk, *chat.create(**count, stream=True, stream_options=usage)),
        "tool chunks": verdict(ChatCompletionChunk, *chat.create(**use, stream=True)),
        "response": verdict(Response, responses.create(model="small-1", input="hi")),
        "events": verdict(ResponseStreamEvent, *responses.create(model="small-1", input="hi", stream=True)),
        "tool events": verdict(ResponseStreamEvent, *responses.create(**asked, stream=True)),
        "embedding": verdict(
            CreateEmbeddingResponse,
            client.embeddings.create(model="embed-1", input="a", encoding_format="float"),
        ),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
