"""How does a caller learn that its call still waits for a human?"""

from typing import Final

import anyio

from broker.approvals.interface import Approval
from broker.model import Call, Json

HEARTBEAT_S: Final = 5.0
_HEARTBEAT: Final = 1e-6
"""Progress has to grow, and the upstream's own begins at 0 or 1 after ours."""


class Heartbeat:
    """Tells a caller that asked for progress that its call still waits."""

    def __init__(self, call: Call, asked: Approval) -> None:
        roles = " and ".join(sorted({term.approver for term in asked.missing}))
        self._call = call
        self._message = f"waiting for {roles} to decide on approval {asked.id}"
        self._wanted = "progressToken" in call.meta
        self._beats = 0
        self._next = anyio.current_time()

    async def beat(self) -> None:
        """Tell it, if it is time to."""
        if not self._wanted or anyio.current_time() < self._next:
            return
        self._next = anyio.current_time() + HEARTBEAT_S
        self._beats += 1
        told: Json = {"progress": self._beats * _HEARTBEAT, "message": self._message}
        await self._call.caller.notify("notifications/progress", told)
