"""Headers and body say the same, or nothing is done. Checked against the SDK's own reading of the rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.shared import inbound

from broker.edges.mcp.headers import Fields, ParamHeaders, check_envelope, decode, param_headers
from broker.edges.mcp.wire import Rejected
from broker.model import Kind, Target
from tests.unit.edges.house import MODERN, envelope


def fields(headers: dict[str, str] | list[tuple[str, str]]) -> Fields:
    pairs = headers.items() if isinstance(headers, dict) else headers
    return Fields([(name.lower().encode(), value.encode("latin-1")) for name, value in pairs])


GOOD = {"Mcp-Protocol-Version": MODERN, "Mcp-Method": "tools/call", "Mcp-Name": "say"}


def rejection(headers, params=None, method="tools/call"):
    params = {"name": "say", "_meta": envelope()} if params is None else params
    with pytest.raises(Rejected) as caught:
        check_envelope(fields(headers), method, params)
    return caught.value.code, caught.value.http


def test_a_request_whose_headers_repeat_its_body_gives_its_envelope():
    meta = envelope({"sampling": {}})
    assert check_envelope(fields(GOOD), "tools/call", {"name": "say", "_meta": meta}) is meta


def test_whitespace_around_a_header_value_is_no_part_of_it():
    check_envelope(
        fields({**GOOD, "Mcp-Name": " \t say \t"}), "tools/call", {"name": "say", "_meta": envelope()}
    )


@pytest.mark.parametrize("name", ["Mcp-Protocol-Version", "Mcp-Method", "Mcp-Name"])
def test_a_routing_header_that_is_absent_wrong_or_repeated_is_refused(name):
    without = {key: value for key, value in GOOD.items() if key != name}
    assert rejection(without) == (-32020, 400)
    assert rejection({**GOOD, name: "other"}) == (-32020, 400)
    assert rejection([*GOOD.items(), (name, GOOD[name])]) == (-32020, 400)


def test_the_method_is_compared_with_its_case():
    assert rejection({**GOOD, "Mcp-Method": "TOOLS/CALL"}) == (-32020, 400)


@pytest.mark.parametrize(
    "meta",
    [
        None,
        [],
        {},
        {"io.modelcontextprotocol/protocolVersion": MODERN},
        {"io.modelcontextprotocol/clientCapabilities": {}},
        {**envelope(), "io.modelcontextprotocol/clientCapabilities": []},
    ],
)
def test_an_incomplete_envelope_is_an_error_of_parameters(meta):
    assert rejection(GOOD, {"name": "say", "_meta": meta}) == (-32602, 400)


def test_an_unknown_revision_is_told_which_ones_are_spoken():
    meta = {**envelope(), "io.modelcontextprotocol/protocolVersion": "2099-01-01"}
    with pytest.raises(Rejected) as caught:
        check_envelope(
            fields({**GOOD, "Mcp-Protocol-Version": "2099-01-01"}),
            "tools/call",
            {"name": "say", "_meta": meta},
        )
    assert caught.value.code == -32022
    assert caught.value.data == {"supported": [MODERN], "requested": "2099-01-01"}


def test_resources_are_named_by_their_uri():
    headers = {**GOOD, "Mcp-Method": "resources/read", "Mcp-Name": "x://a"}
    check_envelope(fields(headers), "resources/read", {"uri": "x://a", "_meta": envelope()})
    assert rejection(headers, {"uri": "x://b", "_meta": envelope()}, "resources/read") == (-32020, 400)


def test_names_that_are_not_ascii_travel_in_base64():
    headers = {**GOOD, "Mcp-Name": inbound.encode_header_value("größe")}
    check_envelope(fields(headers), "tools/call", {"name": "größe", "_meta": envelope()})


@given(st.text())
def test_whatever_a_client_encodes_is_decoded_to_the_same_text(text):
    assert decode(inbound.encode_header_value(text)) == text


@given(st.from_regex(r"=\?base64\?[A-Za-z0-9+/=!]{0,12}\?=", fullmatch=True) | st.text(max_size=20))
def test_header_values_are_decoded_as_the_sdk_decodes_them(value):
    assert decode(value) == inbound.decode_header_value(value)


NESTED = {
    "type": "object",
    "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "deep": {
            "type": "object",
            "properties": {"n": {"type": "integer", "x-mcp-header": "Count"}},
        },
        "on": {"type": "boolean", "x-mcp-header": "On"},
    },
}


def verdict(schema, arguments, headers) -> int | None:
    try:
        for header in param_headers(schema):
            header.check(fields(headers), arguments)
    except Rejected as rejected:
        return rejected.code
    return None


@pytest.mark.parametrize(
    ("arguments", "headers", "code"),
    [
        ({}, {}, None),
        ({"region": "eu"}, {"Mcp-Param-Region": "eu"}, None),
        ({"region": "eu"}, {"mcp-param-REGION": " eu "}, None),
        ({"region": "eu"}, {}, -32020),
        ({}, {"Mcp-Param-Region": "eu"}, -32020),
        ({"region": None}, {}, None),
        ({"region": "eu"}, {"Mcp-Param-Region": "us"}, -32020),
        ({"region": "Hello"}, {"Mcp-Param-Region": "=?base64?SGVsbG8=?="}, None),
        ({"region": "Hello"}, {"Mcp-Param-Region": "=?base64?SGVsbG8?="}, -32020),
        ({"region": "Hello"}, {"Mcp-Param-Region": "=?base64?SGVs!!!bG8=?="}, -32020),
        ({"deep": {"n": 42}}, {"Mcp-Param-Count": "42"}, None),
        ({"deep": {"n": 42}}, {"Mcp-Param-Count": "42.0"}, None),
        ({"deep": {"n": 42}}, {"Mcp-Param-Count": "42.5"}, -32020),
        ({"deep": {"n": 42.0}}, {"Mcp-Param-Count": "42"}, None),
        ({"deep": {"n": True}}, {"Mcp-Param-Count": "1"}, -32020),
        ({"deep": {"n": 42}}, {"Mcp-Param-Count": "9" * 6000}, -32020),
        ({"deep": 3}, {}, None),
        ({"on": True}, {"Mcp-Param-On": "true"}, None),
        ({"on": False}, {"Mcp-Param-On": "False"}, -32020),
        ({"region": ["eu"]}, {}, None),
        ({"region": ["eu"]}, {"Mcp-Param-Region": "eu"}, -32020),
    ],
)
def test_annotated_parameters_are_repeated_in_headers_or_refused(arguments, headers, code):
    assert verdict(NESTED, arguments, headers) == code
    theirs = inbound.validate_mcp_param_headers(
        NESTED, arguments, {name.lower(): value.strip() for name, value in headers.items()}
    )
    assert (theirs.code if theirs else None) == code


def test_a_repeated_parameter_header_is_refused_even_if_both_agree():
    twice = [("Mcp-Param-Region", "eu"), ("Mcp-Param-Region", "eu")]
    assert verdict(NESTED, {"region": "eu"}, twice) == -32020


@pytest.mark.parametrize(
    "schema",
    [
        {"x-mcp-header": "Root", "type": "string"},
        {"properties": {"a": {"type": "number", "x-mcp-header": "A"}}},
        {"properties": {"a": {"type": ["string"], "x-mcp-header": "A"}}},
        {"properties": {"a": {"type": "string", "x-mcp-header": "no spaces"}}},
        {"properties": {"a": {"type": "string", "x-mcp-header": 7}}},
        {"properties": {c: {"type": "string", "x-mcp-header": f"{c}x"[1:]} for c in "ab"}},
        {"properties": {"a": {"items": {"type": "string", "x-mcp-header": "A"}}}},
        {"properties": {"a": {"anyOf": [{"type": "string", "x-mcp-header": "A"}]}}},
        {"$defs": {"a": {"type": "string", "x-mcp-header": "A"}}},
        "not a schema",
        None,
    ],
)
def test_a_schema_with_an_invalid_annotation_asks_for_no_header_at_all(schema):
    assert param_headers(schema) == ()
    if isinstance(schema, dict):
        assert inbound.find_invalid_x_mcp_header(schema) is not None


def test_data_that_looks_like_an_annotation_is_none():
    schema = {
        "properties": {
            "a": {"type": "string", "default": {"x-mcp-header": "A"}, "enum": [{"x-mcp-header": "B"}]}
        }
    }
    assert param_headers(schema) == ()
    assert inbound.find_invalid_x_mcp_header(schema) is None


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(max_size=6)
    | st.floats(allow_nan=False)
)


@given(
    st.sampled_from(["string", "integer", "boolean"]),
    scalars,
    st.none() | st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=8) | scalars.map(str),
)
def test_every_value_and_header_is_judged_as_the_sdk_judges_them(kind, value, header):
    schema = {"properties": {"a": {"type": kind, "x-mcp-header": "A"}}}
    said = {} if header is None else {"mcp-param-a": inbound.encode_header_value(header)}
    theirs = inbound.validate_mcp_param_headers(schema, {"a": value}, said)
    assert verdict(schema, {"a": value}, said) == (theirs.code if theirs else None)


def test_headers_are_worked_out_once_for_a_definition_and_anew_for_another():
    cache = ParamHeaders()

    def tool(token):
        schema = {"properties": {"a": {"type": "string", "x-mcp-header": token}}}
        return Target(Kind.TOOL, "say", "c", "say", {"name": "say", "inputSchema": schema})

    first = tool("One")
    assert cache.of(first, 1) is cache.of(first, 1)
    assert cache.of(tool("Two"), 1)[0].field == b"mcp-param-two"
