"""What goes in and out of the operator API? The parts that all its resources share.

Every shape is closed: a name that nobody knows is a mistake, and not ignored.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

T = TypeVar("T")

MOST_ITEMS = 200


class Shape(BaseModel):
    """A JSON object of the API."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Query(BaseModel):
    """Parameters of a URL: texts, of which numbers are made."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _whole(text: Any) -> Any:
    if isinstance(text, str):
        if not (text.isascii() and text.isdigit() and len(text) <= 9):
            raise PydanticCustomError("whole_number", "must be a whole number")
        return int(text)
    return text


class PagedQuery(Query):
    """What every list understands."""

    limit: Annotated[int, BeforeValidator(_whole)] = Field(
        default=50, ge=1, le=MOST_ITEMS, description="how many items at most"
    )
    cursor: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_-]{1,2000}$",
        description="`next` of the page before; belongs to this list, its filters and this operator",
    )


class Page(Shape, Generic[T]):
    """Part of a list. It may be shorter than asked for; the list ends where `next` is null."""

    items: list[T]
    next: str | None = Field(description="the `cursor` of the next page; null: there is none")


VISIBLE = r"^[^\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]*$"

Line = Annotated[str, Field(max_length=256, pattern=VISIBLE)]
"""One line of text without invisible characters: it goes into a log that people read."""

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
"""A name of an agent or organisation."""


def _whole_number(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, BeforeValidator(_whole_number)]
"""A whole number in a body; to JSON `4.0` is one, too."""

MicroDollars = Annotated[
    int,
    Field(ge=0, le=10**15, description="in millionths of a US dollar"),
    BeforeValidator(_whole_number),
]

Time = AwareDatetime


class Because(Shape):
    """Why something is done."""

    reason: Line = Field(default="", description="goes into the log")


class Nothing(Shape):
    """No body."""


class NoQuery(Query):
    """No parameters."""


class Rule(Shape):
    """A rule that led to a refusal."""

    rule: str
    text: str


class Mistake(Shape):
    """What went wrong."""

    code: str = Field(description="stable; docs/errors.md explains each")
    message: str = Field(description="one sentence of fact")
    hint: str | None = Field(default=None, description="what to do next")
    because: list[Rule] | None = None
    call: str | None = None


class Refusal(Shape):
    """The one shape of errors."""

    error: Mistake


def time_of(at: int) -> datetime:
    """Unix seconds as a time."""
    return datetime.fromtimestamp(at, UTC)


def time_or_none(at: int | None) -> datetime | None:
    """Unix seconds as a time; 0 and None are no time."""
    return time_of(at) if at else None
