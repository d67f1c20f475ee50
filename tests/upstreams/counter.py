"""Which upstream proves that a call had its effect exactly once? This one: each effect is a durable line.

    python tests/upstreams/counter.py --effects FILE               speaks on stdin and stdout
    python tests/upstreams/counter.py --effects FILE --port 0      prints its address, then serves HTTP

`count {id}` appends the id to FILE before it answers, so that whoever kills the broker in the middle
of a call can compare what the broker's log says with what really happened.
"""

import argparse
import os
import socket
from collections.abc import Callable
from pathlib import Path

import anyio
import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.transport_security import TransportSecuritySettings
from mcp.types import ToolAnnotations


class Effects:
    """A file with one line per effect; a line is on the disk before `add` returns."""

    def __init__(self, path: Path) -> None:
        # O_APPEND: several processes may write, and lines this short are never torn.
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._path = path

    def add(self, effect_id: str) -> int:
        """Write the effect down and return how many there are now."""
        os.write(self._file, f"{effect_id}\n".encode())
        os.fsync(self._file)
        return len(self._path.read_text().splitlines())


def server(effects: Effects) -> MCPServer:
    counter = MCPServer("counter", version="1.0.0", log_level="WARNING")

    @counter.tool(annotations=ToolAnnotations(read_only_hint=False, idempotent_hint=False))
    async def count(id: str, wait_s: float = 0.0) -> str:  # noqa: A002 - the argument's name on the wire
        """Have one effect, written down under `id`; then wait before answering."""
        if not id or "\n" in id:
            raise ToolError("`id` must be one line that is not empty")
        number = effects.add(id)
        await anyio.sleep(wait_s)
        return f"effect {number}"

    return counter


async def serve_http(counter: MCPServer, port: int, say: Callable[[str], None]) -> None:
    """Serve Streamable HTTP on loopback until a signal comes."""
    listener = socket.create_server(("127.0.0.1", port))
    names = [f"{host}:{listener.getsockname()[1]}" for host in ("127.0.0.1", "localhost")]
    app = counter.streamable_http_app(transport_security=TransportSecuritySettings(allowed_hosts=names))
    say(f"http://{names[0]}/mcp")
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
    await uvicorn.Server(config).serve(sockets=[listener])


def main() -> None:
    parser = argparse.ArgumentParser(description="an MCP server that durably counts its effects")
    parser.add_argument("--effects", type=Path, required=True, help="file that gets one line per effect")
    parser.add_argument("--port", type=int, help="serve HTTP on this port of 127.0.0.1 (0: a free one)")
    options = parser.parse_args()
    counter = server(Effects(options.effects))
    if options.port is None:
        counter.run("stdio")
    else:
        anyio.run(serve_http, counter, options.port, lambda address: print(address, flush=True))


if __name__ == "__main__":
    main()
