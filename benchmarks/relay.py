"""What does a hop cost without any governance? The same stack as the broker's, and nothing else.

    python -m benchmarks.relay PORT UPSTREAM_PORT

uvicorn with uvloop and httptools, raw ASGI, one aiohttp session. Each message is parsed once, as
any MCP server has to, and its bytes are passed on as they came.
"""

import sys
from typing import Any

import aiohttp
import orjson
import uvicorn

from benchmarks.asgi import read_body, send_json

FORWARDED = (b"content-type", b"accept", b"mcp-protocol-version", b"mcp-method", b"mcp-name")


class Relay:
    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        if scope["method"] != "POST":
            await send_json(send, b"{}")
            return
        if self.session is None:
            self.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        body = await read_body(receive)
        orjson.loads(body)
        headers = {k.decode(): v.decode() for k, v in scope["headers"] if k in FORWARDED}
        async with self.session.post(self.upstream, data=body, headers=headers) as response:
            answer = await response.read()
        orjson.loads(answer)
        await send_json(send, answer, status=response.status)


def main() -> None:
    port, upstream_port = int(sys.argv[1]), int(sys.argv[2])
    app = Relay(f"http://127.0.0.1:{upstream_port}/mcp")
    uvicorn.run(app, port=port, loop="uvloop", http="httptools", access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
