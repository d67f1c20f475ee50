"""What does the everything server offer? MCP definitions and fixed contents, as the conformance suite names them."""

from typing import Any

Json = dict[str, Any]

RED_PIXEL_PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
SILENT_WAV = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQIAAAAAAA=="

STATIC_TEXT = "test://static-text"
STATIC_BINARY = "test://static-binary"
WATCHED = "test://watched-resource"
TEMPLATE = "test://template/{id}/data"

JSON_SCHEMA_2020_12: Json = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


def _tool(name: str, description: str, schema: Json | None = None, **properties: Json) -> Json:
    schema = schema or {"type": "object", "properties": properties, "required": list(properties)}
    return {"name": name, "description": description, "inputSchema": schema}


TOOLS: list[Json] = [
    _tool("test_simple_text", "Returns one text."),
    _tool("test_image_content", "Returns one image."),
    _tool("test_audio_content", "Returns one sound."),
    _tool("test_embedded_resource", "Returns one embedded resource."),
    _tool("test_multiple_content_types", "Returns a text, an image and a resource."),
    _tool("test_error_handling", "Always fails."),
    _tool("test_tool_with_logging", "Logs three messages while it runs."),
    _tool("test_logging_tool", "Logs one message."),
    _tool("test_tool_with_progress", "Reports its progress three times."),
    _tool("test_reconnection", "Closes the event stream in the middle of the call."),
    _tool("test_wait", "Waits a while, then says how long.", seconds={"type": "number"}),
    _tool("test_sampling", "Asks the client's model.", prompt={"type": "string"}),
    _tool("test_elicitation", "Asks the user.", message={"type": "string"}),
    _tool("test_elicitation_sep1034_defaults", "Asks the user with a form full of defaults."),
    _tool("test_elicitation_sep1330_enums", "Asks the user with a form full of choices."),
    _tool("test_streaming_elicitation", "Asks the user, where only the answer's stream may be used."),
    _tool("test_missing_capability", "Needs the client's model and does nothing with it."),
    _tool("test_input_required_result_elicitation", "Asks for a name in a further round."),
    _tool("test_input_required_result_sampling", "Asks the client's model in a further round."),
    _tool("test_input_required_result_list_roots", "Asks for the client's roots in a further round."),
    _tool("test_input_required_result_request_state", "Asks for a confirmation and keeps state."),
    _tool("test_input_required_result_multiple_inputs", "Asks three things in one round."),
    _tool("test_input_required_result_multi_round", "Asks two things in two rounds."),
    _tool("test_input_required_result_tampered_state", "Asks for a confirmation; its state is sealed."),
    _tool("test_input_required_result_capabilities", "Asks only what the client declared."),
    _tool("test_trigger_tool_change", "Adds or removes a tool."),
    _tool("test_trigger_prompt_change", "Adds or removes a prompt."),
    _tool("test_trigger_resource_update", "Says that the watched resource has changed."),
    _tool(
        "test_custom_headers",
        "Has a parameter that travels in a header too.",
        region={"type": "string", "description": "Where to run", "x-mcp-header": "Region"},
        query={"type": "string", "description": "What to run"},
    ),
    _tool("json_schema_2020_12_tool", "Tool with JSON Schema 2020-12 features", JSON_SCHEMA_2020_12),
]

SOMETIMES_TOOL = _tool("test_sometimes", "Comes and goes with test_trigger_tool_change.")

PROMPTS: list[Json] = [
    {"name": "test_simple_prompt", "description": "A prompt without arguments."},
    {
        "name": "test_prompt_with_arguments",
        "description": "A prompt with two arguments.",
        "arguments": [
            {"name": "arg1", "description": "First test argument", "required": True},
            {"name": "arg2", "description": "Second test argument", "required": True},
        ],
    },
    {
        "name": "test_prompt_with_embedded_resource",
        "description": "A prompt that embeds a resource.",
        "arguments": [{"name": "resourceUri", "description": "The resource to embed", "required": True}],
    },
    {"name": "test_prompt_with_image", "description": "A prompt with an image."},
    {"name": "test_input_required_result_prompt", "description": "A prompt that asks for its context."},
]

SOMETIMES_PROMPT: Json = {
    "name": "test_sometimes_prompt",
    "description": "Comes and goes with test_trigger_prompt_change.",
}

RESOURCES: list[Json] = [
    {"uri": STATIC_TEXT, "name": "static-text", "description": "A text.", "mimeType": "text/plain"},
    {"uri": STATIC_BINARY, "name": "static-binary", "description": "An image.", "mimeType": "image/png"},
    {
        "uri": WATCHED,
        "name": "watched-resource",
        "description": "Counts its updates.",
        "mimeType": "text/plain",
    },
]

TEMPLATES: list[Json] = [
    {
        "uriTemplate": TEMPLATE,
        "name": "template",
        "description": "Data by id.",
        "mimeType": "application/json",
    }
]
