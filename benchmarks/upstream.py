"""What is called? An MCP server of revision 2026-07-28 that echoes, as fast as raw ASGI allows.

python -m benchmarks.upstream PORT [TOOLS]
"""

import sys
from typing import Any

import orjson
import uvicorn

from benchmarks.asgi import read_body, send_json

SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
FRESH = {"ttlMs": 0, "cacheScope": "private"}
INFO = {"_meta": {"io.modelcontextprotocol/serverInfo": {"name": "echo", "version": "1"}}}


class Echo:
    """Answers discover, list and call; everything else is an unknown method."""

    def __init__(self, tools: int) -> None:
        names = ["echo", *(f"echo_{number:03d}" for number in range(1, tools))]
        self.tools = [
            {"name": name, "description": f"Give back the text, unchanged ({name}).", "inputSchema": SCHEMA}
            for name in names
        ]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        if scope["method"] != "POST":
            await send_json(send, b"{}", status=405 if scope["path"] == "/mcp" else 200)
            return
        message = orjson.loads(await read_body(receive))
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": message.get("id")}
        result = self._result(message["method"], message.get("params", {}))
        if result is None:
            answer["error"] = {"code": -32601, "message": "method not found"}
        else:
            answer["result"] = {"resultType": "complete", **result, **INFO}
        await send_json(send, orjson.dumps(answer), status=404 if result is None else 200)

    def _result(self, method: str, params: dict[str, Any]) -> dict[str, Any] | None:
        match method:
            case "server/discover":
                return {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, **FRESH}
            case "tools/list":
                return {"tools": self.tools, **FRESH}
            case "tools/call":
                text = params["arguments"]["text"]
                return {"content": [{"type": "text", "text": text}], "isError": False}
        return None


def main() -> None:
    port, tools = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    uvicorn.run(
        Echo(tools), port=port, loop="uvloop", http="httptools", access_log=False, log_level="warning"
    )


if __name__ == "__main__":
    main()
