"""What does an upstream built with the MCP Python SDK change? The same echo, on its low-level server.

python -m benchmarks.upstream_sdk PORT
"""

import sys
from typing import Any

import mcp_types as types
import uvicorn
from mcp.server.lowlevel import Server
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.upstream import SCHEMA


async def list_tools(_context: Any, _params: Any) -> types.ListToolsResult:
    echo = types.Tool(name="echo", description="Give back the text, unchanged.", input_schema=SCHEMA)
    return types.ListToolsResult(tools=[echo])


async def call_tool(_context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
    text = (params.arguments or {})["text"]
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], is_error=False)


async def alive(_request: Request) -> Response:
    return Response()


def main() -> None:
    server: Server[Any] = Server(
        "echo",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        get_tool_input_schema=lambda name: SCHEMA if name == "echo" else None,
    )
    alive_at = [Route("/", alive)]
    app = server.streamable_http_app(
        json_response=True, stateless_http=True, custom_starlette_routes=alive_at
    )
    port = int(sys.argv[1])
    uvicorn.run(app, port=port, loop="uvloop", http="httptools", access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
