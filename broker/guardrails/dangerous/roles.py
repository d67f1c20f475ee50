"""What is an argument for? Its name and its JSON Schema tell, and the operator may tell better."""

import re
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Any, cast

from broker.guardrails.message import Path
from broker.model import Json, Target


class Role(StrEnum):
    """The roles in which a payload is dangerous."""

    PATH = "path"
    FILENAME = "filename"
    ID = "id"
    URL = "url"
    NONE = "none"
    """Free text, queries, code: anything may stand there."""


_NAMES: tuple[tuple[Role, re.Pattern[str]], ...] = (
    (Role.FILENAME, re.compile(r"(?:^|_)(?:file_?name|base_?name|attachment_name)$")),
    (Role.URL, re.compile(r"(?:^|_)(?:urls?|uris?|href|link|endpoint|webhook|callback)$")),
    (
        Role.PATH,
        re.compile(
            r"(?:^|_)(?:paths?|file_?paths?|files?|dirs?|director(?:y|ies)|folders?|cwd|root|workdir|dest|destination)$"
        ),
    ),
    (Role.ID, re.compile(r"(?:^|_)(?:ids?|uuids?|guid|identifier|sku|slug)$")),
)
_FORMATS: Mapping[str, Role] = {
    "uri": Role.URL,
    "uri-reference": Role.URL,
    "iri": Role.URL,
    "uuid": Role.ID,
    "path": Role.PATH,
    "file-path": Role.PATH,
    "directory-path": Role.PATH,
}
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def role_of(target: Target, path: Path) -> Role:
    """The role of the argument at a path of the call's parameters."""
    name = next((step for step in reversed(path) if isinstance(step, str)), "")
    declared = _format(target.definition.get("inputSchema"), path[1:])
    return _FORMATS.get(declared) or _by_name(name)


@lru_cache(maxsize=4096)
def _by_name(name: str) -> Role:
    plain = _CAMEL.sub("_", name[:64]).lower().replace("-", "_")
    return next((role for role, pattern in _NAMES if pattern.search(plain)), Role.NONE)


def _format(schema: Any, path: Path) -> str:
    for step in path:
        fields = _fields(schema)
        schema = fields.get("items") if isinstance(step, int) else _fields(fields.get("properties")).get(step)
    declared = _fields(schema).get("format")
    return declared if isinstance(declared, str) else ""


def _fields(value: Any) -> Json:
    return cast("Json", value) if isinstance(value, dict) else {}
