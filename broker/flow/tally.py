"""What does a transaction add up to? Labels and counters, bounded, whatever its calls are."""

from typing import Any

from broker.flow.step import Step

MOST_TARGETS = 256
"""How many targets are counted one by one; all further ones share a counter, which is never too low."""

HOUR = 60
"""Minutes that count as the last hour, besides the one that has begun."""

_SHARED = ""


class Tally:
    """Labels and counters of one transaction. `take` is the only way in which they change."""

    __slots__ = ("calls", "counts", "full", "labels", "last", "minutes", "run", "targets", "writes")

    def __init__(self) -> None:
        self.labels: frozenset[str] = frozenset()
        self.calls = 0
        self.writes = 0
        self.targets: dict[str, int] = {}
        self.last = b""
        self.run = 0
        self.minutes: list[list[int]] = []
        """Minute, calls and writes in it, oldest first."""
        self.counts: dict[str, int] = {}
        """Sums of amounts and numbers of different values, by counter."""
        self.full = False
        """Whether more values have been seen than are remembered."""

    def counters(self, target: str, fingerprint: bytes, at: int, *, writes: bool) -> dict[str, int]:
        """The counters as they will be with one more call; sums and values are not in it.

        Args:
            target: what would be called.
            fingerprint: what equal calls have in common.
            at: Unix seconds.
            writes: whether it changes anything.
        """
        self._pass_time(at // 60)
        counters = self.counts.copy()
        counters["calls"] = self.calls + 1
        counters["target_calls"] = self.targets.get(self._counted_as(target), 0) + 1
        counters["identical"] = self.run + 1 if fingerprint == self.last else 1
        counters["writes"] = self.writes + writes
        counters["calls_hour"] = sum([minute[1] for minute in self.minutes]) + 1
        counters["writes_hour"] = sum([minute[2] for minute in self.minutes]) + writes
        return counters

    def take(self, step: Step) -> None:
        """Count a step; its values are counted by `count`."""
        minute = step.at // 60
        self._pass_time(minute)
        if not step.labels <= self.labels:
            self.labels |= step.labels
        self.calls += 1
        self.writes += step.writes
        name = self._counted_as(step.target)
        self.targets[name] = self.targets.get(name, 0) + 1
        self.run = self.run + 1 if step.fingerprint == self.last else 1
        self.last = step.fingerprint
        if not self.minutes or self.minutes[-1][0] < minute:
            self.minutes.append([minute, 0, 0])
        self.minutes[-1][1] += 1
        self.minutes[-1][2] += step.writes
        for counter, amount in step.sums:
            self.count(counter, amount)

    def count(self, counter: str, amount: int = 1) -> None:
        """Add to one of the sums."""
        self.counts[counter] = self.counts.get(counter, 0) + amount

    def facts(self) -> dict[str, Any]:
        """As JSON, to be kept."""
        return {
            "labels": sorted(self.labels),
            "calls": self.calls,
            "writes": self.writes,
            "targets": self.targets,
            "last": self.last.hex(),
            "run": self.run,
            "minutes": self.minutes,
            "counts": self.counts,
            "full": self.full,
        }

    @classmethod
    def of(cls, facts: dict[str, Any]) -> "Tally":
        """What `facts` gave."""
        tally = cls()
        tally.labels = frozenset(facts["labels"])
        tally.calls, tally.writes = facts["calls"], facts["writes"]
        tally.targets, tally.minutes, tally.counts = facts["targets"], facts["minutes"], facts["counts"]
        tally.last, tally.run = bytes.fromhex(facts["last"]), facts["run"]
        tally.full = facts["full"]
        return tally

    def _pass_time(self, minute: int) -> None:
        while self.minutes and self.minutes[0][0] < minute - HOUR:
            del self.minutes[0]

    def _counted_as(self, target: str) -> str:
        known = target in self.targets or len(self.targets) < MOST_TARGETS
        return target if known else _SHARED
