"""An MCP server as a connector: whatever it speaks, callers of every revision can use it."""

import itertools
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar, cast

import anyio
from pydantic import BaseModel

from broker.connector import (
    Answer,
    Host,
    Json,
    Line,
    Offer,
    Request,
    UpstreamError,
    UpstreamRefused,
    UpstreamUnreachable,
)
from connectors.mcp_upstream import definitions
from connectors.mcp_upstream.background import Background
from connectors.mcp_upstream.child import Command, clean_environment, resolve_program
from connectors.mcp_upstream.http import Http
from connectors.mcp_upstream.link import Link, LinkGone
from connectors.mcp_upstream.links import Held, Links
from connectors.mcp_upstream.questions import ask_until_complete
from connectors.mcp_upstream.settings import McpSettings, check_headers, resolve_all
from connectors.mcp_upstream.transports import HttpTransport, StdioTransport, Transport
from connectors.mcp_upstream.wire import METHOD_NOT_FOUND, Scrub

logger = logging.getLogger("connectors.mcp_upstream")

MOST_PAGES = 100
MOST_ITEMS = 10_000
SHORT_STREAM_S = 60.0
LONGEST_PAUSE_S = 60.0

T = TypeVar("T")


class McpUpstream:
    """An `Upstream`: one MCP server, over stdio or HTTP, of any revision from 2024-11-05 to 2026-07-28."""

    settings: type[BaseModel] = McpSettings

    def __init__(self) -> None:
        self._host: Host | None = None
        self._open_links: Links | None = None
        self._mirrored = definitions.mirrored_params([])
        self._watched: set[str] = set()
        self._background = Background()
        self._listening: tuple[Link, Any] | None = None
        self._short_streams = 0
        self._doubtful = False

    async def open(self, settings: BaseModel, host: Host) -> None:
        """Get ready to connect; the server itself is first spoken to by `offer`.

        Raises:
            ConfigurationError: a secret or the program is missing.
        """
        chosen = cast("McpSettings", settings)
        self._host = host
        transport = self._transport(chosen, host)
        self._open_links = Links(host.name, transport, chosen.isolation, chosen.idle_s)
        self._open_links.start()

    async def close(self) -> None:
        """End sessions and processes. All children are reaped when this returns."""
        await self._background.close()
        if self._open_links is not None:
            await self._open_links.close()

    async def offer(self) -> Offer:
        """What the server lists now. Broken definitions are left out, each by itself.

        Raises:
            UpstreamError: it cannot be asked; the next time it is connected and probed anew.
        """
        if self._doubtful:
            await self._links.forget()
        self._doubtful = True  # until it has listed everything, also if this is left early
        offer = await self._retried(self._links.home, self._offer_of)
        self._doubtful = False
        return offer

    async def invoke(self, request: Request, line: Line) -> Answer:
        """Pass a call on. Leaving this early cancels it upstream."""
        return Answer(await self._retried(partial(self._links.take, line), partial(_call, request, line)))

    async def watch(self, uri: str) -> None:
        """Subscribe to a resource."""
        self._watched.add(uri)
        await self._rewatch("resources/subscribe", uri)

    async def unwatch(self, uri: str) -> None:
        """Unsubscribe from a resource."""
        self._watched.discard(uri)
        await self._rewatch("resources/unsubscribe", uri)

    def _transport(self, chosen: McpSettings, host: Host) -> Transport:
        ids = itertools.count(1)
        if chosen.url is not None:
            headers, secrets = resolve_all(chosen.headers, host.secret)
            check_headers(headers, host.name)
            scrub = Scrub(secrets)
            http = Http(host.name, chosen.url, headers, allow_private=chosen.allow_private, scrub=scrub)
            return HttpTransport(http, ids, self._heard, lambda: self._mirrored)
        assert chosen.command is not None  # noqa: S101  # the settings hold one or the other
        environment, secrets = resolve_all(chosen.env, host.secret)
        argv = (resolve_program(chosen.command[0], host.name), *chosen.command[1:])
        command = Command(host.name, argv, clean_environment(environment), chosen.cwd, Scrub(secrets))
        return StdioTransport(command, ids, self._heard)

    @property
    def _links(self) -> Links:
        if self._open_links is None:
            raise UpstreamUnreachable("the connector is not open")
        return self._open_links

    async def _retried(self, take: Callable[[], Awaitable[Held]], use: Callable[[Link], Awaitable[T]]) -> T:
        """Use a link; if the server has forgotten its session, use a new one, once."""
        held = await take()
        try:
            with held as link:
                return await use(link)
        except LinkGone:
            await self._links.drop(held)
        held = await take()
        try:
            with held as link:
                return await use(link)
        except LinkGone:
            raise UpstreamUnreachable("the server forgets its sessions as soon as they begin") from None

    async def _offer_of(self, link: Link) -> Offer:
        name = self._host.name if self._host else ""
        has = link.capabilities
        tools = await self._listed(link, "tools") if "tools" in has else []
        resources = await self._listed(link, "resources") if "resources" in has else []
        templates = await self._listed(link, "resourceTemplates") if "resources" in has else []
        prompts = await self._listed(link, "prompts") if "prompts" in has else []
        offer = Offer(
            tools=definitions.fit("tool", tools, definitions.check_tool, name),
            resources=definitions.fit("resource", resources, definitions.check_resource, name),
            templates=definitions.fit("template", templates, definitions.check_template, name),
            prompts=definitions.fit("prompt", prompts, definitions.check_prompt, name),
            completes="completions" in has,
            watches=_flag(has, "resources", "subscribe"),
        )
        self._mirrored = definitions.mirrored_params(offer.tools)
        self._listen(link)
        return offer

    async def _listed(self, link: Link, key: str) -> list[Any]:
        """All pages of a list; a server that declares a kind but does not list it has none."""
        method = "resources/templates/list" if key == "resourceTemplates" else f"{key}/list"
        items: list[Any] = []
        params: Json = {}
        seen: set[str] = set()
        for _ in range(MOST_PAGES):
            try:
                page = await link.request(method, params, None)
            except UpstreamRefused as refused:
                if refused.rpc_code == METHOD_NOT_FOUND:
                    return items
                raise
            found, cursor = page.get(key), page.get("nextCursor")
            items.extend(cast("list[Any]", found) if isinstance(found, list) else [])
            if not isinstance(cursor, str) or cursor in seen or len(items) >= MOST_ITEMS:
                break
            seen.add(cursor)
            params = {"cursor": cursor}
        return items[:MOST_ITEMS]

    def _heard(self, method: str, params: Any) -> None:
        if self._host is None:
            return
        if method != "notifications/resources/updated":
            self._host.changed()
        elif isinstance(params, dict) and isinstance(uri := cast("Json", params).get("uri"), str):
            self._host.updated(uri)

    def _listen(self, link: Link) -> None:
        """Hear of changes on this link, if there can be any and it is not done already."""
        if self._listening is not None:
            if self._listening[0] is link:
                return
            self._listening[1].cancel()
        kinds = ("tools", "prompts", "resources")
        changes = any(_flag(link.capabilities, kind, "listChanged") for kind in kinds)
        if link.modern and not changes and not _flag(link.capabilities, "resources", "subscribe"):
            return
        self._listening = (link, self._background.start(self._listening_on(link)))

    async def _listening_on(self, link: Link) -> None:
        """Listen until that ends; then have the catalogue ask again, since changes may have been missed."""
        began = time.monotonic()
        try:
            await link.listen(frozenset(self._watched))
        except UpstreamRefused as refused:
            logger.info("%s does not tell about changes: %s", self._host and self._host.name, refused)
            return
        except (UpstreamError, LinkGone):
            pass
        lived_s = time.monotonic() - began
        self._short_streams = self._short_streams + 1 if lived_s < SHORT_STREAM_S else 0
        await anyio.sleep(min(2.0 ** max(self._short_streams - 1, 0), LONGEST_PAUSE_S))
        self._listening = None
        if self._host is not None:
            self._host.changed()

    async def _rewatch(self, method: str, uri: str) -> None:
        with await self._links.home(patient=True) as link:
            if link.modern:
                if self._listening is not None:
                    self._listening[1].cancel()
                    self._listening = None
                self._listen(link)
            else:
                await link.request(method, {"uri": uri}, None)


async def _call(request: Request, line: Line, link: Link) -> Json:
    method = request.method.value
    if link.modern and not line.caller.modern:
        send = partial(_send, link, method, line)
        return await ask_until_complete(send, request.params, line)
    return await link.request(method, request.params, line)


async def _send(link: Link, method: str, line: Line, params: Json) -> Json:
    return await link.request(method, params, line)


def _flag(capabilities: Json, kind: str, what: str) -> bool:
    declared = capabilities.get(kind)
    return isinstance(declared, dict) and cast("Json", declared).get(what) is True
