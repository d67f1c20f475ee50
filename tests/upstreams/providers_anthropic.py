"""How does Anthropic put things? Messages, their stream of events and errors, as `anthropic.types` has them."""

from typing import Any

import orjson
from providers_mind import Asked, Plan, words
from providers_openai import Frames, text_of

ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}
CACHED = 2
"""Input tokens that are told as read from the cache, if there are that many."""


class Messages:
    """`POST /v1/messages`."""

    @staticmethod
    def error(status: int, message: str) -> dict[str, Any]:
        told = {"type": ERROR_TYPES.get(status, "api_error"), "message": message}
        return {"type": "error", "error": told, "request_id": "req_1"}

    @staticmethod
    def asked(body: dict[str, Any]) -> Asked:
        messages = body["messages"]
        tools = [tool for tool in body.get("tools", []) if "input_schema" in tool]
        form = (body.get("output_config") or {}).get("format") or {}
        system = text_of(body.get("system") or "")
        told = [system, *(text_of(message["content"]) for message in messages)]
        return Asked(
            prompt=told[-1] or "thank you",
            read=sum(len(words(text)) for text in told),
            most=body["max_tokens"],
            tool=(tools[0]["name"], tools[0]["input_schema"]) if tools else None,
            schema=form["schema"] if form.get("type") == "json_schema" else None,
        )

    @staticmethod
    def whole(body: dict[str, Any], asked: Asked, plan: Plan) -> dict[str, Any]:
        block = (
            _tool_use(plan, orjson.loads(plan.text) if not plan.cut else {})
            if plan.tool
            else {"type": "text", "text": plan.text, "citations": None}
        )
        return _message(body, asked) | {
            "content": [block],
            "stop_reason": _stop(plan),
            "usage": _usage(asked, plan.tokens),
            "a_field_of_tomorrow": {"kept": True},
        }

    @staticmethod
    async def stream(body: dict[str, Any], asked: Asked, plan: Plan) -> Frames:
        def event(kind: str, **fields: Any) -> bytes:
            return f"event: {kind}\ndata: ".encode() + orjson.dumps({"type": kind, **fields}) + b"\n\n"

        yield False, event("message_start", message=_message(body, asked))
        opening = _tool_use(plan, {}) if plan.tool else {"type": "text", "text": "", "citations": None}
        yield False, event("content_block_start", index=0, content_block=opening)
        yield False, event("ping")
        for piece in plan.pieces:
            delta = (
                {"type": "input_json_delta", "partial_json": piece}
                if plan.tool
                else {"type": "text_delta", "text": piece}
            )
            yield True, event("content_block_delta", index=0, delta=delta)
        yield False, event("content_block_stop", index=0)
        ending = {"stop_reason": _stop(plan), "stop_sequence": None}
        yield False, event("message_delta", delta=ending, usage=_usage(asked, plan.tokens))
        yield False, event("message_stop")


def _stop(plan: Plan) -> str:
    return "max_tokens" if plan.cut else "tool_use" if plan.tool else "end_turn"


def _tool_use(plan: Plan, given: dict[str, Any]) -> dict[str, Any]:
    return {"type": "tool_use", "id": "toolu_1", "name": plan.tool, "input": given}


def _message(body: dict[str, Any], asked: Asked) -> dict[str, Any]:
    """A message that has just begun."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": _usage(asked, 1),
    }


def _usage(asked: Asked, written: int) -> dict[str, Any]:
    """Anthropic counts cached tokens apart: the three kinds of input together are what was read."""
    cached = min(CACHED, asked.read)
    return {
        "input_tokens": asked.read - cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": written,
    }
