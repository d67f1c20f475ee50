"""What do the records of a period amount to? Counted in one pass; what is kept grows with names."""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from broker.audit.interface import Event, Outcome

Facts = Mapping[str, Any]
_ENDS = frozenset({Event.CALL_OUTCOME, Event.CALL_UNKNOWN})
_DAY = 10
"""Characters of a time that are its day."""


@dataclass(slots=True)
class Spent:
    """What calls to one target on one day came to."""

    calls: int = 0
    cost: int = 0
    estimated: int = 0


@dataclass(slots=True)
class Tally:
    """Counts over the records that it has been shown."""

    records: int = 0
    events: Counter[str] = field(default_factory=Counter[str])
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    """By day and outcome."""
    guards: Counter[tuple[str, str, str]] = field(default_factory=Counter[tuple[str, str, str]])
    """By guard, type and action."""
    spend: dict[tuple[str, str, str, str], Spent] = field(
        default_factory=dict[tuple[str, str, str, str], Spent]
    )
    """By day, organisation's log, agent and target."""
    models: Counter[str] = field(default_factory=Counter[str])
    """Calls by model."""
    _open: dict[str, tuple[str, str, str]] = field(default_factory=dict[str, tuple[str, str, str]])

    def add(self, log: str, record: Facts) -> None:
        """Count one record."""
        kind, day = str(record["type"]), str(record["ts"])[:_DAY]
        self.records += 1
        self.events[kind] += 1
        for finding in record.get("findings", ()):
            if kind != Event.CALL_OUTCOME or finding["stage"] in ("result", "completion"):
                self.guards[finding["guard"], finding["type"], finding["action"]] += 1
        if kind == Event.CALL_DENIED:
            self.outcomes[day, str(record.get("outcome", Outcome.DENIED))] += 1
        elif kind == Event.CALL_INTENT:
            self._begin(log, record)
        elif kind in _ENDS:
            self._end(log, day, record)

    def _begin(self, log: str, record: Facts) -> None:
        what = record.get("what", {})
        name = str(what.get("name", ""))
        if what.get("kind") == "model":
            self.models[name] += 1
        self._open[record["call"]] = (log, str(record.get("agent", "")), name)

    def _end(self, log: str, day: str, record: Facts) -> None:
        self.outcomes[day, str(record.get("outcome", Outcome.UNKNOWN))] += 1
        _, agent, name = self._open.pop(record["call"], (log, str(record.get("agent", "")), "begun before"))
        spent = self.spend.setdefault((day, log, agent, name), Spent())
        spent.calls += 1
        spent.cost += int(record.get("cost", 0))
        spent.estimated += bool(record.get("estimated"))

    def by_outcome(self) -> Counter[str]:
        """Ended calls by how they ended."""
        counted: Counter[str] = Counter()
        for (_, outcome), count in self.outcomes.items():
            counted[outcome] += count
        return counted

    def by_agent(self) -> Counter[str]:
        """Micro-USD by agent."""
        counted: Counter[str] = Counter()
        for (_, _, agent, _), spent in self.spend.items():
            counted[agent] += spent.cost
        return counted

    def spend_csv(self) -> bytes:
        """What was spent, a line for each day, log, agent and target."""
        rows = ((*key, spent.calls, spent.cost, spent.estimated) for key, spent in sorted(self.spend.items()))
        return table(("day", "log", "agent", "target", "calls", "cost_micro_usd", "calls_estimated"), rows)

    def guards_csv(self) -> bytes:
        """What guards found, a line for each guard, type and action."""
        rows = ((*key, count) for key, count in sorted(self.guards.items()))
        return table(("guard", "type", "action", "findings"), rows)

    def outcomes_csv(self) -> bytes:
        """How calls ended, a line for each day and outcome."""
        rows = ((*key, count) for key, count in sorted(self.outcomes.items()))
        return table(("day", "outcome", "calls"), rows)


def table(head: tuple[str, ...], rows: Iterator[tuple[object, ...]]) -> bytes:
    """CSV (RFC 4180). A text that a spreadsheet would take for a formula is quoted by an apostrophe."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(head)
    for row in rows:
        writer.writerow(
            f"'{cell}" if isinstance(cell, str) and cell[:1] in "=+-@\t\r" and cell else cell for cell in row
        )
    return text.getvalue().encode()
