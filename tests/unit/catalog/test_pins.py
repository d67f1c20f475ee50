"""What changes is noticed, what only says something else is told apart from what does something else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.catalog.pins import Pin, acts_alike, admitted, difference, digest_of, judge, skeleton

SCHEMA = {"type": "object", "properties": {"path": {"type": "string", "description": "Where."}}}


def tool(name="read", **more):
    return {"name": name, "description": "Reads a file.", "inputSchema": SCHEMA, **more}


def exposed(name):
    return f"files__{name}"


def see(*tools, known=(), ask=False, suspect=lambda definition, others: ()):
    return judge("files", tools, exposed, known, ask=ask, suspect=suspect)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(["description", "inputSchema", "annotations", "title"]), JSON, min_size=2)
)
def test_the_order_of_keys_does_not_matter_to_a_hash(parts):
    assert digest_of("c", parts) == digest_of("c", dict(reversed(parts.items())))


@given(
    st.sampled_from(["name", "title", "description", "inputSchema", "outputSchema", "annotations", "_meta"]),
    JSON,
)
def test_every_part_and_the_server_count_in_a_hash(part, value):
    changed = {**tool(), part: value}
    assert (digest_of("c", changed) == digest_of("c", tool())) == (changed == tool())
    assert digest_of("c", tool()) != digest_of("d", tool())


def test_a_changed_description_waits_while_the_approved_one_serves():
    known = see(tool())
    (pin,) = see(tool(description="Reads a file, quickly."), known=known)
    assert (pin.waits, pin.serves) == (True, True)
    assert admitted([pin]).tools == [tool()]
    assert pin.because == "changed: description"


def test_a_changed_description_of_an_argument_waits_while_the_approved_one_serves():
    known = see(tool())
    (pin,) = see(
        tool(inputSchema={"type": "object", "properties": {"path": {"type": "string"}}}), known=known
    )
    assert (pin.waits, pin.serves) == (True, True)


@pytest.mark.parametrize(
    "change",
    [
        {"inputSchema": {**SCHEMA, "required": ["path"]}},
        {"inputSchema": {"type": "object", "properties": {"path": {}, "description": {"type": "string"}}}},
        {"outputSchema": {"type": "object"}},
        {"annotations": {"readOnlyHint": True}},
    ],
)
def test_a_tool_that_takes_or_does_something_else_is_withheld(change):
    (pin,) = see(tool(**change), known=see(tool()))
    assert (pin.waits, pin.serves) == (True, False)
    assert admitted([pin]).tools == []


def test_a_property_called_description_is_no_description():
    other = {"type": "object", "properties": {"description": {"type": "integer"}}}
    one = {"type": "object", "properties": {"description": {"type": "string"}}}
    assert not acts_alike(tool(inputSchema=one), tool(inputSchema=other))


def test_a_definition_that_goes_back_to_what_was_approved_waits_no_more():
    known = see(tool(description="Other."), known=see(tool()))
    (pin,) = see(tool(), known=known)
    assert (pin.waits, pin.serves) == (False, True)


def test_one_suspect_definition_alone_is_withheld():
    pins = see(tool("a"), tool("b"), suspect=lambda d, _: ["reads like an order"] if d["name"] == "b" else ())
    assert [(pin.tool, pin.serves) for pin in pins] == [("a", True), ("b", False)]


def test_where_an_operator_is_asked_nothing_new_is_served():
    (pin,) = see(tool(), ask=True)
    assert (pin.serves, pin.because) == (False, "new")


def test_the_difference_names_the_parts_that_differ():
    (pin,) = see(tool(description="Other."), known=see(tool()))
    assert difference(pin) == {"description": ("Reads a file.", "Other.")}


@pytest.mark.parametrize(
    "double", ["read_fi1e", "readFile", "read-file", "re\u0430d_file", "READ_FILE", "\uff52ead_file"]
)
def test_names_that_look_alike_have_one_skeleton(double):
    assert skeleton("read_file") == skeleton(double)


@pytest.mark.parametrize("other", ["read_files", "write_file", "read_dir", "reed_file"])
def test_names_that_can_be_told_apart_have_two(other):
    assert skeleton("read_file") != skeleton(other)


def test_names_in_a_row_are_told_apart():
    names = [f"tool_{n}" for n in range(500)]
    assert len({skeleton(name) for name in names}) == len(names)


def test_a_tool_of_a_connector_that_is_not_used_any_more_takes_no_name():
    assert admitted(see(tool(), known=[Pin("gone", "read", "gone__read")])).tools == [tool()]
