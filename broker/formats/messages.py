"""Anthropic's Messages: `POST /v1/messages`."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from broker.formats.interface import Counter, Delta, Slot, count, nested, objects, texts_of
from broker.model import Json, Method, Usage

_TEXTS = ("text", "partial_json", "thinking")
_CLIENT_TOOLS = ("bash_", "text_editor_", "computer_", "memory_")
"""Tools that the provider defines and the client runs; all others with a version are run by the provider."""
_BEYOND = frozenset({"image", "document", "container_upload"})


class Messages:
    """Implements `Format`."""

    method = Method.MESSAGES

    def limit(self, params: Json) -> int | None:
        """See `Format`."""
        return count(params.get("max_tokens")) or None

    def limited(self, params: Json, tokens: int, key: str) -> Json:  # noqa: ARG002 - the port's signature
        """See `Format`."""
        return {**params, "max_tokens": tokens}

    def answers(self, params: Json) -> int:  # noqa: ARG002 - the port's signature
        """See `Format`."""
        return 1

    def least(self, params: Json) -> int:
        """See `Format`. What it thinks counts, so what it may think has to fit with something to spare."""
        return count(nested(params, "thinking").get("budget_tokens")) + 16

    def objection(self, params: Json) -> str | None:
        """See `Format`."""
        for key in ("speed", "inference_geo"):
            if params.get(key):
                return f"`{key}` changes prices in a way that no price table knows"
        for key in ("mcp_servers", "container"):
            if params.get(key):
                return f"`{key}` has the provider call something itself"
        for tool in objects(params.get("tools")):
            kind = str(tool.get("type", "custom"))
            if kind != "custom" and not kind.startswith(_CLIENT_TOOLS):
                return f"the tool `{kind[:60]}` is run by the provider"
        return None

    def beyond(self, params: Json) -> bool:
        """See `Format`."""
        return any(
            _is_beyond(part) for m in objects(params.get("messages")) for part in objects(m.get("content"))
        )

    def prompt(self, params: Json) -> str:
        """See `Format`."""
        return texts_of(params.get("system"))

    def tools(self, params: Json) -> list[tuple[str, Any]]:
        """See `Format`."""
        return [(str(tool.get("name")), tool.get("input_schema")) for tool in objects(params.get("tools"))]

    def deltas(self, event: Json) -> Sequence[Delta]:
        """See `Format`."""
        if event.get("type") != "content_block_delta":
            return ()
        delta, index = nested(event, "delta"), event.get("index", 0)
        return [
            Delta((index, key), ("delta", key), text)
            for key in _TEXTS
            if isinstance(text := delta.get(key), str) and text
        ]

    def ends(self, event: Json) -> Sequence[Slot]:
        """See `Format`."""
        return [(event.get("index", 0),)] if event.get("type") == "content_block_stop" else ()

    def bare(self, event: Json) -> bool:
        """See `Format`."""
        return event.get("type") == "content_block_delta"

    def piece(self, event: Json, delta: Delta, text: str) -> Json:
        """See `Format`."""
        return {**event, "delta": {**nested(event, "delta"), str(delta.path[-1]): text}}

    def usage(self, body: Json) -> Usage | None:
        """See `Format`. Its `input_tokens` are without those of the cache."""
        said = nested(body, "usage")
        if not said:
            return None
        cached, written = (
            count(said.get("cache_read_input_tokens")),
            count(said.get("cache_creation_input_tokens")),
        )
        hour = count(nested(said, "cache_creation").get("ephemeral_1h_input_tokens"))
        return Usage(
            read=count(said.get("input_tokens")) + cached + written,
            wrote=count(said.get("output_tokens")),
            cached=cached,
            written=written,
            written_1h=min(hour, written),
        )

    def assembly(self) -> "MessagesAssembly":
        """See `Format`."""
        return MessagesAssembly()


def _is_beyond(part: Json) -> bool:
    return part.get("type") in _BEYOND or any(p.get("type") in _BEYOND for p in objects(part.get("content")))


class Counting(Messages):
    """Counts the tokens of a request to Messages; nothing is written."""

    method = Method.COUNT

    def limit(self, params: Json) -> int | None:  # noqa: ARG002 - the port's signature
        """See `Format`."""
        return 0


class MessagesAssembly:
    """Implements `Assembly`."""

    def __init__(self) -> None:
        self._message: Json = {}
        self._blocks: dict[int, Json] = {}
        self._arguments: dict[int, str] = {}
        self._open: set[int] = set()
        self._counter = Counter()
        self._final = False
        self.ended = False

    @property
    def usage(self) -> Usage | None:
        """See `Assembly`. What it has written is said at the end only."""
        usage = _MESSAGES.usage(self._message)
        if usage is None or self._final:
            return usage
        return replace(usage, wrote=max(usage.wrote, self.wrote), exact=False)

    @property
    def wrote(self) -> int:
        """See `Assembly`."""
        return self._counter.tokens

    def add(self, event: Json) -> None:
        """See `Assembly`."""
        self._counter.add(_MESSAGES.deltas(event))
        index = event.get("index", 0)
        match event.get("type"):
            case "message_start":
                self._message = nested(event, "message")
            case "content_block_start":
                self._blocks[index] = nested(event, "content_block")
                self._open.add(index)
            case "content_block_delta":
                self._grow(index, nested(event, "delta"))
            case "content_block_stop":
                self._stop(index)
            case "message_delta":
                usage = {**nested(self._message, "usage"), **nested(event, "usage")}
                self._message |= {**nested(event, "delta"), "usage": usage}
                self._final = "usage" in event
            case "message_stop":
                self.ended = True
            case _:
                pass

    def _grow(self, index: int, delta: Json) -> None:
        block = self._blocks.setdefault(index, {"type": "text", "text": ""})
        match delta.get("type"):
            case "input_json_delta":
                self._arguments[index] = self._arguments.get(index, "") + str(delta.get("partial_json", ""))
            case "citations_delta":
                cited = cast("list[Any]", block.get("citations") or [])
                block["citations"] = [*cited, delta.get("citation")]
            case _:
                for key in ("text", "thinking", "signature"):
                    if isinstance(piece := delta.get(key), str):
                        block[key] = str(block.get(key) or "") + piece

    def _stop(self, index: int) -> None:
        self._open.discard(index)
        if arguments := self._arguments.pop(index, ""):
            try:
                self._blocks[index]["input"] = json.loads(arguments)
            except ValueError:  # cut off in the middle
                self._blocks[index]["input"] = {"incomplete": arguments}

    def cut(self) -> Sequence[Json]:
        """See `Assembly`."""
        events: list[Json] = [{"type": "content_block_stop", "index": index} for index in sorted(self._open)]
        usage = {"output_tokens": self.wrote}
        ending = {"stop_reason": "max_tokens", "stop_sequence": None}
        events.append({"type": "message_delta", "delta": ending, "usage": usage})
        for event in events:
            self.add(event)
        self._final, self.ended = False, True
        return events

    def body(self) -> Json:
        """See `Assembly`."""
        for index in sorted(self._open):
            self._stop(index)
        return {**self._message, "content": [self._blocks[index] for index in sorted(self._blocks)]}


_MESSAGES = Messages()
