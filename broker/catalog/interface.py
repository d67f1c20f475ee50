"""What exists? What the pipeline asks of the catalogue."""

from collections.abc import Sequence
from typing import Protocol

from broker.connector import Line
from broker.model import Answer, Call, Json, Kind, Method, Target


class Catalog(Protocol):
    """Everything that can be called, under its exposed name."""

    @property
    def version(self) -> int:
        """Grows with every change of what exists."""
        ...

    def targets(self, kind: Kind) -> Sequence[Target]:
        """All targets of one kind, in a stable order."""
        ...

    def find(self, call: Call) -> Target | None:
        """The target a call names; None if nothing has that name."""
        ...

    async def invoke(self, method: Method, target: Target, params: Json, line: Line) -> Answer:
        """Have the target's connector do it; names and URIs are mapped both ways.

        Raises:
            UpstreamError: unreachable, refused or lost. No other exception leaves.
        """
        ...
