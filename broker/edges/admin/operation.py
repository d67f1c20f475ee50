"""What can be asked of the operator API? One `Operation` each: where, with which right, in which shapes."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Literal, TypeVar

from pydantic import BaseModel

from broker.edges.admin.shapes import NoQuery, Nothing, Query, Shape
from broker.identity.operators import Operator, Right

AskedQuery_co = TypeVar("AskedQuery_co", bound=Query, covariant=True)
AskedBody_co = TypeVar("AskedBody_co", bound=Shape, covariant=True)
Q = TypeVar("Q", bound=Query)
B = TypeVar("B", bound=Shape)

Verb = Literal["GET", "POST", "PATCH", "DELETE"]

PREFIX: Final = "/admin/api"


@dataclass(frozen=True, slots=True)
class Part:
    """A variable part of a path: what it looks like and what it names."""

    pattern: str
    what: str


PARTS: Final[Mapping[str, Part]] = {
    "agent": Part(r"[a-z0-9][a-z0-9._-]{0,63}", "an agent's id"),
    "approval": Part(r"[0-9a-f]{12}", "an approval's id"),
    "call": Part(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "a call's id (UUID)"),
    "connector": Part(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", "a connector's name"),
    "grant": Part(r"[A-Za-z0-9_-]{1,64}", "a grant's id"),
    "kid": Part(r"[A-Za-z0-9_-]{1,64}", "a key's thumbprint (RFC 7638)"),
}
"""Every variable part of a path. What does not look like it does not exist."""


@dataclass(frozen=True, slots=True)
class Asked(Generic[AskedQuery_co, AskedBody_co]):
    """A request of an operator who may make it; everything in it has been checked for its shape."""

    operator: Operator
    path: Mapping[str, str]
    query: AskedQuery_co
    body: AskedBody_co


@dataclass(frozen=True, slots=True)
class Operation(Generic[Q, B]):
    """One thing that operators can do. The first line of `serve`'s docstring is what the document says."""

    method: Verb
    path: str
    right: Right | None
    """None: every operator may."""
    serve: Callable[[Asked[Q, B]], Awaitable[BaseModel]]
    answer: type[BaseModel]
    query: type[Q] = field(default=NoQuery)  # pyright: ignore[reportAssignmentType] - Q where none is given
    body: type[B] = field(default=Nothing)  # pyright: ignore[reportAssignmentType] - B where none is given
    status: int = 200

    @property
    def takes_body(self) -> bool:
        """Whether a request has a body."""
        return self.body is not Nothing

    @property
    def parts(self) -> list[str]:
        """The names of the variable parts of its path."""
        return re.findall(r"{(\w+)}", self.path)

    @property
    def says(self) -> str:
        """What it does, in one line."""
        return (self.serve.__doc__ or "").strip().partition("\n")[0]

    @property
    def pattern(self) -> re.Pattern[str]:
        """What its path looks like below the prefix."""
        return re.compile(
            re.sub(r"{(\w+)}", lambda part: f"(?P<{part[1]}>{PARTS[part[1]].pattern})", self.path)
        )


AnyOperation = Operation[Any, Any]
