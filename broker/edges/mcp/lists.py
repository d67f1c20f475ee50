"""What does a caller see? The four lists, in pages, from definitions that are encoded once."""

from typing import Final

import orjson

from broker.edges.mcp.delegated import delegation_in, fallen
from broker.edges.mcp.generate import Generating
from broker.edges.mcp.wire import INVALID_PARAMS, Rejected
from broker.errors import Denied
from broker.model import Json, Kind, Target
from broker.pipeline import Pipeline

LISTS: Final = {
    "tools/list": (Kind.TOOL, "tools"),
    "resources/list": (Kind.RESOURCE, "resources"),
    "resources/templates/list": (Kind.TEMPLATE, "resourceTemplates"),
    "prompts/list": (Kind.PROMPT, "prompts"),
}
PAGE: Final = 1000
TTL_MS: Final = 5000
"""How long a client may keep a list. What it may call is decided on every call."""


class Lists:
    """Answers the list methods, from the token alone."""

    def __init__(self, pipeline: Pipeline, generating: Generating) -> None:
        self._pipeline = pipeline
        self._generating = generating
        self._encoded: dict[tuple[Kind, str], tuple[Json, orjson.Fragment]] = {}
        self._version = -1

    async def page(self, method: str, params: Json, token: str) -> Json:
        """One page of a list. The cursor of the next one is the number of targets before it.

        Raises:
            Rejected: the cursor is none that was given out, or the delegation does not stand.
            Unauthenticated: the token is no longer valid.
        """
        kind, key = LISTS[method]
        start = _start(params.get("cursor"))
        try:
            principal = await self._pipeline.speaker(token, delegation_in(params))
        except Denied as error:
            raise fallen(error) from error
        self._refresh()
        visible = self._pipeline.shown(principal, kind)
        more = self._generating.tools(principal) if kind is Kind.TOOL else []
        listed = [*visible[start : start + PAGE], *more[max(0, start - len(visible)) :]][:PAGE]
        shown = [self._encode(one) if isinstance(one, Target) else one for one in listed]
        result: Json = {key: shown}
        if start + PAGE < len(visible) + len(more):
            result["nextCursor"] = str(start + PAGE)
        return result

    def _refresh(self) -> None:
        if self._version != (version := self._pipeline.catalog.version):
            self._encoded, self._version = {}, version

    def _encode(self, target: Target) -> orjson.Fragment:
        key = (target.kind, target.name)
        known = self._encoded.get(key)
        if known is None or known[0] is not target.definition:
            fragment = orjson.Fragment(orjson.dumps(target.definition))
            known = self._encoded[key] = (target.definition, fragment)
        return known[1]


def _start(cursor: object) -> int:
    if cursor is None:
        return 0
    if not isinstance(cursor, str) or not cursor.isdecimal() or len(cursor) > 9:
        raise Rejected(INVALID_PARAMS, "this `cursor` was not given out by this server")
    return int(cursor)
