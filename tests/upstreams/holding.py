"""Which upstream never answers, and writes down what it was asked and told? This one, on lines of JSON.

    python tests/upstreams/holding.py FILE

`hold {id}` appends `began ID` to FILE and is not answered; when the caller cancels it (MCP
`notifications/cancelled`), `told ID` is appended.
"""

import json
import os
import sys
from typing import Any

ID = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}
FRESH = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
DISCOVERED = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, **FRESH}
TOOLS = {"tools": [{"name": "hold", "description": "Never answer.", "inputSchema": ID}], **FRESH}


def answer(request_id: object, result: dict[str, Any]) -> None:
    print(json.dumps({"jsonrpc": "2.0", "id": request_id, "result": result}), flush=True)


def main() -> None:
    file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    held: dict[object, str] = {}
    for line in sys.stdin:
        message = json.loads(line)
        params = message.get("params", {})
        match message.get("method"):
            case "server/discover":
                answer(message["id"], DISCOVERED)
            case "tools/list":
                answer(message["id"], TOOLS)
            case "tools/call":
                held[message["id"]] = params["arguments"]["id"]
                os.write(file, f"began {params['arguments']['id']}\n".encode())
            case "notifications/cancelled":
                os.write(file, f"told {held[params['requestId']]}\n".encode())


if __name__ == "__main__":
    main()
