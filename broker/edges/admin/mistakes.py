"""What is wrong with what an operator sent? In their words, one line for all of it."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from broker.edges.admin.shapes import VISIBLE
from broker.errors import InvalidRequest

M = TypeVar("M", bound=BaseModel)

_MOST = 5


def checked(shape: type[M], given: Mapping[str, Any], where: str) -> M:
    """What was given, in its shape.

    Args:
        shape: what it has to look like.
        given: what came.
        where: names it in the message.

    Raises:
        InvalidRequest: it does not look like that; says each mistake, and what may have been meant.
    """
    try:
        return shape.model_validate(given)
    except ValidationError as error:
        raise _explained(shape, error.errors(include_url=False), where) from None


def _explained(shape: type[BaseModel], details: Sequence[ErrorDetails], where: str) -> InvalidRequest:
    told = [_mistake(detail) for detail in details[:_MOST]]
    if len(details) > _MOST:
        told.append(f"and {len(details) - _MOST} more")
    unknown = [str(d["loc"][-1]) for d in details if d["type"] == "extra_forbidden" and len(d["loc"]) == 1]
    near = difflib.get_close_matches(unknown[0], shape.model_fields, 1) if unknown else []
    hint = f"did you mean `{near[0]}`?" if near else None
    if unknown and not near:
        known = ", ".join(f"`{name}`" for name in shape.model_fields)
        hint = f"known: {known}" if known else "nothing can be given here"
    return InvalidRequest(f"{where}: {'; '.join(told)}", hint=hint)


def _mistake(detail: ErrorDetails) -> str:
    name = ".".join(str(part)[:80] for part in detail["loc"]) or "it"
    if detail["type"] == "extra_forbidden":
        return f"`{name}` is unknown"
    if detail["type"] == "missing":
        return f"`{name}` is missing"
    if detail["type"] == "string_pattern_mismatch":
        pattern = detail.get("ctx", {}).get("pattern")
        wanted = "be one line of visible characters" if pattern == VISIBLE else f"match `{pattern}`"
        return f"`{name}` has to {wanted}"
    said = detail["msg"].removeprefix("Value error, ").replace("Input should", "should", 1)
    return f"`{name}` {said[:1].lower()}{said[1:]}"
