"""Which upstream shows everything the protocol can do? This one, in both eras, over HTTP or stdio.

    python tests/upstreams/everything.py --port 0      prints its address, then serves
    python tests/upstreams/everything.py               speaks on stdin and stdout

It passes the MCP conformance suite by itself, so that what fails behind the broker is the broker's.
"""

import argparse
import json
import socket
from collections.abc import Callable
from typing import Any

import anyio
import everything_offers as offers
import mcp_types as types
import uvicorn
from everything_asking import InputNeeded, ask, elicit
from everything_tools import HANDLERS
from everything_world import World
from mcp.server.caching import CACHEABLE_METHODS, CacheHint
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp.server.subscriptions import ListenHandler
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import MCPError

Context = ServerRequestContext[Any, Any]


class Events(EventStore):
    """Every event of every stream, in memory, so that a client can resume where it left off."""

    def __init__(self) -> None:
        self._events: list[tuple[str, types.JSONRPCMessage | None]] = []

    async def store_event(self, stream_id: str, message: types.JSONRPCMessage | None) -> str:
        self._events.append((stream_id, message))
        return str(len(self._events))

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        if not last_event_id.isdecimal() or not 1 <= int(last_event_id) <= len(self._events):
            return None
        after = int(last_event_id)
        stream_id = self._events[after - 1][0]
        for number, (stream, message) in enumerate(self._events[after:], after + 1):
            if stream == stream_id and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream_id


class Everything(Server[Any]):
    """The server: every handler there is, over one `World`."""

    def __init__(self, world: World) -> None:
        self.world = world
        super().__init__(
            "everything",
            version="1.0.0",
            instructions="An upstream for tests: it shows everything the protocol can do.",
            cache_hints={method: CacheHint(ttl_ms=0, scope="private") for method in CACHEABLE_METHODS},
            get_tool_input_schema=self._input_schema,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
            on_list_resources=self._list_resources,
            on_list_resource_templates=self._list_templates,
            on_read_resource=self._read_resource,
            on_subscribe_resource=self._subscribe,
            on_unsubscribe_resource=self._unsubscribe,
            on_list_prompts=self._list_prompts,
            on_get_prompt=self._get_prompt,
            on_completion=self._complete,
            on_subscriptions_listen=ListenHandler(world.bus),
        )
        self.add_request_handler("logging/setLevel", types.SetLevelRequestParams, self._set_level)
        security = RequestStateSecurity.ephemeral()
        self.middleware.append(RequestStateBoundary(security, default_audience="everything"))

    def create_initialization_options(self, *args: Any, **kwargs: Any) -> Any:
        """The SDK's, with the notifications about lists announced: they are sent to both eras."""
        if not args:
            kwargs.setdefault("notification_options", NotificationOptions(True, True, True))
        return super().create_initialization_options(*args, **kwargs)

    def _input_schema(self, name: str) -> dict[str, Any] | None:
        return next((tool["inputSchema"] for tool in offers.TOOLS if tool["name"] == name), None)

    async def _list_tools(self, _ctx: Context, _params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=self.world.tools)

    async def _call_tool(
        self, ctx: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        if params.name not in HANDLERS:
            raise MCPError(types.INVALID_PARAMS, f"there is no tool `{params.name}`")
        try:
            return await HANDLERS[params.name](self.world, ctx, params)
        except InputNeeded as needed:
            return needed.result

    async def _list_resources(self, _ctx: Context, _params: Any) -> types.ListResourcesResult:
        resources = [types.Resource.model_validate(definition) for definition in offers.RESOURCES]
        return types.ListResourcesResult(resources=resources)

    async def _list_templates(self, _ctx: Context, _params: Any) -> types.ListResourceTemplatesResult:
        templates = [types.ResourceTemplate.model_validate(definition) for definition in offers.TEMPLATES]
        return types.ListResourceTemplatesResult(resource_templates=templates)

    async def _read_resource(
        self, _ctx: Context, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        uri = str(params.uri)
        contents = _contents(uri, self.world)
        if contents is None:
            raise MCPError(types.INVALID_PARAMS, "Resource not found", {"uri": uri})
        return types.ReadResourceResult(contents=[contents])

    async def _subscribe(self, ctx: Context, params: types.SubscribeRequestParams) -> types.EmptyResult:
        self.world.subscribe(ctx, str(params.uri))
        return types.EmptyResult()

    async def _unsubscribe(self, ctx: Context, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
        self.world.unsubscribe(ctx, str(params.uri))
        return types.EmptyResult()

    async def _set_level(self, _ctx: Context, _params: types.SetLevelRequestParams) -> types.EmptyResult:
        return types.EmptyResult()

    async def _list_prompts(self, _ctx: Context, _params: Any) -> types.ListPromptsResult:
        return types.ListPromptsResult(prompts=self.world.prompts)

    async def _get_prompt(
        self, ctx: Context, params: types.GetPromptRequestParams
    ) -> types.GetPromptResult | types.InputRequiredResult:
        try:
            return types.GetPromptResult.model_validate({"messages": await _messages(ctx, params)})
        except InputNeeded as needed:
            return needed.result

    async def _complete(self, _ctx: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
        words = [w for w in ("paris", "park", "party", "test") if w.startswith(params.argument.value)]
        return types.CompleteResult(
            completion=types.Completion(values=words, total=len(words), has_more=False)
        )


def _contents(uri: str, world: World) -> types.TextResourceContents | types.BlobResourceContents | None:
    prefix, suffix = offers.TEMPLATE.split("{id}")
    if uri == offers.STATIC_TEXT:
        text = "This is the content of the static text resource."
        return types.TextResourceContents(uri=uri, mime_type="text/plain", text=text)
    if uri == offers.STATIC_BINARY:
        return types.BlobResourceContents(uri=uri, mime_type="image/png", blob=offers.RED_PIXEL_PNG)
    if uri == offers.WATCHED:
        return types.TextResourceContents(
            uri=uri, mime_type="text/plain", text=f"updated {world.updates} times"
        )
    if uri.startswith(prefix) and uri.endswith(suffix) and len(uri) > len(prefix) + len(suffix):
        number = uri[len(prefix) : -len(suffix)]
        text = json.dumps({"id": number, "templateTest": True, "data": f"Data for ID: {number}"})
        return types.TextResourceContents(uri=uri, mime_type="application/json", text=text)
    return None


async def _messages(ctx: Context, params: types.GetPromptRequestParams) -> list[dict[str, Any]]:
    arguments = params.arguments or {}
    match params.name:
        case "test_simple_prompt":
            return [_said("This is a simple prompt for testing.")]
        case "test_prompt_with_arguments":
            return [_said(f"Prompt with arguments: arg1='{arguments['arg1']}', arg2='{arguments['arg2']}'")]
        case "test_prompt_with_embedded_resource":
            text = "Embedded resource content for testing."
            resource = {"uri": arguments["resourceUri"], "mimeType": "text/plain", "text": text}
            embedded = {"role": "user", "content": {"type": "resource", "resource": resource}}
            return [embedded, _said("Please process the embedded resource above.")]
        case "test_prompt_with_image":
            image = {"type": "image", "data": offers.RED_PIXEL_PNG, "mimeType": "image/png"}
            return [{"role": "user", "content": image}, _said("Please analyze the image above.")]
        case "test_input_required_result_prompt":
            form = elicit("What context should the prompt use?", {"context": {"type": "string"}})
            answers = await ask(ctx, params, {"user_context": form})
            return [_said(f"Context: {answers['user_context'].get('content', {}).get('context', '')}")]
        case "test_sometimes_prompt":
            return [_said("I am here now.")]
    raise MCPError(types.INVALID_PARAMS, f"there is no prompt `{params.name}`")


def _said(text: str) -> dict[str, Any]:
    return {"role": "user", "content": {"type": "text", "text": text}}


async def serve_http(port: int, say: Callable[[str], None]) -> None:
    """Serve Streamable HTTP on loopback until a signal comes; the address is said once clients can connect."""
    listener = socket.create_server(("127.0.0.1", port))
    port = listener.getsockname()[1]
    names = [f"localhost:{port}", f"127.0.0.1:{port}"]
    app = Everything(World()).streamable_http_app(
        event_store=Events(),
        retry_interval=100,
        transport_security=TransportSecuritySettings(
            allowed_hosts=names, allowed_origins=[f"http://{name}" for name in names]
        ),
    )
    # h11, because httptools keeps the white space around a header's value (RFC 9110 §5.5 wants it gone).
    config = uvicorn.Config(app, http="h11", log_level="warning", timeout_graceful_shutdown=1)
    say(f"http://localhost:{port}/mcp")
    await uvicorn.Server(config).serve(sockets=[listener])


async def serve_stdio() -> None:
    """Serve one client on stdin and stdout."""
    server = Everything(World())
    async with stdio_server() as (read_stream, write_stream):
        await server.run(read_stream, write_stream, server.create_initialization_options())


def main() -> None:
    parser = argparse.ArgumentParser(description="an MCP server that shows everything the protocol can do")
    parser.add_argument("--port", type=int, help="serve HTTP on this port of 127.0.0.1 (0: a free one)")
    port = parser.parse_args().port
    if port is None:
        anyio.run(serve_stdio)
    else:
        anyio.run(serve_http, port, lambda address: print(address, flush=True))


if __name__ == "__main__":
    main()
