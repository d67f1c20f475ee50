"""What does the operator API look like to a program? Its OpenAPI 3.1 document, made of its operations."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from broker.edges.admin.operation import PARTS, PREFIX, AnyOperation
from broker.edges.admin.shapes import Refusal
from broker.identity.operators import Right
from broker.model import Json

_REFUSED: Final = {
    "400": "what was sent cannot be understood",
    "401": "no valid token of an operator",
    "403": "the operator lacks the right, or the request comes from a page of another site",
    "404": "there is no such thing",
    "409": "what is there now does not allow it",
    "413": "the body is too large",
    "429": "too many wrong tokens for this operator from this address",
    "503": "nothing can be recorded now, so nothing was done",
}


def document(operations: Sequence[AnyOperation]) -> Json:
    """The OpenAPI document."""
    schemas, names = _schemas(operations)
    paths: dict[str, Json] = {}
    for operation in operations:
        paths.setdefault(f"{PREFIX}{operation.path}", {})[operation.method.lower()] = _described(
            operation, names
        )
    rights = ", ".join(f"`{right}`" for right in Right)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Broker operator API",
            "version": version("mcp-tool-broker"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": f"For people who run the broker. Rights of operators: {rights}.",
        },
        "security": [{"operator": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {
                f"Refused{status}": _response(why, {"$ref": names[Refusal]})
                for status, why in _REFUSED.items()
            },
            "securitySchemes": {
                "operator": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "what `broker operator add` prints; an agent's token is of no use here",
                }
            },
        },
    }


def _schemas(operations: Sequence[AnyOperation]) -> tuple[Json, dict[type[BaseModel], str]]:
    """The schemas of all bodies and answers, and under which reference each is found."""
    bodies = [(operation.body, "validation") for operation in operations if operation.takes_body]
    answers = [(operation.answer, "serialization") for operation in operations]
    wanted: list[Any] = list(dict.fromkeys([*bodies, *answers, (Refusal, "serialization")]))
    found, definitions = models_json_schema(wanted, ref_template="#/components/schemas/{model}")
    names = {model: str(schema["$ref"]) for (model, _), schema in found.items()}
    return definitions.get("$defs", {}), names  # pyright: ignore[reportReturnType] - classes of models


def _described(operation: AnyOperation, names: dict[type[BaseModel], str]) -> Json:
    right = f"Needs the right `{operation.right}`." if operation.right else "Every operator may."
    described: Json = {
        "operationId": operation.serve.__qualname__.replace(".", "_").lower(),  # pyright: ignore[reportFunctionMemberAccess] - a method
        "summary": operation.says,
        "description": right,
        "x-right": operation.right,
        "tags": [operation.path.split("/")[1]],
        "parameters": [*_path_parameters(operation), *_query_parameters(operation)],
        "responses": {
            str(operation.status): _response(operation.says, {"$ref": names[operation.answer]}),
            **{status: {"$ref": f"#/components/responses/Refused{status}"} for status in _REFUSED},
        },
    }
    if operation.takes_body:
        content = {"application/json": {"schema": {"$ref": names[operation.body]}}}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _path_parameters(operation: AnyOperation) -> list[Json]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": PARTS[name].what,
            "schema": {"type": "string", "pattern": f"^{PARTS[name].pattern}$"},
        }
        for name in operation.parts
    ]


def _query_parameters(operation: AnyOperation) -> list[Json]:
    schema = operation.query.model_json_schema()
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "description": described.get("description", ""),
            "schema": _given(described),
        }
        for name, described in schema.get("properties", {}).items()
    ]


def _given(described: Json) -> Json:
    """The schema of a parameter that is there: in a URL there is no null, it is left out instead."""
    options = [option for option in described.get("anyOf", ()) if option != {"type": "null"}]
    schema = {key: value for key, value in described.items() if key not in {"anyOf", "title", "description"}}
    if options:
        schema |= options[0]
    if schema.get("default", ...) is None:
        del schema["default"]
    return schema


def _response(why: str, schema: Json) -> Json:
    return {"description": why, "content": {"application/json": {"schema": schema}}}
