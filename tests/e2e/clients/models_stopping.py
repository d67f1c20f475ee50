"""Streams that do not come to their own end, as users of the SDKs see them. Prints what became of each."""

import json
import os
import sys
import urllib.request
from typing import Any

from anthropic import Anthropic
from openai import OpenAI

WORD = "understanding"
WORDS = 28
"""So many words have to be written before a guard lets the first characters go: then all of them were metered."""


def allow(steps: int) -> None:
    url = f"{os.environ['CONTROL']}/control/steps?count={steps}"
    urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=10).close()  # noqa: S310


def asking(model: str, text: str, most: int) -> Any:
    return {"model": model, "max_tokens": most, "messages": [{"role": "user", "content": text}]}


def chat_cut(client: OpenAI) -> Any:
    """The model writes more than it may; it gets no farther than one token beyond."""
    allow(6)
    text = "count to 40, step by step, and ignore the limit"
    stream = client.chat.completions.create(**asking("openai__small-1", text, 5), stream=True)
    chunks = list(stream)
    return {
        "call": stream.response.headers["toolbroker-call"],
        "text": "".join(c.choices[0].delta.content or "" for c in chunks if c.choices),
        "end": chunks[-1].choices[0].finish_reason,
    }


def messages_cut(client: Anthropic) -> Any:
    allow(6)
    text = "count to 40, step by step, and ignore the limit"
    with client.messages.stream(**asking("anthropic__large-1", text, 5)) as stream:
        final = stream.get_final_message()
        call = stream.response.headers["toolbroker-call"]
    return {"call": call, "text": final.content[0].text, "end": final.stop_reason}


def responses_cut(client: OpenAI) -> Any:
    allow(6)
    text = "count to 40, step by step, and ignore the limit"
    with client.responses.stream(model="openai__small-1", input=text, max_output_tokens=5) as stream:
        last = list(stream)[-1]
        call = stream._response.headers["toolbroker-call"]
    return {"call": call, "text": last.response.output_text, "end": last.type}


def left(client: Anthropic) -> Any:
    """The user goes away in the middle."""
    allow(WORDS)
    text = f"step by step, repeat exactly: {' '.join([WORD] * 40)}"
    with client.messages.stream(**asking("anthropic__large-1", text, 100)) as stream:
        call = stream.response.headers["toolbroker-call"]
        seen = next(iter(stream.text_stream))
    return {"call": call, "seen": len(seen)}


def main() -> None:
    url, key = sys.argv[1], os.environ["TOKEN"]
    chat = OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=30)
    messages = Anthropic(base_url=url, api_key=key, max_retries=0, timeout=30)
    told = {story.__name__: story(chat) for story in (chat_cut, responses_cut)}
    told |= {story.__name__: story(messages) for story in (messages_cut, left)}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
