"""What does it cost to hold money before it is spent, beyond the commit that the intent needs anyway?

    scripts/bench ledger [--quick] [--json]

On the books of the writer, in this process, on a file: batches of calls are opened in one transaction and
closed in the next, with nothing above them, five budgets, one that rolls, and one rate. CPU time of this
thread per call; what a commit itself takes is in all of them and falls out of the differences.
"""

import argparse
import json
import secrets
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from statistics import median

from broker.audit.interface import Entry, Event
from broker.journal import Closing, Opening
from broker.ledger.interface import Budget, Quote, Rate, Settlement, Unit
from broker.ledger.rates import after, wait_us
from broker.model import Agent, AgentId, MicroUSD, OrganisationId, Principal
from broker.storage.sqlite.books import Books
from broker.storage.sqlite.connection import connect_writer, prepare
from broker.storage.sqlite.keyring import KeyRing

GOALS_US = {"reserve_settle": 20.0, "rolling": 20.0, "rate": 5.0}
SAID = {
    "reserve_settle": "five budgets above it",
    "rolling": "one that rolls",
    "rate": "one rate above it",
}
BATCHES = (1, 32)
PRICE = MicroUSD(100)
CAP = 10**12
NOBODY = Principal(
    Agent(AgentId("a"), OrganisationId("bench"), frozenset()), AgentId("a"), (), frozenset(), "jti", "txn", 0
)
NOTHING = Quote(PRICE, "fixed", ())
FIVE = Quote(
    PRICE,
    "fixed",
    (
        Budget("organisation:bench", CAP, "month:2026-11", warn=(80,)),
        Budget("team:research", CAP, "day:2026-11-23", warn=(80,)),
        Budget("agent:a", CAP),
        Budget("agent:a", CAP, "day:2026-11-23", Unit.CALLS, warn=(80,)),
        Budget("task:txn", CAP),
    ),
)
ROLLING = Quote(PRICE, "fixed", (Budget("agent:a", CAP, "24h:40000", Unit.CALLS, 13, warn=(80,)),))
RATED = Quote(PRICE, "fixed", (), rates=(Rate("agent:a", 1, 1_000_000),))


def differences(folder: Path, *, calls: int, rounds: int) -> dict[str, float]:
    """CPU microseconds per call, by what is above it and the size of the batch: medians of the rounds."""
    found: dict[str, float] = {}
    for batch in BATCHES:
        samples: dict[str, list[float]] = {"none": [], "five": [], "rolling": [], "rate": []}
        with closing(_Books(folder / f"{batch}.db")) as books:
            for turn in range(rounds + 1):
                for name, quote in (("none", NOTHING), ("five", FIVE), ("rolling", ROLLING), ("rate", RATED)):
                    used = books.cost_us(quote, calls, batch)
                    if turn:  # the first round is for warming up
                        samples[name].append(used)
        bare = median(samples["none"])
        found[f"bare_{batch}"] = bare
        found[f"reserve_settle_{batch}"] = median(samples["five"]) - bare
        found[f"rolling_{batch}"] = median(samples["rolling"]) - bare
        found[f"rate_{batch}"] = median(samples["rate"]) - bare
    return found


class _Books:
    """The writer's side of a file of its own."""

    def __init__(self, path: Path) -> None:
        prepare(path)
        self._connection = connect_writer(path)
        self._keys = KeyRing(path.with_name(f"{path.stem}-keys.db"), secrets.token_bytes(32))
        self._books = Books(
            self._connection, self._keys, deployment="bench.local", node="bench", clock=time.time
        )
        self._made = 0

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()
        self._keys.close()

    def cost_us(self, quote: Quote, calls: int, batch: int) -> float:
        """CPU microseconds of one call that is opened and closed."""
        work = [self._batch(quote, batch) for _ in range(calls // batch)]
        began = time.thread_time_ns()
        for opening, ending in work:
            self._books.begin()
            for one in opening:
                self._books.open_call(one)
            self._books.commit()
            self._books.begin()
            for one in ending:
                self._books.close_call(one)
            self._books.commit()
        return (time.thread_time_ns() - began) / 1000 / (len(work) * batch)

    def _batch(self, quote: Quote, size: int) -> tuple[list[Opening], list[Closing]]:
        names = [f"call-{self._made + n}" for n in range(size)]
        self._made += size
        spend = {"held": PRICE, "price": "fixed", "budgets": []}
        intents = [Entry("bench", Event.CALL_INTENT, {"spend": spend}, name, "a") for name in names]
        ends = [
            Entry("bench", Event.CALL_OUTCOME, {"outcome": "ok", "cost": PRICE}, name, "a") for name in names
        ]
        return (
            [Opening(name, quote, intent, NOBODY) for name, intent in zip(names, intents, strict=True)],
            [Closing(name, Settlement(PRICE), end) for name, end in zip(names, ends, strict=True)],
        )


def gcra_us(rounds: int) -> float:
    """CPU microseconds of one decision of the rate algorithm by itself."""
    rate, on_time = Rate("agent:a", 10, 5), 0
    began = time.thread_time_ns()
    for now in range(0, rounds * 7, 7):
        if not wait_us(rate, on_time, now):
            on_time = after(rate, on_time, now)
    return (time.thread_time_ns() - began) / 1000 / rounds


def main(words: Sequence[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="scripts/bench ledger")
    parser.add_argument("--quick", action="store_true", help="only show that it runs")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    asked = parser.parse_args(words)
    calls, rounds = (64, 1) if asked.quick else (480, 21)  # short rounds: the machine changes
    with tempfile.TemporaryDirectory(prefix="broker-bench-") as folder:
        found = differences(Path(folder), calls=calls, rounds=rounds)
    found["gcra"] = gcra_us(1000 if asked.quick else 200_000)
    if asked.json:
        sys.stdout.write(json.dumps({key: round(value, 2) for key, value in found.items()}) + "\n")
        return
    for batch in BATCHES:
        together = "one call a commit" if batch == 1 else f"{batch} calls a commit"
        sys.stdout.write(f"{together}: {found[f'bare_{batch}']:.1f} µs for the records and two commits\n")
        for what, said in SAID.items():
            goal = GOALS_US[what]
            sys.stdout.write(f"  {said:24} + {found[f'{what}_{batch}']:5.1f} µs   (goal {goal:g})\n")
    sys.stdout.write(f"the rate algorithm by itself: {found['gcra']:.2f} µs\n")


if __name__ == "__main__":
    main(sys.argv[1:])
