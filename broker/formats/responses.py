"""OpenAI's Responses: `POST /v1/responses`."""

from collections.abc import Sequence
from typing import Any

from broker.formats.interface import Counter, Delta, Slot, count, nested, objects, texts_of
from broker.model import Json, Method, Usage

ENDINGS = frozenset({"response.completed", "response.incomplete", "response.failed"})
_OWN_TOOLS = frozenset({"function", "custom", "local_shell", "apply_patch", "computer_use_preview"})
"""Tools that the client runs."""
_ELSEWHERE = ("previous_response_id", "conversation", "prompt", "background")
_BEYOND = frozenset({"input_image", "input_file", "input_audio"})
_PLACE = ("output_index", "content_index", "summary_index")


class Responses:
    """Implements `Format`."""

    method = Method.RESPONSES

    def limit(self, params: Json) -> int | None:
        """See `Format`."""
        return count(params.get("max_output_tokens")) or None

    def limited(self, params: Json, tokens: int, key: str) -> Json:  # noqa: ARG002 - the port's signature
        """See `Format`."""
        return {**params, "max_output_tokens": tokens}

    def answers(self, params: Json) -> int:  # noqa: ARG002 - the port's signature
        """See `Format`."""
        return 1

    def least(self, params: Json) -> int:  # noqa: ARG002 - the port's signature
        """See `Format`. The provider takes no fewer."""
        return 16

    def objection(self, params: Json) -> str | None:
        """See `Format`."""
        for key in _ELSEWHERE:
            if params.get(key):
                return f"`{key}` refers to something that the provider keeps and the broker has not seen"
        for tool in objects(params.get("tools")):
            if tool.get("type", "function") not in _OWN_TOOLS:
                return f"the tool `{str(tool.get('type'))[:60]}` is run by the provider"
        include = params.get("include")
        if params.get("top_logprobs") or (
            isinstance(include, list) and "message.output_text.logprobs" in include
        ):
            return "`logprobs` hands the answer out in pieces that guards cannot read"
        if any(item.get("type") == "item_reference" for item in objects(params.get("input"))):
            return "`item_reference` refers to something that the provider keeps and the broker has not seen"
        return None

    def beyond(self, params: Json) -> bool:
        """See `Format`."""
        items = objects(params.get("input"))
        parts = [part for item in items for key in ("content", "output") for part in objects(item.get(key))]
        return any(part.get("type") in _BEYOND for part in [*items, *parts])

    def prompt(self, params: Json) -> str:
        """See `Format`."""
        said = [i for i in objects(params.get("input")) if i.get("role") in ("system", "developer")]
        own = params.get("instructions")
        texts = [own] if isinstance(own, str) else []
        return "\n".join([*texts, *(texts_of(item.get("content")) for item in said)])

    def tools(self, params: Json) -> list[tuple[str, Any]]:
        """See `Format`."""
        return [(str(tool.get("name")), tool.get("parameters")) for tool in objects(params.get("tools"))]

    def deltas(self, event: Json) -> Sequence[Delta]:
        """See `Format`."""
        text = event.get("delta")
        if not isinstance(text, str) or not text:
            return ()
        return [Delta(_slot(str(event.get("type")).removesuffix(".delta"), event), ("delta",), text)]

    def ends(self, event: Json) -> Sequence[Slot]:
        """See `Format`."""
        kind = str(event.get("type"))
        if kind in ENDINGS:
            return [()]
        return [_slot(kind.removesuffix(".done"), event)] if kind.endswith(".done") else ()

    def bare(self, event: Json) -> bool:
        """See `Format`."""
        return isinstance(event.get("delta"), str)

    def piece(self, event: Json, delta: Delta, text: str) -> Json:  # noqa: ARG002 - the port's signature
        """See `Format`."""
        return {**event, "delta": text}

    def usage(self, body: Json) -> Usage | None:
        """See `Format`."""
        said = nested(body, "usage")
        if not said:
            return None
        read = nested(said, "input_tokens_details")
        return Usage(
            read=count(said.get("input_tokens")),
            wrote=count(said.get("output_tokens")),
            cached=count(read.get("cached_tokens")),
            written=count(read.get("cache_write_tokens")),
        )

    def assembly(self) -> "ResponsesAssembly":
        """See `Format`."""
        return ResponsesAssembly()


def _slot(kind: str, event: Json) -> Slot:
    return (kind, *(event.get(key, -1) for key in _PLACE))


class ResponsesAssembly:
    """Implements `Assembly`: the event that ends the stream holds all of it."""

    def __init__(self) -> None:
        self._response: Json = {}
        self._items: dict[int, Json] = {}
        self._texts: dict[tuple[int, int], str] = {}
        self._arguments: dict[int, str] = {}
        self._counter = Counter()
        self.ended = False

    @property
    def usage(self) -> Usage | None:
        """See `Assembly`."""
        return _RESPONSES.usage(self._response)

    @property
    def wrote(self) -> int:
        """See `Assembly`."""
        return self._counter.tokens

    def add(self, event: Json) -> None:
        """See `Assembly`."""
        self._counter.add(_RESPONSES.deltas(event))
        kind, at = str(event.get("type")), count(event.get("output_index"))
        if "response" in event:
            self._response = nested(event, "response")
            self.ended = kind in ENDINGS
        elif kind in ("response.output_item.added", "response.output_item.done"):
            self._items[at] = nested(event, "item")
        elif kind == "response.output_text.delta":
            place = at, count(event.get("content_index"))
            self._texts[place] = self._texts.get(place, "") + str(event.get("delta"))
        elif kind == "response.function_call_arguments.delta":
            self._arguments[at] = self._arguments.get(at, "") + str(event.get("delta"))

    def cut(self) -> Sequence[Json]:
        """See `Assembly`. The event that ends it is the edge's."""
        self._response |= {
            "status": "incomplete",
            "incomplete_details": {"reason": "max_output_tokens"},
            "output": self._unfinished(),
        }
        self.ended = True
        return ()

    def _unfinished(self) -> list[Json]:
        output: list[Json] = []
        for at in sorted(self._items):
            item = dict(self._items[at])
            if item.get("status") == "in_progress":
                item["status"] = "incomplete"
                if item.get("type") == "message":
                    texts = [text for (index, _), text in sorted(self._texts.items()) if index == at]
                    item["content"] = [{"type": "output_text", "text": t, "annotations": []} for t in texts]
                elif at in self._arguments:
                    item["arguments"] = self._arguments[at]
            output.append(item)
        return output

    def body(self) -> Json:
        """See `Assembly`."""
        return self._response


_RESPONSES = Responses()
