"""A reputation over a log that is kept in memory."""

from collections.abc import AsyncIterator
from typing import Any

import orjson

from broker.audit.interface import Entry, Filter, LogHead, Receipt, StoredRecord
from broker.audit.record import timestamp
from broker.journal import Journal
from broker.policy.load import shipped_policies
from broker.reputation import Reputation
from broker.trust.replay import Update
from broker.trust.score import Weights
from broker.trust.weights import load_weights

NOW = 1_800_000_000_000_000
SHIPPED = load_weights(shipped_policies(), shipped_policies())


class MemoryLog:
    """As much of a log, and of a journal's store, as a reputation needs."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.now = NOW

    def write(self, type_: str, agent: str | None = "alice", **facts: Any) -> None:
        """Add a record of this moment."""
        body = {"type": type_, "ts": timestamp(self.now), "agent": agent, **facts}
        self.bodies.append(body)

    async def append(self, entry: Entry) -> Receipt:
        self.write(entry.event, entry.agent, **entry.facts)
        return Receipt(entry.log, len(self.bodies), "00", len(self.bodies))

    async def logs(self) -> list[LogHead]:
        return [LogHead("acme", "test/acme", len(self.bodies), b"")]

    async def records(self, log: str, where: Filter) -> AsyncIterator[StoredRecord]:
        for seq, body in list(enumerate(self.bodies))[where.from_seq : where.before_seq]:
            if body["type"] in where.events:
                yield StoredRecord(seq, b"", orjson.dumps(body))

    @property
    def updates(self) -> list[dict[str, Any]]:
        """The changes of trust that it tells of."""
        return [body for body in self.bodies if body["type"] == "trust.updated"]


def reputation(
    log: MemoryLog | None = None, told: list[Update] | None = None, weights: Weights = SHIPPED
) -> Reputation:
    """What a log makes of its agents; `told` grows with each change of a band."""
    log = log or MemoryLog()
    changed = (told if told is not None else []).append
    return Reputation(log, Journal(log, b"k" * 32), weights, changed, clock=lambda: log.now)
