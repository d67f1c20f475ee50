"""Does a rewritten result still keep its tool's promise?"""

from typing import Any, cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from broker.model import Json, Target


def fits(result: Json, target: Target) -> bool:
    """Whether `structuredContent` still has the form of the tool's `outputSchema`, where there is one."""
    schema: Any = target.definition.get("outputSchema")
    if not isinstance(schema, dict) or "structuredContent" not in result:
        return True
    try:
        return Draft202012Validator(cast("Json", schema)).is_valid(result["structuredContent"])  # pyright: ignore[reportUnknownMemberType]
    except SchemaError:
        return False
