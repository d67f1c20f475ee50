"""What does the stand-in of a provider answer? What the last message asks for, one word a token.

    fail 429                 the error of this status
    count to 40              forty tokens
    use the tool             a call of the first tool that is offered, with made-up arguments
    ignore the limit         more than `max_tokens` allows
    step by step             streamed pieces wait until the test lets them go
    repeat exactly: ...      these very characters, one token a word

Anything else is told back.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any

FAIL = re.compile(r"\bfail (\d{3})\b")
COUNT = re.compile(r"\bcount to (\d+)\b")
EXACTLY = re.compile(r"repeat exactly: (.*)", re.DOTALL)


@dataclass(frozen=True)
class Asked:
    """What a request comes to in every format."""

    prompt: str
    read: int
    """Tokens of the input."""
    most: int | None
    """Tokens of the output that are allowed."""
    tool: tuple[str, dict[str, Any]] | None = None
    """The first tool that is offered: its name and the schema of its arguments."""
    schema: dict[str, Any] | None = None
    """What a structured answer has to look like."""


@dataclass(frozen=True)
class Plan:
    """An answer: pieces of text, or of a tool's arguments, one token each."""

    pieces: list[str] = field(default_factory=list)
    tool: str | None = None
    cut: bool = False
    """Whether the limit of tokens ended it."""
    status: int = 0
    stepped: bool = False

    @property
    def tokens(self) -> int:
        return len(self.pieces)

    @property
    def text(self) -> str:
        return "".join(self.pieces)


def words(text: str) -> list[str]:
    """Pieces of a text that are all of it together."""
    return re.findall(r"\s*\S+|\s+$", text)


def think(asked: Asked) -> Plan:
    prompt = asked.prompt
    if failure := FAIL.search(prompt):
        return Plan([f"this request was made to fail with {failure[1]}"], status=int(failure[1]))
    tool = asked.tool[0] if asked.tool and "use the tool" in prompt else None
    pieces = words(_said(asked, tool))
    limited = asked.most is not None and len(pieces) > asked.most and "ignore the limit" not in prompt
    return Plan(
        pieces[: asked.most] if limited else pieces,
        tool=tool,
        cut=limited,
        stepped="step by step" in prompt,
    )


def _said(asked: Asked, tool: str | None) -> str:
    if tool is not None and asked.tool:
        return json.dumps(_example(asked.tool[1]))
    if asked.schema is not None:
        return json.dumps(_example(asked.schema))
    if exactly := EXACTLY.search(asked.prompt):
        return exactly[1]
    if counted := COUNT.search(asked.prompt):
        return " ".join(str(number) for number in range(1, int(counted[1]) + 1))
    return f"You said: {asked.prompt}"


def _example(schema: dict[str, Any], definitions: dict[str, Any] | None = None) -> Any:
    """The simplest value that a schema allows."""
    definitions = schema.get("$defs", definitions)
    if "$ref" in schema:
        return _example((definitions or {})[schema["$ref"].rpartition("/")[2]], definitions)
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    if kind == "object":
        return {name: _example(sub, definitions) for name, sub in schema.get("properties", {}).items()}
    if kind == "array":
        return [_example(schema["items"], definitions)]
    return {"integer": 7, "number": 7, "boolean": True}.get(str(kind), "Paris")
