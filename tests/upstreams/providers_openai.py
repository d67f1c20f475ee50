"""How does OpenAI put things? Chat completions, responses, embeddings and errors, as `openai.types` has them."""

import base64
import struct
from collections.abc import AsyncIterator
from typing import Any

import orjson
from providers_mind import Asked, Plan, words

CREATED = 1_790_000_000
ERROR_TYPES = {401: "invalid_request_error", 403: "invalid_request_error", 404: "invalid_request_error"}
ERROR_CODES = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}

Frames = AsyncIterator[tuple[bool, bytes]]
"""Each event as bytes, and whether it carries a token."""


def model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "stand-in"}


def error(status: int, message: str) -> dict[str, Any]:
    kind = ERROR_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    told = {"message": message, "type": kind, "param": None, "code": ERROR_CODES.get(status)}
    return {"error": told}


def embeddings(body: dict[str, Any]) -> dict[str, Any]:
    inputs = body["input"] if isinstance(body["input"], list) else [body["input"]]
    vectors = [[float(len(text)), 0.5, -0.25] for text in inputs]
    encoded = body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _base64(vector) if encoded else vector}
        for index, vector in enumerate(vectors)
    ]
    read = sum(len(words(text)) for text in inputs)
    usage = {"prompt_tokens": read, "total_tokens": read}
    return {"object": "list", "data": data, "model": body["model"], "usage": usage}


def _base64(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def text_of(content: Any) -> str:
    """The text of a message's content: a string, or a list of parts."""
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", "") for part in content or [])


def _frame(data: dict[str, Any], event: str | None = None) -> bytes:
    named = f"event: {event}\n".encode() if event else b""
    return named + b"data: " + orjson.dumps(data) + b"\n\n"


class Chat:
    """`POST /v1/chat/completions`."""

    error = staticmethod(error)

    @staticmethod
    def asked(body: dict[str, Any]) -> Asked:
        messages = body["messages"]
        tools = [tool["function"] for tool in body.get("tools", []) if tool["type"] == "function"]
        form = body.get("response_format") or {}
        return Asked(
            prompt=text_of(messages[-1]["content"]) if messages[-1]["role"] != "tool" else "thank you",
            read=sum(len(words(text_of(message.get("content")))) for message in messages),
            most=body.get("max_completion_tokens", body.get("max_tokens")),
            tool=(tools[0]["name"], tools[0].get("parameters", {})) if tools else None,
            schema=form["json_schema"]["schema"] if form.get("type") == "json_schema" else None,
        )

    @staticmethod
    def whole(body: dict[str, Any], asked: Asked, plan: Plan) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": plan.text, "refusal": None}
        if plan.tool:
            call = {"name": plan.tool, "arguments": plan.text}
            message |= {
                "content": None,
                "tool_calls": [{"id": "call_1", "type": "function", "function": call}],
            }
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(plan)}
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": CREATED,
            "model": body["model"],
            "choices": [choice],
            "usage": _usage(asked, plan.tokens),
            "service_tier": "default",
            "system_fingerprint": "fp_stand_in",
            "a_field_of_tomorrow": {"kept": True},
        }

    @staticmethod
    async def stream(body: dict[str, Any], asked: Asked, plan: Plan) -> Frames:
        wants_usage = (body.get("stream_options") or {}).get("include_usage") is True
        base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": CREATED}
        base |= {"model": body["model"], "service_tier": "default", "a_field_of_tomorrow": True}
        if wants_usage:
            base["usage"] = None

        def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
            return _frame({**base, "choices": [choice], "obfuscation": "x4v"})

        first: dict[str, Any] = {"role": "assistant", "content": "", "refusal": None}
        if plan.tool:
            call = {"index": 0, "id": "call_1", "type": "function"}
            first |= {
                "content": None,
                "tool_calls": [call | {"function": {"name": plan.tool, "arguments": ""}}],
            }
        yield False, chunk(first)
        for piece in plan.pieces:
            part = {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}
            yield True, chunk(part if plan.tool else {"content": piece})
        yield False, chunk({}, _finish(plan))
        if wants_usage:
            yield False, _frame({**base, "choices": [], "usage": _usage(asked, plan.tokens)})
        yield False, b"data: [DONE]\n\n"


def _finish(plan: Plan) -> str:
    return "length" if plan.cut else "tool_calls" if plan.tool else "stop"


def _usage(asked: Asked, written: int) -> dict[str, Any]:
    return {
        "prompt_tokens": asked.read,
        "completion_tokens": written,
        "total_tokens": asked.read + written,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


class Responses:
    """`POST /v1/responses`."""

    error = staticmethod(error)

    @staticmethod
    def asked(body: dict[str, Any]) -> Asked:
        given = body["input"]
        items = [{"role": "user", "content": given}] if isinstance(given, str) else given
        tools = [tool for tool in body.get("tools", []) if tool["type"] == "function"]
        form = (body.get("text") or {}).get("format") or {}
        last = items[-1]
        told = [text_of(item.get("content", item.get("output", ""))) for item in items]
        return Asked(
            prompt=text_of(last["content"]) if "content" in last else "thank you",
            read=sum(len(words(text)) for text in [body.get("instructions") or "", *told]),
            most=body.get("max_output_tokens"),
            tool=(tools[0]["name"], tools[0].get("parameters", {})) if tools else None,
            schema=form["schema"] if form.get("type") == "json_schema" else None,
        )

    @staticmethod
    def whole(body: dict[str, Any], asked: Asked, plan: Plan) -> dict[str, Any]:
        return _response(body, [_item(plan)], _status(plan)) | {
            "usage": {
                "input_tokens": asked.read,
                "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                "output_tokens": plan.tokens,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": asked.read + plan.tokens,
            },
            "incomplete_details": {"reason": "max_output_tokens"} if plan.cut else None,
        }

    @staticmethod
    async def stream(body: dict[str, Any], asked: Asked, plan: Plan) -> Frames:
        number = -1

        def event(kind: str, **fields: Any) -> bytes:
            nonlocal number
            number += 1
            return _frame({"type": kind, "sequence_number": number, **fields}, kind)

        begun = _response(body, [], "in_progress")
        yield False, event("response.created", response=begun)
        yield False, event("response.in_progress", response=begun)
        item = _item(plan)
        where = {"output_index": 0, "item_id": item["id"]}
        empty = {"arguments": ""} if plan.tool else {"content": []}
        yield (
            False,
            event(
                "response.output_item.added", output_index=0, item=item | empty | {"status": "in_progress"}
            ),
        )
        if plan.tool:
            for piece in plan.pieces:
                yield True, event("response.function_call_arguments.delta", **where, delta=piece)
            yield False, event("response.function_call_arguments.done", **where, arguments=plan.text)
        else:
            where |= {"content_index": 0}
            yield False, event("response.content_part.added", **where, part=_part(""))
            for piece in plan.pieces:
                yield True, event("response.output_text.delta", **where, delta=piece, logprobs=[])
            yield False, event("response.output_text.done", **where, text=plan.text, logprobs=[])
            yield False, event("response.content_part.done", **where, part=_part(plan.text))
        yield False, event("response.output_item.done", output_index=0, item=item)
        ending = "response.incomplete" if plan.cut else "response.completed"
        yield False, event(ending, response=Responses.whole(body, asked, plan))


def _status(plan: Plan) -> str:
    return "incomplete" if plan.cut else "completed"


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _item(plan: Plan) -> dict[str, Any]:
    if plan.tool:
        call = {"id": "fc_1", "type": "function_call", "call_id": "call_1"}
        return call | {"name": plan.tool, "arguments": plan.text, "status": _status(plan)}
    said = {"id": "msg_1", "type": "message", "role": "assistant", "status": _status(plan)}
    return said | {"content": [_part(plan.text)]}


def _response(body: dict[str, Any], output: list[Any], status: str) -> dict[str, Any]:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "model": body["model"],
        "output": output,
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": body.get("tools", []),
        "top_p": 1.0,
        "usage": None,
        "a_field_of_tomorrow": {"kept": True},
    }
