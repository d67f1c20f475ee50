"""What does a streamed chunk cost without any governance? The same stack as the broker's, and nothing else.

python -m benchmarks.relay_models PORT UPSTREAM_PORT
"""

import sys
from typing import Any

import aiohttp
import uvicorn

from benchmarks.asgi import read_body, send_json

STREAM = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]


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
        async with self.session.post(self.upstream + scope["path"], data=body) as response:
            await send({"type": "http.response.start", "status": response.status, "headers": STREAM})
            async for data in response.content.iter_any():
                await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def main() -> None:
    port, upstream_port = int(sys.argv[1]), int(sys.argv[2])
    app = Relay(f"http://127.0.0.1:{upstream_port}")
    uvicorn.run(app, port=port, loop="uvloop", http="httptools", access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
