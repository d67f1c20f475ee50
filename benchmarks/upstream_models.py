"""Which model is asked? One that writes prose as fast as it is told to, in OpenAI's format, on raw ASGI.

    python -m benchmarks.upstream_models PORT

`max_tokens` says how many chunks it writes, `seed` how many microseconds lie between two of them.
"""

import asyncio
import sys
from typing import Any

import orjson
import uvicorn

from benchmarks.asgi import read_body, send_json

WORDS = b"The river runs past the old mill and under the bridge where people meet after work to talk".split()
CHUNK = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1790000000,"model":"prose",'
    b'"service_tier":"default","system_fingerprint":"fp_1","choices":[{"index":0,"delta":%b,"logprobs":null,'
    b'"finish_reason":%b}],"usage":null,"obfuscation":"bm90aGluZw"}\n\n'
)
USAGE = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1790000000,"model":"prose",'
    b'"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":%d,"total_tokens":%d}}\n\n'
)
STREAM = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    if scope["method"] != "POST":
        await send_json(send, b'{"object":"list","data":[{"id":"prose"}]}')
        return
    asked = orjson.loads(await read_body(receive))
    count, pause_s = asked["max_tokens"], asked.get("seed", 0) / 1e6
    await send({"type": "http.response.start", "status": 200, "headers": STREAM})
    await _body(send, CHUNK % (b'{"role":"assistant","content":""}', b"null"))
    for number in range(count):
        if pause_s:
            await asyncio.sleep(pause_s)
        delta = b'{"content":"%b "}' % WORDS[number % len(WORDS)]
        await _body(send, CHUNK % (delta, b"null"))
    await _body(send, CHUNK % (b"{}", b'"stop"') + USAGE % (count, count + 9) + b"data: [DONE]\n\n")
    await send({"type": "http.response.body", "body": b""})


async def _body(send: Any, data: bytes) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": True})


def main() -> None:
    uvicorn.run(
        app,
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
