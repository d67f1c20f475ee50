"""What changes in the everything server while it runs, and who is told?"""

from typing import TYPE_CHECKING, Any

import everything_offers as offers
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    PromptsListChanged,
    ResourceUpdated,
    ToolsListChanged,
)

if TYPE_CHECKING:
    from mcp.server.session import ServerSession

Context = ServerRequestContext[Any, Any]


class World:
    """The lists, the count of the watched resource, and its subscribers of both eras."""

    def __init__(self) -> None:
        self.bus = InMemorySubscriptionBus()
        self.updates = 0
        self._tool_is_there = False
        self._prompt_is_there = False
        self._subscribers: dict[tuple[str, str], ServerSession] = {}

    @property
    def tools(self) -> list[types.Tool]:
        definitions = offers.TOOLS + [offers.SOMETIMES_TOOL] * self._tool_is_there
        return [types.Tool.model_validate(definition) for definition in definitions]

    @property
    def prompts(self) -> list[types.Prompt]:
        definitions = offers.PROMPTS + [offers.SOMETIMES_PROMPT] * self._prompt_is_there
        return [types.Prompt.model_validate(definition) for definition in definitions]

    async def toggle_tool(self, ctx: Context) -> None:
        self._tool_is_there = not self._tool_is_there
        await self.bus.publish(ToolsListChanged())
        await ctx.session.send_tool_list_changed()

    async def toggle_prompt(self, ctx: Context) -> None:
        self._prompt_is_there = not self._prompt_is_there
        await self.bus.publish(PromptsListChanged())
        await ctx.session.send_prompt_list_changed()

    async def update_watched(self) -> None:
        self.updates += 1
        await self.bus.publish(ResourceUpdated(uri=offers.WATCHED))
        for (uri, _), session in list(self._subscribers.items()):
            if uri == offers.WATCHED:
                await session.send_resource_updated(uri)

    def subscribe(self, ctx: Context, uri: str) -> None:
        self._subscribers[(uri, _session_id(ctx))] = ctx.session

    def unsubscribe(self, ctx: Context, uri: str) -> None:
        self._subscribers.pop((uri, _session_id(ctx)), None)


def _session_id(ctx: Context) -> str:
    return ctx.request.headers.get("mcp-session-id", "") if ctx.request is not None else "stdio"
