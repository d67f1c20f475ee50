"""What do the pure parts of the MCP connector promise? Events, headers, definitions, settings."""

import logging
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.shared.inbound import decode_header_value, find_invalid_x_mcp_header
from pydantic import ValidationError

from broker.connector import ConfigurationError
from connectors.mcp_upstream.definitions import check_prompt, check_resource, check_template, check_tool, fit
from connectors.mcp_upstream.dialogue import addressee
from connectors.mcp_upstream.envelope import annotated_params, encode_value
from connectors.mcp_upstream.settings import McpSettings, check_headers, resolve_all
from connectors.mcp_upstream.sse import EventParser, EventTooLarge

STREAM = (
    b'\xef\xbb\xbf: comment\r\n\r\nid: 1\nretry: 250\ndata: {"a":\ndata:  1}\n\n'
    b"event: message\rdata: second\r\revent: other\ndata: skipped\n\nid: 2\n\ndata\n\n"
    b"retry: soon\nid: bad\0id\nunknown: x\ndata: \xc3\xa4\r\n\r\ndata: unfinished"
)
EVENTS = [b'{"a":\n 1}', b"second", b"", "ä".encode()]


def read(chunks: list[bytes]) -> tuple[list[bytes], EventParser]:
    parser = EventParser(1000)
    return [event for chunk in chunks for event in parser.feed(chunk)], parser


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_however_a_stream_is_cut_its_events_are_the_same(cuts):
    edges = [0, *sorted(cuts), len(STREAM)]
    events, parser = read([STREAM[a:b] for a, b in pairwise(edges)])
    assert events == EVENTS
    assert (parser.last_id, parser.retry_ms) == ("2", 250)


def test_a_stream_that_is_cut_at_every_byte_gives_the_same_events():
    assert read([STREAM[i : i + 1] for i in range(len(STREAM))])[0] == EVENTS


@pytest.mark.parametrize("chunks", [[b"data: " + b"x" * 1001], [b"data: y\n"] * 1001])
def test_an_event_above_the_limit_is_not_collected(chunks):
    with pytest.raises(EventTooLarge):
        read(chunks)


@given(st.text())
def test_any_name_survives_a_header(value):
    encoded = encode_value(value)
    assert decode_header_value(encoded) == value
    assert encoded == encoded.strip()
    assert encoded.isascii()
    assert encoded.isprintable()


PROPERTY = {"type": "string", "x-mcp-header": "Region"}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "x-mcp-header": "Root"},
        {"properties": {"a": {**PROPERTY, "x-mcp-header": ""}}},
        {"properties": {"a": {**PROPERTY, "x-mcp-header": "a b"}}},
        {"properties": {"a": {**PROPERTY, "x-mcp-header": 5}}},
        {"properties": {"a": {**PROPERTY, "type": "number"}}},
        {"properties": {"a": {**PROPERTY, "type": ["string"]}}},
        {"properties": {"a": PROPERTY, "b": {**PROPERTY, "x-mcp-header": "region"}}},
        {"properties": {"a": {"type": "array", "items": PROPERTY}}},
        {"anyOf": [{"properties": {"a": PROPERTY}}]},
        {"$defs": {"x": PROPERTY}},
    ],
)
def test_an_annotation_that_the_protocol_forbids_is_found(schema):
    assert find_invalid_x_mcp_header(schema)
    with pytest.raises(ValueError, match="x-mcp-header"):
        annotated_params(schema)


def test_annotations_are_found_however_deep_and_data_is_not_taken_for_one():
    schema = {
        "properties": {
            "a": PROPERTY,
            "b": {"properties": {"c": {**PROPERTY, "x-mcp-header": "Deep"}}, "default": {"x-mcp-header": 1}},
        },
        "examples": [{"x-mcp-header": "no"}],
    }
    assert annotated_params(schema) == {("a",): "Region", ("b", "c"): "Deep"}


def deep(levels: int) -> dict:
    schema: dict = {"type": "object"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


OBJECT = {"type": "object"}


@pytest.mark.parametrize(
    ("check", "definition", "reason"),
    [
        (check_tool, {"inputSchema": OBJECT}, "its name is not"),
        (check_tool, {"name": "a b", "inputSchema": OBJECT}, "its name is not"),
        (check_tool, {"name": "x" * 129, "inputSchema": OBJECT}, "its name is not"),
        (check_tool, {"name": 5, "inputSchema": OBJECT}, "its name is not"),
        (check_tool, {"name": "a"}, "it has no inputSchema"),
        (check_tool, {"name": "a", "inputSchema": []}, "it has no inputSchema"),
        (check_tool, {"name": "a", "inputSchema": {}}, 'not of type "object"'),
        (check_tool, {"name": "a", "inputSchema": {"type": ["object"]}}, 'not of type "object"'),
        (check_tool, {"name": "a", "inputSchema": {**OBJECT, "properties": []}}, "are not schemas"),
        (check_tool, {"name": "a", "inputSchema": {**OBJECT, "properties": {"b": "c"}}}, "are not schemas"),
        (check_tool, {"name": "a", "inputSchema": {**OBJECT, "required": "b"}}, "not a list of names"),
        (
            check_tool,
            {"name": "a", "inputSchema": {**OBJECT, "$ref": "file:///x"}},
            "something outside itself",
        ),
        (
            check_tool,
            {"name": "a", "inputSchema": OBJECT, "outputSchema": {"$ref": "x.json"}},
            "outside itself",
        ),
        (
            check_tool,
            {"name": "a", "inputSchema": OBJECT, "outputSchema": 1},
            "outputSchema is of the wrong type",
        ),
        (
            check_tool,
            {"name": "a", "inputSchema": OBJECT, "description": {}},
            "description is of the wrong type",
        ),
        (check_tool, {"name": "a", "inputSchema": deep(40)}, "nested deeper"),
        (check_tool, {"name": "a", "inputSchema": OBJECT, "description": "x" * 300_000}, "larger than"),
        (check_tool, {"name": "a", "inputSchema": {**OBJECT, "x-mcp-header": "A"}}, "x-mcp-header"),
        (check_tool, ["name"], "it is no object"),
        (check_resource, {"name": "a"}, "its uri is not one"),
        (check_resource, {"name": "a", "uri": "no scheme"}, "its uri is not one"),
        (check_resource, {"uri": "a:b"}, "it has no name"),
        (check_template, {"name": "a", "uriTemplate": 3}, "its uriTemplate is not one"),
        (check_prompt, {"arguments": []}, "it has no name"),
        (check_prompt, {"name": "p", "arguments": [{}]}, "an argument has no name"),
    ],
)
def test_a_definition_that_is_not_fit_is_left_out_with_the_reason(check, definition, reason, caplog):
    assert fit("thing", [definition], check, "up") == []
    assert reason in caplog.text


def test_what_is_fit_is_kept_as_it_is_and_in_order():
    tools = [
        {
            "name": "b.c-d_E",
            "inputSchema": {**OBJECT, "$defs": {"x": True}, "properties": {"p": {"$ref": "#/$defs/x"}}},
        },
        {"name": "a", "inputSchema": OBJECT, "x-vendor": 1, "outputSchema": {"type": "array"}},
    ]
    assert fit("tool", tools, check_tool, "up") == tools
    assert fit("resource", [{"uri": "ui://x/y", "name": ""}], check_resource, "up")
    assert fit("template", [{"uriTemplate": "x://{y}", "name": "n"}], check_template, "up")
    assert fit("prompt", [{"name": "p", "arguments": [{"name": "q"}]}], check_prompt, "up")


def test_of_two_definitions_of_one_name_the_first_is_kept(caplog):
    first, second = {"name": "a", "inputSchema": OBJECT}, {"name": "a", "inputSchema": {**OBJECT, "x": 1}}
    assert fit("tool", [first, second], check_tool, "up") == [first]
    assert "called the same" in caplog.text


def test_a_name_cannot_forge_a_line_of_the_log(caplog):
    with caplog.at_level(logging.WARNING):
        fit("tool", [{"name": "a\nERROR all is lost"}], check_tool, "up")
    assert "\nERROR" not in caplog.records[0].getMessage()


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({}, "either `command` or `url`"),
        ({"command": ["x"], "url": "https://example.org"}, "either `command` or `url`"),
        ({"command": []}, "at least 1 item"),
        ({"command": "sh -c x"}, "valid tuple"),
        ({"command": ["x"], "env": {"A=B": "c"}}, "none that a variable can have"),
        ({"url": "https://example.org", "cwd": "/"}, "belong to a `command`"),
        ({"command": ["x"], "headers": {"a": "b"}}, "belong to a `url`"),
        ({"url": "http://example.org"}, "use https"),
        ({"url": "ftp://example.org"}, "must look like"),
        ({"url": "https://user:pw@example.org"}, "must not hold credentials"),
        ({"url": "https://10.0.0.1/mcp"}, "private address 10.0.0.1"),
        ({"url": "https://[::ffff:127.0.0.1]/mcp"}, "private address"),
        ({"url": "http://169.254.169.254/", "allow_private": True}, "never connected to"),
        ({"url": "https://example.org", "headers": {"Authorization": "Bearer x"}}, "write a reference"),
        ({"url": "https://example.org", "headers": {"Host": "a"}}, "set by the broker itself"),
        ({"url": "https://example.org", "headers": {"Mcp-Method": "a"}}, "set by the broker itself"),
        ({"url": "https://example.org", "headers": {"X": "a\r\nY: b"}}, "cannot be sent"),
        ({"url": "https://example.org", "extra": 1}, "Extra inputs are not permitted"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused_with_what_to_write(settings, problem):
    with pytest.raises(ValidationError, match=problem):
        McpSettings(**settings)


def test_a_secret_with_a_line_break_is_refused_without_repeating_it():
    with pytest.raises(ConfigurationError) as refused:
        check_headers({"Authorization": "Bearer abc\ndef"}, "up")
    assert "abc" not in str(refused.value)


def test_references_are_resolved_wherever_they_stand_and_other_text_is_left_alone():
    values = {"A": "env:X", "B": "Bearer ${file:/p} ${env:X}", "C": "envelope: plain"}
    resolved, secrets = resolve_all(values, {"env:X": "1", "file:/p": "2"}.__getitem__)
    assert resolved == {"A": "1", "B": "Bearer 2 1", "C": "envelope: plain"}
    assert secrets == {"1", "2"}


def test_a_message_on_a_shared_channel_is_only_attributed_where_it_is_certain():
    progress = {"method": "notifications/progress", "params": {"progressToken": 2}}
    log = {"method": "notifications/message", "params": {}}
    assert addressee(progress, {1: None, 2: None}) == 2
    assert addressee(progress, {1: None}) is None
    assert addressee({**progress, "params": {"progressToken": [2]}}, {2: None}) is None
    assert addressee(log, {1: None}) == 1
    assert addressee(log, {1: None, 2: None}) is None
    assert addressee(log, {}) is None
