"""How does each format stream? Its events on the wire, a whole answer as events, and how it ends.

The event that ends a stream is made here, of the whole answer, once the outcome is recorded.
"""

from collections.abc import Iterator
from typing import Any, Final, Protocol

import orjson

from broker.edges.models import failures
from broker.edges.models.events import named, unnamed
from broker.edges.models.failures import Failure
from broker.errors import BrokerError
from broker.model import Json, Method


class Format(Protocol):
    """One wire format of model calls."""

    def failure(self, error: BrokerError) -> Failure:
        """An error, for as long as no stream has begun."""
        ...

    def frame(self, event: Json) -> bytes:
        """One event on the wire."""
        ...

    def retold(self, body: Json, asked: Json) -> Iterator[Json]:
        """A whole answer as the events of a stream, up to the one that ends it."""
        ...

    def ending(self, body: Json, told: int) -> bytes:
        """The end of a stream; `told` events came before it."""
        ...

    def broken(self, failure: Failure, told: int) -> bytes:
        """The end of a stream that failed after `told` events."""
        ...


class Chat:
    """Chat Completions: chunks without a name, then `[DONE]`."""

    failure = staticmethod(failures.for_openai)
    frame = staticmethod(unnamed)

    def retold(self, body: Json, asked: Json) -> Iterator[Json]:
        """For each choice a chunk with all of it and one with its ending; the usage if it was asked for."""
        base = {key: value for key, value in body.items() if key not in {"choices", "usage"}}
        base["object"] = "chat.completion.chunk"
        for choice in body.get("choices", ()):
            index, delta = choice.get("index", 0), dict(choice.get("message") or {})
            if delta.get("tool_calls"):
                delta["tool_calls"] = [{"index": n, **call} for n, call in enumerate(delta["tool_calls"])]
            told: Json = {"index": index, "delta": delta, "logprobs": choice.get("logprobs")}
            yield {**base, "choices": [{**told, "finish_reason": None}]}
            ending: Json = {"index": index, "delta": {}, "finish_reason": choice.get("finish_reason")}
            yield {**base, "choices": [ending]}
        options = asked.get("stream_options")
        if isinstance(options, dict) and options.get("include_usage") is True:  # pyright: ignore[reportUnknownMemberType] - a JSON object
            yield {**base, "choices": [], "usage": body.get("usage")}

    def ending(self, body: Json, told: int) -> bytes:  # noqa: ARG002 - the port's signature
        """`[DONE]`."""
        return b"data: [DONE]\n\n"

    def broken(self, failure: Failure, told: int) -> bytes:  # noqa: ARG002 - the port's signature
        """An event with an `error`, of which the SDK makes an `APIError`."""
        return unnamed(failure.body)


class Embeddings(Chat):
    """Embeddings: never streamed."""


class Responses:
    """Responses: numbered events under their types; the last one holds the whole answer."""

    failure = staticmethod(failures.for_openai)
    frame = staticmethod(named)

    def retold(self, body: Json, asked: Json) -> Iterator[Json]:  # noqa: ARG002 - the port's signature
        """The events of each item of the output."""
        begun: Json = {**body, "status": "in_progress", "output": [], "usage": None}
        told: list[Json] = [{"type": "response.created", "response": begun}]
        for index, item in enumerate(body.get("output") or ()):
            told += _item_events(index, item)
        for number, event in enumerate(told):
            yield {**event, "sequence_number": number}

    def ending(self, body: Json, told: int) -> bytes:
        """`response.completed`, or what else became of it."""
        status = body.get("status")
        kind = f"response.{status if status in {'incomplete', 'failed'} else 'completed'}"
        return named({"type": kind, "sequence_number": told, "response": body})

    def broken(self, failure: Failure, told: int) -> bytes:
        """An `error` event, of which the SDK makes an `APIError`."""
        error: Json = failure.body["error"]
        said = {key: error.get(key) for key in ("code", "message", "param")}
        return named({"type": "error", "sequence_number": told, **said, "error": error})


def _item_events(index: int, item: Json) -> list[Json]:
    where: Json = {"output_index": index, "item_id": item.get("id")}
    emptied = {key: type(item[key])() for key in ("content", "arguments") if key in item}
    begun = {**item, **emptied, "status": "in_progress"}
    told: list[Json] = [{"type": "response.output_item.added", "output_index": index, "item": begun}]
    if isinstance(arguments := item.get("arguments"), str):
        kind = "response.function_call_arguments"
        told.append({"type": f"{kind}.delta", **where, "delta": arguments})
        told.append({"type": f"{kind}.done", **where, "arguments": arguments})
    for number, part in enumerate(item.get("content") or ()):
        told += _part_events({**where, "content_index": number}, part)
    return [*told, {"type": "response.output_item.done", "output_index": index, "item": item}]


def _part_events(where: Json, part: Json) -> list[Json]:
    if part.get("type") != "output_text":
        return [
            {"type": "response.content_part.added", **where, "part": part},
            {"type": "response.content_part.done", **where, "part": part},
        ]
    text = part.get("text", "")
    said: Json = {**where, "logprobs": []}
    return [
        {"type": "response.content_part.added", **where, "part": {**part, "text": ""}},
        {"type": "response.output_text.delta", **said, "delta": text},
        {"type": "response.output_text.done", **said, "text": text},
        {"type": "response.content_part.done", **where, "part": part},
    ]


class Messages:
    """Anthropic's Messages: events under their types, then `message_stop`."""

    failure = staticmethod(failures.for_anthropic)
    frame = staticmethod(named)

    def retold(self, body: Json, asked: Json) -> Iterator[Json]:  # noqa: ARG002 - the port's signature
        """Each block of the content in one piece."""
        begun: Json = {**body, "content": [], "stop_reason": None, "stop_sequence": None}
        yield {"type": "message_start", "message": begun}
        for index, block in enumerate(body.get("content") or ()):
            opening, deltas = _pieces(block)
            yield {"type": "content_block_start", "index": index, "content_block": opening}
            for delta in deltas:
                yield {"type": "content_block_delta", "index": index, "delta": delta}
            yield {"type": "content_block_stop", "index": index}
        delta = {key: body.get(key) for key in ("stop_reason", "stop_sequence")}
        yield {"type": "message_delta", "delta": delta, "usage": body.get("usage")}

    def ending(self, body: Json, told: int) -> bytes:  # noqa: ARG002 - the port's signature
        """`message_stop`."""
        return named({"type": "message_stop"})

    def broken(self, failure: Failure, told: int) -> bytes:  # noqa: ARG002 - the port's signature
        """An `error` event, of which the SDK makes an `APIStatusError`."""
        return named(failure.body)


class Counting(Messages):
    """How many tokens a request to Messages has: never streamed."""


def _pieces(block: Json) -> tuple[Json, list[Json]]:
    """A block as it begins, and what fills it."""
    match block.get("type"):
        case "text":
            return {**block, "text": ""}, [{"type": "text_delta", "text": block.get("text", "")}]
        case "tool_use":
            given: Any = orjson.dumps(block.get("input", {})).decode()
            return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": given}]
        case "thinking":
            thought = {"type": "thinking_delta", "thinking": block.get("thinking", "")}
            signed = {"type": "signature_delta", "signature": block.get("signature", "")}
            return {**block, "thinking": "", "signature": ""}, [thought, signed]
        case _:
            return block, []


FORMATS: Final[dict[Method, Format]] = {
    Method.CHAT: Chat(),
    Method.RESPONSES: Responses(),
    Method.EMBED: Embeddings(),
    Method.MESSAGES: Messages(),
    Method.COUNT: Counting(),
}
