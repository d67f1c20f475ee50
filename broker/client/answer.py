"""What does an agent get? Tools, answers, and how far a call is."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self, cast

from broker.errors import BrokerError
from broker.model import Json

CALL, RECEIPT = "io.toolbroker/call", "io.toolbroker/receipt"


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool as this agent sees it. `definition` is the whole of it, for whatever else a model reads."""

    name: str
    description: str
    schema: Json = field(repr=False)
    """JSON Schema (2020-12) of the arguments."""
    definition: Json = field(repr=False, compare=False)

    @classmethod
    def of(cls, definition: Json) -> Self:
        """A tool from its definition on the wire."""
        description = str(definition.get("description") or "")
        return cls(str(definition["name"]), description, definition.get("inputSchema") or {}, definition)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a call is: `done` grows; `total` is what it will have reached, if that is known."""

    done: float
    total: float | None = None
    message: str | None = None


OnProgress = Callable[[Progress], object]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool answered, and what the broker says about the call. `result` is all of it, raw."""

    result: Json = field(repr=False)

    @property
    def text(self) -> str:
        """All text in the answer, one block after the other."""
        blocks = cast("list[Json]", self.result.get("content") or [])
        return "\n".join(str(block["text"]) for block in blocks if "text" in block)

    @property
    def data(self) -> Any:
        """The structured answer (`structuredContent`); None where the tool gives none."""
        return self.result.get("structuredContent")

    @property
    def call_id(self) -> str:
        """The broker's id of the call: the operator finds it in the log by that."""
        return str(self._told(CALL).get("id") or "")

    @property
    def cost_micro_usd(self) -> int:
        """What the call cost, in millionths of a US dollar."""
        return int(self._told(CALL).get("cost_micro_usd") or 0)

    @property
    def receipt(self) -> Json:
        """Proof that the call is in the log: `{log, index, leaf, size}` (RFC 6962)."""
        return self._told(RECEIPT)

    def _told(self, key: str) -> Json:
        return cast("Json", self.result.get("_meta", {})).get(key) or {}


class ToolFailed(BrokerError):
    """The call was made, and the tool says that it failed. `answer` holds what it says and what it cost."""

    code: ClassVar[str] = "tool_error"

    def __init__(self, tool: str, answer: Answer) -> None:
        super().__init__(answer.text or f"`{tool}` failed without saying why", call_id=answer.call_id)
        self.answer = answer
        self.cost_micro_usd = answer.cost_micro_usd
        self.receipt = answer.receipt
