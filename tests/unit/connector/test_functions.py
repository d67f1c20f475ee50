"""How does a typed function become a tool?"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel, Field

from broker.connector import (
    Answer,
    Connector,
    Json,
    Line,
    Method,
    Request,
    ToolFailed,
    Upstream,
    UpstreamLost,
    UpstreamRefused,
)
from broker.model import MicroUSD


class Caller:
    modern = True

    def __init__(self) -> None:
        self.capabilities: Json = {}
        self.heard: list[tuple[str, Json]] = []

    async def notify(self, method: str, params: Json) -> None:
        self.heard.append((method, params))

    async def deliver(self, event: Json) -> bool:
        raise AssertionError(f"no model streams here: {event}")

    async def poll(self, retry_ms: int) -> None:
        raise AssertionError(f"nobody asked to come back after {retry_ms} ms")

    async def ask(self, method: str, params: Json) -> Json:
        return {"asked": method}


def line(**fields: Any) -> Line:
    return Line(call_id="call-7", caller=Caller(), organisation="acme", agent="ada", **fields)


async def call(connector: Connector, arguments: object, open_line: Line | None = None) -> Answer:
    (tool,) = (await connector.offer()).tools
    request = Request(Method.CALL_TOOL, {"name": tool["name"], "arguments": arguments})
    return await connector.invoke(request, open_line or line())


async def definition(connector: Connector) -> Json:
    (tool,) = (await connector.offer()).tools
    Draft202012Validator.check_schema(tool["inputSchema"])
    return tool


def said(answer: Answer) -> str:
    return answer.body["content"][0]["text"]


class Address(BaseModel):
    city: str
    zip_code: str = Field(alias="zip")


@dataclass
class Weather:
    degrees: float


async def test_the_signature_is_the_schema_and_the_docstring_the_description():
    connector = Connector("c")

    @connector.tool(title="Do it")
    async def do(
        text: Annotated[str, Field(description="what to say", max_length=9)],
        mode: Literal["a", "b"] = "a",
        tags: list[str] | None = None,
    ) -> dict[str, int]:
        """Do something.

        In two paragraphs.
        """
        return {}

    tool = await definition(connector)
    assert tool["description"] == "Do something.\n\nIn two paragraphs."
    assert tool["title"] == "Do it"
    assert tool["inputSchema"] == {
        "type": "object",
        "additionalProperties": False,
        "required": ["text"],
        "properties": {
            "text": {"type": "string", "description": "what to say", "maxLength": 9},
            "mode": {"type": "string", "enum": ["a", "b"], "default": "a"},
            "tags": {
                "anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}],
                "default": None,
            },
        },
    }
    assert tool["outputSchema"] == {"type": "object", "additionalProperties": {"type": "integer"}}


async def test_a_parameter_may_have_any_name():
    connector = Connector("c")

    @connector.tool()
    async def do(schema: str, model_config: int, _hidden: bool = False, copy: str = "c") -> dict[str, Any]:
        """Do it."""
        return {"schema": schema, "model_config": model_config, "_hidden": _hidden, "copy": copy}

    answer = await call(connector, {"schema": "s", "model_config": 3, "_hidden": True})
    assert answer.body["structuredContent"] == {
        "schema": "s",
        "model_config": 3,
        "_hidden": True,
        "copy": "c",
    }


@pytest.mark.parametrize(
    ("annotation", "value", "structured", "shown"),
    [
        (dict[str, int], {"a": 1}, {"a": 1}, '{"a":1}'),
        (Weather, Weather(1.5), {"degrees": 1.5}, '{"degrees":1.5}'),
        (Address, Address(city="x", zip="1"), {"city": "x", "zip": "1"}, '{"city":"x","zip":"1"}'),
        (list[int], [1, 2], {"result": [1, 2]}, "[1,2]"),
        (
            list[Address],
            [Address(city="x", zip="1")],
            {"result": [{"city": "x", "zip": "1"}]},
            '[{"city":"x","zip":"1"}]',
        ),
        (int, 3, {"result": 3}, "3"),
        (str, "hello", None, "hello"),
    ],
)
async def test_what_is_returned_becomes_text_and_structure_that_fits_its_schema(
    annotation, value, structured, shown
):
    connector = Connector("c")

    async def do() -> None:
        """Do it."""
        return value

    do.__annotations__["return"] = annotation
    connector.tool()(do)
    tool, answer = await definition(connector), await call(connector, {})
    assert said(answer) == shown
    assert answer.body.get("structuredContent") == structured
    assert ("outputSchema" in tool) == (structured is not None)
    if structured is not None:
        Draft202012Validator(tool["outputSchema"]).validate(structured)


async def test_nothing_returned_is_no_content():
    connector = Connector("c")

    @connector.tool()
    async def do() -> None:
        """Do it."""

    assert (await call(connector, None)).body == {"content": []}


async def test_wrong_arguments_are_explained_to_the_model_without_their_values():
    connector = Connector("c")

    @connector.tool()
    async def do(count: int, where: Address, flag: bool = False) -> str:
        """Do it."""
        return ""

    answer = await call(connector, {"count": "my-secret", "where": {"zip": "1"}, "flags": True})
    assert answer.failed
    text = said(answer)
    assert "- `count`: input should be a valid integer" in text
    assert "- `where.city` is missing" in text
    assert "- there is no argument `flags`; it takes `count`, `where`, `flag`" in text
    assert "my-secret" not in text
    assert "pydantic" not in text


@pytest.mark.parametrize("arguments", [[1], "text", 5])
async def test_arguments_that_are_no_object_are_refused(arguments):
    connector = Connector("c")

    @connector.tool()
    async def do() -> str:
        """Do it."""
        return ""

    answer = await call(connector, arguments)
    assert answer.failed
    assert "input should be an object" in said(answer)


async def test_an_exception_is_logged_and_its_text_reaches_nobody_else(caplog):
    connector = Connector("c")

    @connector.tool()
    async def do() -> str:
        """Do it."""
        raise RuntimeError("password is hunter2")

    answer = await call(connector, {})
    assert answer.failed
    assert said(answer) == "`do` failed; the operator can look up call call-7"
    assert "hunter2" in caplog.text


async def test_a_value_of_another_type_than_annotated_is_a_failure_of_the_tool():
    connector = Connector("c")

    @connector.tool()
    async def do() -> dict[str, int]:
        """Do it."""
        return {"a": "not a number"}

    assert (await call(connector, {})).failed


async def test_a_tool_can_say_why_it_failed_and_what_the_upstream_did():
    connector = Connector("c")

    @connector.tool()
    async def do(lost: bool) -> str:
        """Do it."""
        if lost:
            raise UpstreamLost("the line went dead")
        raise ToolFailed("there is no such city")

    answer = await call(connector, {"lost": False})
    assert (answer.failed, said(answer)) == (True, "there is no such city")
    with pytest.raises(UpstreamLost):
        await call(connector, {"lost": True})


async def test_the_open_line_is_handed_in_and_is_no_argument():
    connector = Connector("c")

    @connector.tool()
    async def do(text: str, open_line: Line) -> dict[str, str]:
        """Do it."""
        await open_line.progress(1, total=2, message="half")
        return await open_line.caller.ask("roots/list", {}) | {"text": text, "for": open_line.agent}

    tool, wanted, unwanted = await definition(connector), line(wants_progress=True), line()
    assert list(tool["inputSchema"]["properties"]) == ["text"]
    answer = await call(connector, {"text": "x"}, wanted)
    await call(connector, {"text": "x"}, unwanted)
    assert answer.body["structuredContent"] == {"asked": "roots/list", "text": "x", "for": "ada"}
    assert wanted.caller.heard == [("notifications/progress", {"progress": 1, "total": 2, "message": "half"})]
    assert unwanted.caller.heard == []


async def test_a_tool_that_knows_its_cost_returns_the_answer_itself():
    connector = Connector("c")

    @connector.tool(price="0.5")
    async def do() -> Answer:
        """Do it."""
        return Answer({"content": [], "x": 1}, MicroUSD(12))

    answer = await call(connector, {})
    assert (answer.body, answer.cost) == ({"content": [], "x": 1}, 12)
    assert "outputSchema" not in await definition(connector)


@pytest.mark.parametrize(
    ("effect", "hints"),
    [
        ("reads", {"readOnlyHint": True}),
        ("writes", {"readOnlyHint": False, "destructiveHint": False}),
        ("destroys", {"readOnlyHint": False, "destructiveHint": True}),
    ],
)
async def test_what_the_author_knows_is_a_fact_for_the_catalogue_and_a_hint_for_hosts(effect, hints):
    connector = Connector("c")

    @connector.tool(price="0.001", side_effect=effect, labels=["pii"])
    async def do() -> None:
        """Do it."""

    offer = await connector.offer()
    assert offer.facts == {"do": {"price": "0.001", "side_effect": effect, "labels": ("pii",)}}
    assert offer.tools[0]["annotations"] == hints


def test_a_function_that_cannot_be_a_tool_is_refused_with_what_to_change():
    tool = Connector("c").tool()

    def blocking() -> str:
        """Do it."""

    async def untyped(text) -> str:
        """Do it."""

    async def silent() -> str:
        pass

    async def open_ended(**texts: str) -> str:
        """Do it."""

    async def no_return():
        """Do it."""

    for function, problem in [
        (blocking, "`blocking` would block every other call: define it with `async def`"),
        (untyped, "parameter `text` of `untyped` has no type"),
        (silent, "`silent` has no docstring"),
        (open_ended, r"`open_ended` takes `\*\*texts: str`"),
        (no_return, "`no_return` does not say what it returns"),
        (lambda: None, "cannot be a tool's name"),
    ]:
        with pytest.raises(TypeError, match=problem):
            tool(function)


@pytest.mark.parametrize(
    ("facts", "error", "problem"),
    [
        ({"price": 0.001}, ValueError, "write US dollars as text"),
        ({"price": "cheap"}, ValueError, "write US dollars as text"),
        ({"price": "-1"}, ValueError, "write US dollars as text"),
        ({"price": "0.0000001"}, ValueError, "at most six decimals"),
        ({"price": "inf"}, ValueError, "write US dollars as text"),
        ({"side_effect": "maybe"}, ValueError, "say one of reads, writes, destroys"),
        ({"labels": "pii"}, TypeError, r'write \("pii",\)'),
    ],
)
def test_a_wrong_fact_is_refused_when_it_is_written(facts, error, problem):
    with pytest.raises(error, match=problem):
        Connector("c").tool(**facts)


@pytest.mark.parametrize("name", ["", "Upper", "a__b", "1st", "a b", "x" * 33])
def test_a_name_that_cannot_be_part_of_a_tools_name_is_refused(name):
    with pytest.raises(ValueError, match="cannot be a connector's name"):
        Connector(name)


async def test_two_tools_of_one_name_are_refused():
    connector = Connector("c")

    @connector.tool()
    async def do() -> None:
        """Do it."""

    with pytest.raises(ValueError, match="two tools named `do`"):
        connector.tool()(do)


async def test_a_connector_is_an_upstream_that_offers_tools_only():
    connector: Upstream = Connector("c")
    for request in (Request(Method.GET_PROMPT, {"name": "x"}), Request(Method.CALL_TOOL, {"name": "x"})):
        with pytest.raises(UpstreamRefused):
            await connector.invoke(request, line())


async def test_a_decorated_function_can_still_be_called():
    connector = Connector("c")

    @connector.tool()
    async def double(number: int) -> int:
        """Double it."""
        return number * 2

    assert await double(4) == 8
