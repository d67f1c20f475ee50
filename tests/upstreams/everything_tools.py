"""What do the tools of the everything server do?"""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import everything_offers as offers
import mcp_types as types
import orjson
from everything_asking import ask, declared, elicit, list_roots, require, sample
from everything_world import World
from mcp.server.context import ServerRequestContext

Context = ServerRequestContext[Any, Any]
Params = types.CallToolRequestParams
Handler = Callable[[World, Context, Params], Awaitable[types.CallToolResult]]

HANDLERS: dict[str, Handler] = {}

_STEP_S = 0.05
_CONFIRM = elicit("Please confirm", {"ok": {"type": "boolean"}})
_NAME = elicit("What is your name?", {"name": {"type": "string"}})
_FORM_WITH_DEFAULTS = elicit(
    "Please check these values",
    {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": True},
    },
)
_TITLED = [
    {"const": f"value{n}", "title": f"{word} Option"}
    for n, word in enumerate(("First", "Second", "Third"), 1)
]
_FORM_WITH_CHOICES = elicit(
    "Please choose",
    {
        "untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
        "titledSingle": {"type": "string", "oneOf": _TITLED},
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {
            "type": "array",
            "items": {"type": "string", "enum": ["option1", "option2", "option3"]},
        },
        "titledMulti": {"type": "array", "items": {"anyOf": _TITLED}},
    },
)


def _handles(*names: str) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(names, handler))
        return handler

    return register


def _text(text: str) -> types.CallToolResult:
    return _content(types.TextContent(type="text", text=text))


def _content(*blocks: types.ContentBlock) -> types.CallToolResult:
    return types.CallToolResult(content=list(blocks))


def _embedded(uri: str, mime_type: str, text: str) -> types.EmbeddedResource:
    contents = types.TextResourceContents(uri=uri, mime_type=mime_type, text=text)
    return types.EmbeddedResource(type="resource", resource=contents)


def _image() -> types.ImageContent:
    return types.ImageContent(type="image", data=offers.RED_PIXEL_PNG, mime_type="image/png")


@_handles("test_simple_text")
async def _simple_text(_world: World, _ctx: Context, _params: Params) -> types.CallToolResult:
    return _text("This is a simple text response for testing.")


@_handles("test_image_content")
async def _image_content(_world: World, _ctx: Context, _params: Params) -> types.CallToolResult:
    return _content(_image())


@_handles("test_audio_content")
async def _audio_content(_world: World, _ctx: Context, _params: Params) -> types.CallToolResult:
    return _content(types.AudioContent(type="audio", data=offers.SILENT_WAV, mime_type="audio/wav"))


@_handles("test_embedded_resource")
async def _embedded_resource(_world: World, _ctx: Context, _params: Params) -> types.CallToolResult:
    return _content(
        _embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")
    )


@_handles("test_multiple_content_types")
async def _multiple_content_types(_world: World, _ctx: Context, _params: Params) -> types.CallToolResult:
    return _content(
        types.TextContent(type="text", text="Multiple content types test:"),
        _image(),
        _embedded("test://mixed-content-resource", "application/json", '{"test":"data","value":123}'),
    )


@_handles("test_error_handling")
async def _error_handling(_world: World, _ctx: Context, _params: Params) -> types.CallToolResult:
    said = types.TextContent(type="text", text="This tool intentionally returns an error for testing")
    return types.CallToolResult(content=[said], is_error=True)


@_handles("test_tool_with_logging", "test_logging_tool")
async def _logging(_world: World, ctx: Context, _params: Params) -> types.CallToolResult:
    for said in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await ctx.session.send_log_message("info", said, "everything", related_request_id=ctx.request_id)
        await anyio.sleep(_STEP_S)
    return _text("Three messages were logged.")


@_handles("test_tool_with_progress")
async def _progress(_world: World, ctx: Context, _params: Params) -> types.CallToolResult:
    for done in (0, 50, 100):
        await ctx.session.report_progress(done, 100)
        await anyio.sleep(_STEP_S)
    return _text("Progress was reported three times.")


@_handles("test_reconnection")
async def _reconnection(_world: World, ctx: Context, _params: Params) -> types.CallToolResult:
    if ctx.close_sse_stream is not None:
        await ctx.close_sse_stream()
    await anyio.sleep(2 * _STEP_S)
    return _text("This answer was fetched after a reconnection, if the transport has one.")


@_handles("test_wait")
async def _wait(_world: World, _ctx: Context, params: Params) -> types.CallToolResult:
    seconds = float((params.arguments or {})["seconds"])
    await anyio.sleep(seconds)
    return _text(f"waited {seconds} s")


@_handles("test_sampling")
async def _sampling(_world: World, ctx: Context, params: Params) -> types.CallToolResult:
    prompt = str((params.arguments or {})["prompt"])
    answers = await ask(ctx, params, {"answer": sample(prompt, 100)})
    return _text(f"LLM response: {_sampled(answers['answer'])}")


@_handles("test_elicitation")
async def _elicitation(_world: World, ctx: Context, params: Params) -> types.CallToolResult:
    form = elicit(
        str((params.arguments or {})["message"]),
        {
            "username": {"type": "string", "description": "User's response"},
            "email": {"type": "string", "description": "User's email address"},
        },
    )
    answers = await ask(ctx, params, {"user": form})
    return _text(f"User response: {_form(answers['user'])}")


@_handles("test_elicitation_sep1034_defaults")
async def _defaults(_world: World, ctx: Context, params: Params) -> types.CallToolResult:
    answers = await ask(ctx, params, {"form": _FORM_WITH_DEFAULTS})
    return _text(f"Elicitation completed: {_form(answers['form'])}")


@_handles("test_elicitation_sep1330_enums", "test_streaming_elicitation")
async def _choices(_world: World, ctx: Context, params: Params) -> types.CallToolResult:
    answers = await ask(ctx, params, {"form": _FORM_WITH_CHOICES})
    return _text(f"Elicitation completed: {_form(answers['form'])}")


@_handles("test_missing_capability")
async def _missing_capability(_world: World, ctx: Context, _params: Params) -> types.CallToolResult:
    require(ctx, "sampling")
    return _text("The client can sample.")


@_handles("test_input_required_result_elicitation")
async def _ask_name(_world: World, ctx: Context, params: Params) -> types.CallToolResult:
    answers = await ask(ctx, params, {"user_name": _NAME})
    return _text(f"Hello, {answers['user_name'].get('content', {}).get('name', 'nobody')}!")


@_handles("test_input_required_result_sampling")
async def _ask_model(_world: World, ctx: Context, params: Params) -> types.CallToolResult:
    answers = await ask(ctx, params, {"capital_question": sample("What is the capital of France?", 100)})
    return _text(_sampled(answers["capital_question"]))


@_handles("test_input_required_result_list_roots")
async def _ask_roots(_world: World, ctx: Context, params: Params) -> types.CallToolResult:
    answers = await ask(ctx, params, {"client_roots": list_roots()})
    return _text(", ".join(root["uri"] for root in answers["client_roots"]["roots"]))


@_handles("test_input_required_result_request_state", "test_input_required_result_tampered_state")
async def _keep_state(_world: World, ctx: Context, params: Params) -> types.CallToolResult:
    await ask(ctx, params, {"confirm": _CONFIRM}, keeps_state=True)
    return _text("state-ok")


@_handles("test_input_required_result_multiple_inputs")
async def _ask_three(_world: World, ctx: Context, params: Params) -> types.CallToolResult:
    questions = {
        "user_name": _NAME,
        "greeting": sample("Generate a greeting", 50),
        "client_roots": list_roots(),
    }
    answers = await ask(ctx, params, questions, keeps_state=True)
    return _text(f"{len(answers)} answers")


@_handles("test_input_required_result_multi_round")
async def _ask_twice(_world: World, ctx: Context, params: Params) -> types.CallToolResult:
    first = {"step1": elicit("Step 1: What is your name?", {"name": {"type": "string"}})}
    await ask(ctx, params, first, keeps_state=True)
    second = {"step2": elicit("Step 2: What is your favorite color?", {"color": {"type": "string"}})}
    await ask(ctx, params, second, keeps_state=True)
    return _text("Both steps were answered.")


@_handles("test_input_required_result_capabilities")
async def _ask_what_was_declared(_world: World, ctx: Context, params: Params) -> types.CallToolResult:
    possible = {"elicitation": _NAME, "sampling": sample("Say something", 20), "roots": list_roots()}
    questions = {name: question for name, question in possible.items() if declared(ctx, name)}
    answers = await ask(ctx, params, questions)
    return _text(f"asked for: {', '.join(answers) or 'nothing'}")


@_handles("test_trigger_tool_change")
async def _change_tools(world: World, ctx: Context, _params: Params) -> types.CallToolResult:
    await world.toggle_tool(ctx)
    return _text("The list of tools has changed.")


@_handles("test_trigger_prompt_change")
async def _change_prompts(world: World, ctx: Context, _params: Params) -> types.CallToolResult:
    await world.toggle_prompt(ctx)
    return _text("The list of prompts has changed.")


@_handles("test_trigger_resource_update")
async def _update_resource(world: World, _ctx: Context, _params: Params) -> types.CallToolResult:
    await world.update_watched()
    return _text(f"update {world.updates}")


@_handles("test_sometimes")
async def _sometimes(_world: World, _ctx: Context, _params: Params) -> types.CallToolResult:
    return _text("I am here now.")


@_handles("test_custom_headers", "json_schema_2020_12_tool")
async def _echo_arguments(_world: World, _ctx: Context, params: Params) -> types.CallToolResult:
    return _text(orjson.dumps(params.arguments or {}, option=orjson.OPT_SORT_KEYS).decode())


def _sampled(answer: dict[str, Any]) -> str:
    content = answer["content"]
    return content.get("text", "") if isinstance(content, dict) else ""


def _form(answer: dict[str, Any]) -> str:
    return f"action={answer['action']}, content={orjson.dumps(answer.get('content') or {}).decode()}"
