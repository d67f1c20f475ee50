"""How does an agent that speaks only MCP ask a model? By a tool of its connector, `<connector>__generate`.

The tool is only another way in: what is judged, priced and recorded is the call of the model that it names,
as if it had come under `/v1/`. So whoever may use a model may ask it so, and nobody else sees the tool.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from broker.edges.mcp.wire import INVALID_PARAMS, Rejected
from broker.errors import Denied
from broker.formats import FORMATS
from broker.formats.plain import Question, put, said, spoken
from broker.model import Call, Json, Kind, Method, Principal, Target
from broker.pipeline import Pipeline, Released

ENDING: Final = "__generate"

_HOTTEST: Final = 2
_TEXT: Final[Json] = {"type": "string"}
_COUNT: Final[Json] = {"type": "integer", "minimum": 0}
_OUTPUT: Final[Json] = {
    "type": "object",
    "properties": {
        "model": _TEXT,
        "text": {**_TEXT, "description": "the answer"},
        "why_ended": {**_TEXT, "description": "in the provider's words, e.g. `stop` or `length`"},
        "usage": {
            "type": "object",
            "description": "tokens: read in all, read out of a cache, written",
            "properties": {"read": _COUNT, "cached": _COUNT, "wrote": _COUNT},
            "required": ["read", "cached", "wrote"],
        },
        "max_tokens": {
            "type": "integer",
            "description": "how much it was left to write, where that is less than was asked for",
        },
    },
    "required": ["model", "text"],
}


class Generating:
    """The tools that models are asked by."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def tools(self, principal: Principal) -> list[Json]:
        """One for each connector with models that this chain may ask; they are all that it names."""
        models = self._visible(principal)
        names = dict.fromkeys(model.connector for model in models)
        taken = {target.name for target in self._pipeline.catalog.targets(Kind.TOOL)} if names else set[str]()
        return [
            definition(connector, [model.name for model in models if model.connector == connector])
            for connector in names
            if connector + ENDING not in taken
        ]

    async def resolved(self, call: Call) -> Call:
        """The call of a model that a call of such a tool stands for; every other call as it is.

        Raises:
            Rejected: an argument is missing or wrong. Unauthenticated: the token is no longer valid.
        """
        catalog = self._pipeline.catalog
        if call.method is not Method.CALL_TOOL or not call.name.endswith(ENDING) or catalog.find(call):
            return call
        try:
            principal = await self._pipeline.speaker(call.token, call.delegation)
        except Denied:
            return call  # the pipeline will say so, and record it
        connector = call.name.removesuffix(ENDING)
        models = {model.name: model for model in self._visible(principal) if model.connector == connector}
        if not models:
            return call  # there is no such tool for this chain
        arguments: Json = call.params.get("arguments", {})
        question = _question(arguments, sorted(models))
        model = models[question.model]
        method = _method(model)
        body = put(method, question, model.definition.get("limit", "max_completion_tokens"))
        return replace(call, method=method, name=model.name, params=body)

    def _visible(self, principal: Principal) -> list[Target]:
        if not self._pipeline.catalog.targets(Kind.MODEL):
            return []
        seen = self._pipeline.shown(principal, Kind.MODEL)
        return [model for model in seen if spoken(model.definition["methods"])]


def definition(connector: str, models: Sequence[str]) -> Json:
    """The tool of one connector, as `tools/list` has it."""
    properties: Json = {
        "model": {**_TEXT, "enum": list(models), "description": "which model to ask"},
        "prompt": {**_TEXT, "minLength": 1, "description": "what to ask it; it knows nothing else"},
        "system": {**_TEXT, "description": "how it should answer"},
        "max_tokens": {
            "type": "integer",
            "minimum": 1,
            "description": "how long the answer may be; it may get less if a budget holds no more",
        },
        "temperature": {"type": "number", "minimum": 0, "maximum": _HOTTEST},
    }
    return {
        "name": connector + ENDING,
        "title": f"Ask a model of {connector}",
        "description": "Ask a language model one question and get its whole answer. Each call is charged.",
        "inputSchema": {
            "type": "object",
            "properties": properties,
            "required": ["model", "prompt"],
            "additionalProperties": False,
        },
        "outputSchema": _OUTPUT,
        "annotations": {"readOnlyHint": True, "openWorldHint": True},
    }


def result(released: Released, method: Method) -> Json:
    """What a model has said, as the result of a tool."""
    answer, usage = said(method, released.body), FORMATS[method].usage(released.body)
    told: Json = {"model": released.body.get("model"), "text": answer.text, "why_ended": answer.why}
    if usage is not None:
        told["usage"] = {"read": usage.read, "cached": usage.cached, "wrote": usage.wrote}
    told["max_tokens"] = released.clamped
    structured = {key: value for key, value in told.items() if value is not None}
    return {"content": [{"type": "text", "text": answer.text}], "structuredContent": structured}


def _method(model: Target) -> Method:
    method = spoken(model.definition["methods"])
    assert method is not None  # noqa: S101  # only such models are offered
    return method


def _question(arguments: Json, models: Sequence[str]) -> Question:
    wrong = _wrong(arguments, models)
    if wrong is not None:
        raise Rejected(INVALID_PARAMS, wrong)
    return Question(
        arguments["model"],
        arguments["prompt"],
        arguments.get("system"),
        arguments.get("max_tokens"),
        arguments.get("temperature"),
    )


def _wrong(arguments: Json, models: Sequence[str]) -> str | None:
    """What is wrong with the arguments, as a sentence; None if nothing is."""
    prompt, system = arguments.get("prompt"), arguments.get("system")
    most, heat = arguments.get("max_tokens"), arguments.get("temperature")
    unknown = sorted(arguments.keys() - definition("", ())["inputSchema"]["properties"].keys())
    checks = (
        (not unknown, f"there is no argument `{''.join(unknown[:1])[:60]}`"),
        (arguments.get("model") in models, f"`model` is one of `{'`, `'.join(models)}`"),
        (isinstance(prompt, str) and prompt, "`prompt` has to be a text"),
        (isinstance(system, str | None), "`system` has to be a text"),
        (most is None or (type(most) is int and most > 0), "`max_tokens` has to be a whole number above 0"),
        (heat is None or _warm(heat), f"`temperature` has to be a number from 0 to {_HOTTEST}"),
    )
    return next((why for fine, why in checks if not fine), None)


def _warm(heat: object) -> bool:
    return isinstance(heat, int | float) and not isinstance(heat, bool) and 0 <= heat <= _HOTTEST
