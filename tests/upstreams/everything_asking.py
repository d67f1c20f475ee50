"""How does a handler put a question to the client, in either era of the protocol?

Until 2025-11-25 the server sends a request of its own and waits. From 2026-07-28 on it answers the
call with `input_required` and is called again with the answers (multi round-trip requests).
"""

import json
from collections.abc import Mapping
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import BaseModel

Context = ServerRequestContext[Any, Any]
Question = types.ElicitRequest | types.CreateMessageRequest | types.ListRootsRequest
Answers = dict[str, Any]

_CAPABILITY = {
    "elicitation/create": ("elicitation", types.ElicitResult),
    "sampling/createMessage": ("sampling", types.CreateMessageResult),
    "roots/list": ("roots", types.ListRootsResult),
}


class InputNeeded(Exception):
    """The call ends here for now; `result` tells the client what to bring along next time."""

    def __init__(self, result: types.InputRequiredResult) -> None:
        super().__init__("input required")
        self.result = result


def elicit(
    message: str, properties: Mapping[str, Any], *, required: list[str] | None = None
) -> types.ElicitRequest:
    schema = {"type": "object", "properties": dict(properties), "required": required or list(properties)}
    return types.ElicitRequest(params=types.ElicitRequestFormParams(message=message, requested_schema=schema))


def sample(prompt: str, max_tokens: int) -> types.CreateMessageRequest:
    message = types.SamplingMessage(role="user", content=types.TextContent(type="text", text=prompt))
    return types.CreateMessageRequest(
        params=types.CreateMessageRequestParams(messages=[message], max_tokens=max_tokens)
    )


def list_roots() -> types.ListRootsRequest:
    return types.ListRootsRequest()


def declared(ctx: Context, capability: str) -> bool:
    """Whether the client said that it can do this."""
    capabilities = ctx.session.client_capabilities
    return capabilities is not None and getattr(capabilities, capability) is not None


def require(ctx: Context, capability: str) -> None:
    """Refuse the call if the client did not declare what it needs (-32021)."""
    if not declared(ctx, capability):
        raise MCPError(
            types.MISSING_REQUIRED_CLIENT_CAPABILITY,
            f"this needs the client capability `{capability}`",
            {"requiredCapabilities": {capability: {}}},
        )


async def ask(
    ctx: Context,
    params: types.InputResponseRequestParams,
    questions: Mapping[str, Question],
    *,
    keeps_state: bool = False,
) -> Answers:
    """The answers to all questions, as wire objects by key.

    With `keeps_state` the answers of earlier rounds travel in `requestState`, and answers that come
    without it are not believed.

    Raises:
        InputNeeded: (2026-07-28) some are still open; nothing has been done yet.
        MCPError: the client cannot be asked this.
    """
    for question in questions.values():
        require(ctx, _CAPABILITY[question.method][0])
    if ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
        return {key: await _ask_in_place(ctx, question) for key, question in questions.items()}
    known = _known(params, keeps_state=keeps_state)
    open_questions = {key: question for key, question in questions.items() if key not in known}
    if open_questions:
        state = json.dumps(known, sort_keys=True) if keeps_state else None
        raise InputNeeded(types.InputRequiredResult(input_requests=open_questions, request_state=state))
    return known


async def _ask_in_place(ctx: Context, question: Question) -> Any:
    result_type = _CAPABILITY[question.method][1]
    metadata = ServerMessageMetadata(related_request_id=ctx.request_id)
    result = await ctx.session.send_request(question, result_type, metadata=metadata)
    return _wire(result)


def _known(params: types.InputResponseRequestParams, *, keeps_state: bool) -> Answers:
    if keeps_state and params.request_state is None:
        return {}
    before: Answers = json.loads(params.request_state) if params.request_state else {}
    return before | {key: _wire(answer) for key, answer in (params.input_responses or {}).items()}


def _wire(model: BaseModel) -> Any:
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)
