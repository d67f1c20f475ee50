"""Which MCP server does what no kit lets one do? This one, written by hand on lines of JSON.

    python rough.py [modern] [crash-on-discover] [deaf]

Of revision 2025-11-25 unless `modern`. `crash-on-discover` ends at the first unknown request, as some
old servers do. `deaf` ignores the end of its input and SIGTERM.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

OPTIONS = sys.argv[1:]
MODERN = "modern" in OPTIONS
SCHEMA = {"type": "object"}
ODD = {"type": "text", "text": "odd", "x-vendor": {"zeta": 1, "alpha": [None, 1.50]}}
TOOLS = [
    {"name": "say", "inputSchema": SCHEMA, "x-vendor": {"b": 1, "a": 2}, "annotations": {"x-hint": True}},
    {"name": "broken", "inputSchema": {}},
    {
        "name": "far",
        "inputSchema": {"type": "object", "properties": {"a": {"$ref": "https://example.org/s"}}},
    },
    *(
        {"name": name, "inputSchema": SCHEMA}
        for name in ("die", "hang", "big", "odd", "environment", "noisy", "fork", "ask", "log")
    ),
]
CAPABILITIES = {"tools": {"listChanged": True}, "logging": {}, "resources": {"subscribe": True}}


def send(message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def read():
    line = sys.stdin.readline()
    if line:
        return json.loads(line)
    if "deaf" in OPTIONS:
        time.sleep(600)
    sys.exit(0)


def call(name, arguments, request_id):  # noqa: PLR0911  # one per tool
    match name:
        case "say":
            return {"content": [{"type": "text", "text": arguments.get("text", "")}], "pid": os.getpid()}
        case "die":
            os._exit(3)
        case "hang":
            # Not answered; what comes next on the pipe is told on the pipe.
            send({"method": "notifications/tools/list_changed"})
            return None
        case "big":
            return {"content": [{"type": "text", "text": "x" * arguments["bytes"]}]}
        case "odd":
            return {"zz": 1, "content": [ODD], "aa": {"nested": []}, "structuredContent": [1, "two"]}
        case "environment":
            return {
                "content": [{"type": "text", "text": json.dumps(dict(os.environ))}],
                "cwd": str(Path.cwd()),
            }
        case "noisy":
            sys.stderr.write("a line of noise\n" * 20_000 + "y" * 500_000)
            sys.stderr.flush()
            return {"content": []}
        case "fork":
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            return {"content": [], "pids": [os.getpid(), child.pid]}
        case "ask":
            send({"id": "q-1", "method": arguments["method"], "params": {"message": "who?"}})
            answer = read()
            return {"content": [], "answer": answer}
        case "log":
            token = arguments.get("token", request_id)
            send({"method": "notifications/progress", "params": {"progressToken": token, "progress": 1}})
            send({"method": "notifications/message", "params": {"level": "info", "data": "said"}})
            return {"content": []}


def answer(message):  # noqa: PLR0911  # one per method
    method, params = message["method"], message.get("params", {})
    match method:
        case "server/discover" if MODERN:
            return {"supportedVersions": ["2026-07-28"], "capabilities": CAPABILITIES}
        case "server/discover" if "crash-on-discover" in OPTIONS:
            sys.exit(4)
        case "initialize" if not MODERN:
            return {"protocolVersion": "2025-11-25", "capabilities": CAPABILITIES}
        case "tools/list":
            return {"tools": TOOLS}
        case "resources/subscribe":
            send({"method": "notifications/resources/updated", "params": {"uri": params["uri"]}})
            return {}
        case "logging/setLevel" | "resources/unsubscribe":
            return {}
        case "tools/call":
            result = call(params["name"], params.get("arguments", {}), message["id"])
            return result and {**result, "_echo": {"meta": params.get("_meta")}}
        case "resources/list" | "resources/templates/list":
            return {"resources": [], "resourceTemplates": []}
    return {"error": -32601}


def main():
    if "deaf" in OPTIONS:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        message = read()
        if message.get("method") == "notifications/cancelled":
            send(
                {
                    "method": "notifications/resources/updated",
                    "params": {"uri": "cancelled:" + str(message["params"]["requestId"] > 0)},
                }
            )
        if "id" not in message or "method" not in message:
            continue
        result = answer(message)
        if result is None:
            continue
        if result == {"error": -32601}:
            send({"id": message["id"], "error": {"code": -32601, "message": "no such method"}})
        else:
            send({"id": message["id"], "result": result})


if __name__ == "__main__":
    main()
