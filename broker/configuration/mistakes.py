"""What is wrong with a configuration, in the operator's words: one line with its place for each mistake."""

import difflib
from collections.abc import Mapping
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from broker.configuration.places import Key
from broker.errors import ConfigurationError
from broker.settings import Section, Settings


def explained(error: ValidationError, origins: Mapping[Key, str], file: str) -> ConfigurationError:
    """The same mistakes with file and line, and the first useful hint."""
    mistakes = [_mistake(detail, origins, file) for detail in error.errors()]
    hint = next((hint for _, hint in mistakes if hint), "`broker config schema` lists every setting")
    return ConfigurationError("\n".join(message for message, _ in mistakes), hint=hint)


def section_of(annotation: object) -> type[Section] | None:
    """The section a field holds, if it holds one."""
    return annotation if isinstance(annotation, type) and issubclass(annotation, Section) else None


def _mistake(detail: ErrorDetails, origins: Mapping[Key, str], file: str) -> tuple[str, str | None]:
    key = tuple(str(part) for part in detail["loc"])
    place = _place(key, origins) or file
    if detail["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key[-1], _names_in(key[:-1]), 1)
        return f"{place}: unknown key `{key[-1]}`", f"did you mean `{near[0]}`?" if near else None
    name = ".".join(key)
    if detail["type"] == "missing":
        return f"{place}: `{name}` is missing", None
    message = detail["msg"].removeprefix("Value error, ").replace("Input should be", "must be", 1)
    given = "" if isinstance(detail["input"], Mapping) else f", not `{detail['input']}`"
    return f"{place}: `{name}` {message[:1].lower()}{message[1:]}{given}", None


def _place(key: Key, origins: Mapping[Key, str]) -> str | None:
    """Where a key is set: itself, what is inside it, or what it would be inside of."""
    inside = (origin for other, origin in origins.items() if other[: len(key)] == key)
    above = (origins[key[:n]] for n in range(len(key) - 1, 0, -1) if key[:n] in origins)
    return origins.get(key) or next(inside, None) or next(above, None)


def _names_in(key: Key) -> list[str]:
    """The settings that a section knows. What is inside a table of sections is one of its values."""
    model: type[BaseModel] = Settings
    for name in key:
        annotation = model.model_fields[name].annotation if name in model.model_fields else None
        inner = section_of(annotation) or next(filter(None, map(section_of, get_args(annotation))), None)
        model = inner or model
    return list(model.model_fields)
