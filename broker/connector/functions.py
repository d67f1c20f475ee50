"""How does a typed function become a tool? Everything is built once, when the function is decorated."""

import inspect
import logging
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, ParamSpec, TypeVar, get_type_hints

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model
from pydantic.json_schema import GenerateJsonSchema

from broker.connector.interface import Host, Line, Offer, Request
from broker.errors import BrokerError, UpstreamRefused
from broker.model import Answer, Json, Method

logger = logging.getLogger("broker.connector")

P = ParamSpec("P")
R = TypeVar("R")

METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
MOST_PROBLEMS = 5
_CONNECTOR_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SIDE_EFFECTS = ("reads", "writes", "destroys")
_LONGEST_CACHE_S = 86_400


class NoSettings(BaseModel):
    """The settings of a connector that has none."""

    model_config = ConfigDict(extra="forbid")


class ToolFailed(Exception):
    """Raised by a tool to say, in a sentence for the model that called it, why it could not do it."""


class Connector:
    """A connector made of typed functions. An instance is an `Upstream`.

    Args:
        name: lower case letters, digits, `-` and `_`; the operator may mount it under another one.
    """

    def __init__(self, name: str) -> None:
        if not _CONNECTOR_NAME.fullmatch(name) or "__" in name:
            raise ValueError(
                f"`{name}` cannot be a connector's name: begin with a lower case letter, "
                "go on with lower case letters, digits, `-` and single `_`"
            )
        self.name = name
        self.settings: type[BaseModel] = NoSettings
        self._tools: dict[str, _Tool] = {}

    def tool(
        self,
        *,
        price: str | None = None,
        side_effect: Literal["reads", "writes", "destroys"] = "writes",
        labels: Iterable[str] = (),
        cache_s: int = 0,
        title: str | None = None,
    ) -> Callable[[Callable[P, Awaitable[R]]], Callable[P, Awaitable[R]]]:
        """Offer an async function as a tool: its signature is the schema, its docstring the description.

        A parameter annotated `Line` receives the open call and is not part of the schema. A
        function whose return type is `Answer` returns the MCP result itself, and what it cost.

        Args:
            price: the worst case of one call in US dollars, e.g. `"0.001"`.
            side_effect: what a call does to the world; retries and replays depend on it.
            labels: what policies should know about it, e.g. `("untrusted-source",)`.
            cache_s: of a tool that only reads: for how many seconds the same arguments get the same answer,
                whoever of the same roles asks.
            title: a name for humans.

        Raises:
            TypeError: the function cannot be a tool; the message says what to change.
            ValueError: so with an argument of this decorator.
        """
        facts = _facts(price, side_effect, labels)
        if cache_s:
            facts["cache_s"] = _checked_cache(cache_s, side_effect)

        def register(function: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
            built = _build(function, facts, title)
            if built.name in self._tools:
                raise ValueError(f"`{self.name}` has two tools named `{built.name}`: rename one")
            self._tools[built.name] = built
            return function

        return register

    async def open(self, settings: BaseModel, host: Host) -> None:
        """Nothing to get ready."""

    async def close(self) -> None:
        """Nothing to let go of."""

    async def offer(self) -> Offer:
        """The decorated functions."""
        return Offer(
            tools=[tool.definition for tool in self._tools.values()],
            facts={name: tool.facts for name, tool in self._tools.items()},
        )

    async def invoke(self, request: Request, line: Line) -> Answer:
        """Call the function that the request names.

        Raises:
            UpstreamRefused: it is no call of a tool, or there is no tool of that name.
        """
        if request.method is not Method.CALL_TOOL:
            raise UpstreamRefused(f"`{self.name}` offers tools only", rpc_code=METHOD_NOT_FOUND)
        tool = self._tools.get(request.params.get("name", ""))
        if tool is None:
            raise UpstreamRefused(f"`{self.name}` has no such tool", rpc_code=INVALID_PARAMS)
        return await tool.call(request.params.get("arguments"), line)

    async def watch(self, uri: str) -> None:
        """There are no resources to watch."""

    async def unwatch(self, uri: str) -> None:
        """There are no resources to watch."""


@dataclass(frozen=True, slots=True)
class _Tool:
    """One function with all that was derived from it. `fields` maps the model's fields to parameters."""

    name: str
    function: Callable[..., Awaitable[Any]]
    definition: Json
    facts: Json
    arguments: type[BaseModel]
    fields: dict[str, str]
    line_parameter: str | None
    result: "_Result"

    async def call(self, arguments: object, line: Line) -> Answer:
        """Check the arguments, call the function, shape what it returns."""
        try:
            checked = self.arguments.model_validate_json(orjson.dumps(arguments or {}))
        except ValidationError as error:
            return _failed(_explain(self.name, error, list(self.fields.values())))
        keywords = {name: getattr(checked, key) for key, name in self.fields.items()}
        if self.line_parameter:
            keywords[self.line_parameter] = line
        try:
            return self.result.answer(await self.function(**keywords))
        except BrokerError:
            raise
        except ToolFailed as failure:
            return _failed(str(failure))
        except Exception:  # third-party code: what went wrong in it is for the operator's eyes
            logger.exception("tool %s failed in call %s", self.name, line.call_id)
            return _failed(f"`{self.name}` failed; the operator can look up call {line.call_id}")


class _Result:
    """How a return value becomes an MCP result, after its annotated type."""

    def __init__(self, annotation: Any) -> None:
        self.raw = annotation is Answer
        self.text_only = annotation in (str, None, type(None))
        self._adapter: TypeAdapter[Any] | None = None if self.raw else TypeAdapter(annotation)
        self.schema: Json | None = None
        self._wrapped = False
        if self._adapter is None or self.text_only:
            return
        schema = self._adapter.json_schema(mode="serialization", schema_generator=_Plain)
        self._wrapped = schema.get("type") != "object"
        if self._wrapped:
            definitions = schema.pop("$defs", None)
            schema = {"type": "object", "properties": {"result": schema}, "required": ["result"]}
            if definitions:
                schema["$defs"] = definitions
        self.schema = schema

    def answer(self, value: Any) -> Answer:
        """The result for one return value; one of another type than annotated is the author's bug."""
        if self.raw:
            if not isinstance(value, Answer):
                raise TypeError("annotated to return `Answer`, and returned something else")
            return value
        assert self._adapter is not None  # noqa: S101  # only a raw result has none
        data = self._adapter.dump_python(self._adapter.validate_python(value), mode="json", by_alias=True)
        if self.text_only:
            return Answer({"content": [] if data is None else [_text(data)]})
        structured = {"result": data} if self._wrapped else data
        return Answer({"content": [_text(orjson.dumps(data).decode())], "structuredContent": structured})


class _Plain(GenerateJsonSchema):
    """JSON Schema 2020-12 without the titles that pydantic makes of names: a model reads every token."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002  # pydantic's signature
        """Never: the name says it."""
        return False


def _build(function: Callable[..., Any], facts: Json, title: str | None) -> _Tool:
    name = getattr(function, "__name__", "")
    if not _TOOL_NAME.fullmatch(name):
        raise TypeError(f"`{name}` cannot be a tool's name: define it with `async def` and a plain name")
    if not inspect.iscoroutinefunction(function):
        raise TypeError(f"`{name}` would block every other call: define it with `async def`")
    description = inspect.getdoc(function)
    if not description:
        raise TypeError(f"`{name}` has no docstring: it is what a model reads to decide whether to call it")
    hints = get_type_hints(function, include_extras=True)
    if "return" not in hints:
        raise TypeError(f"`{name}` does not say what it returns: annotate it, e.g. `-> dict[str, str]`")
    arguments, fields, line_parameter = _parameters(name, function, hints)
    result = _Result(hints["return"])
    definition: Json = {"name": name, "description": description, "inputSchema": _input_schema(arguments)}
    if title:
        definition["title"] = title
    if result.schema:
        definition["outputSchema"] = result.schema
    definition["annotations"] = _annotations(facts["side_effect"])
    return _Tool(name, function, definition, facts, arguments, fields, line_parameter, result)


def _parameters(
    name: str, function: Callable[..., Any], hints: Json
) -> tuple[type[BaseModel], dict[str, str], str | None]:
    """The model of the arguments. Its fields have names of their own, so that a parameter may have any."""
    fields: dict[str, Any] = {}
    names: dict[str, str] = {}
    line_parameter = None
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TypeError(f"`{name}` takes `{parameter}`: name every parameter, arguments come by name")
        if parameter.name not in hints:
            raise TypeError(f"parameter `{parameter.name}` of `{name}` has no type: annotate it")
        if hints[parameter.name] is Line:
            line_parameter = parameter.name
            continue
        default = ... if parameter.default is parameter.empty else parameter.default
        key = f"p{len(fields)}"
        fields[key] = (hints[parameter.name], Field(default=default, alias=parameter.name))
        names[key] = parameter.name
    model = create_model(f"{name}Arguments", __config__=ConfigDict(extra="forbid"), **fields)
    return model, names, line_parameter


def _input_schema(arguments: type[BaseModel]) -> Json:
    schema = arguments.model_json_schema(schema_generator=_Plain)
    schema.pop("title", None)
    return schema


def _facts(price: str | None, side_effect: str, labels: Iterable[str]) -> Json:
    if side_effect not in _SIDE_EFFECTS:
        raise ValueError(f"side_effect is {side_effect!r}: say one of {', '.join(_SIDE_EFFECTS)}")
    if isinstance(labels, str):
        raise TypeError(f'labels is the text "{labels}": write ("{labels}",)')
    facts: Json = {"side_effect": side_effect, "labels": tuple(labels)}
    if price is not None:
        facts["price"] = _checked_price(price)
    return facts


def _checked_cache(seconds: object, side_effect: str) -> int:
    if side_effect != "reads":
        raise ValueError(
            f'a tool that {side_effect} is called every time: cache_s is for side_effect="reads"'
        )
    if not isinstance(seconds, int) or not 0 < seconds <= _LONGEST_CACHE_S:
        raise ValueError(f"cache_s is {seconds!r}: write whole seconds, 1 to {_LONGEST_CACHE_S}")
    return seconds


def _checked_price(price: object) -> str:
    hint = 'write US dollars as text with at most six decimals, e.g. "0.001"'
    try:
        amount = Decimal(price) if isinstance(price, str) else None
    except InvalidOperation:
        amount = None
    if amount is None or not amount.is_finite() or amount < 0 or amount != round(amount, 6):
        raise ValueError(f"price is {price!r}: {hint}")
    return str(price)


def _annotations(side_effect: str) -> Json:
    if side_effect == "reads":
        return {"readOnlyHint": True}
    return {"readOnlyHint": False, "destructiveHint": side_effect == "destroys"}


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


def _failed(text: str) -> Answer:
    return Answer({"content": [_text(text)], "isError": True})


def _explain(tool: str, error: ValidationError, parameters: list[str]) -> str:
    """What to mend, in words for the model. Holds no value: it might be a secret, or very long."""
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    takes = ", ".join(f"`{name}`" for name in parameters) or "no arguments"
    lines = [f"`{tool}` was not called:"]
    for problem in problems[:MOST_PROBLEMS]:
        place = ".".join(str(part) for part in problem["loc"])
        match problem["type"]:
            case "missing":
                lines.append(f"- `{place}` is missing")
            case "extra_forbidden":
                lines.append(f"- there is no argument `{place[:64]}`; it takes {takes}")
            case _:
                message = problem["msg"]
                lines.append(f"- `{place or 'arguments'}`: {message[:1].lower()}{message[1:]}")
    if len(problems) > MOST_PROBLEMS:
        lines.append(f"- and {len(problems) - MOST_PROBLEMS} more")
    lines.append("hint: mend these and call it again")
    return "\n".join(lines)
