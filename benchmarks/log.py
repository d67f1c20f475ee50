"""What do writing, reading, proving and verifying a large log cost? `scripts/bench log`.

The log is filled by the writer that calls use, 512 records a commit, each with the facts that a call
leaves (about 700 bytes); only the money is left out.
"""

import argparse
import asyncio
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import anyio
import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.audit.checkpoint import Checkpoint, Signer
from broker.audit.export import Range, export, target
from broker.audit.interface import CallFilter, Entry, Event, Filter, LogHead, LogReader, Outcome, StoredRecord
from broker.audit.prove import prove
from broker.audit.publisher import newest_note
from broker.audit.tiles import TiledTree
from broker.audit.verify import verify
from broker.edges.call_tree import tree_of, trees_of
from broker.edges.records import call_records
from broker.model import Json
from broker.storage.sqlite import open_store
from broker.storage.store import Store

AGENTS = 200
TOOLS = 60
IN_A_TREE = 10
FILLERS = 512
APPENDERS = 64
OUTCOMES = ("ok",) * 88 + ("tool_error",) * 5 + ("denied",) * 4 + ("upstream_error",) * 3


def call_entries(number: int) -> list[Entry]:
    """The records of one call; every tenth is at the top of a tree of ten."""
    call, root = f"c_{number:024x}", f"c_{number - number % IN_A_TREE:024x}"
    agent, tool = f"agent-{number * 7919 % AGENTS:03}", f"tool__{number * 104_729 % TOOLS:02}"
    outcome = OUTCOMES[number * 31 % len(OUTCOMES)]
    facts: Json = {
        "what": {
            "method": "tools/call",
            "name": tool,
            "kind": "tool",
            "connector": "c",
            "side_effect": "reads",
        },
        "actor": {"agent": agent, "subject": "ps_1", "chain": [agent], "token": f"t_{number % 5000:024x}"},
        "cause": {"task": f"t_{number // 100:024x}", "root": root, "parent": root},
        "arguments": {"bytes": 812, "hmac": f"{number:064x}"},
        "decision": {"permitted": True, "rules": ["role/reader"], "policy": "sha256:" + "0" * 64},
    }
    if call == root:
        del facts["cause"]["parent"]
    if outcome == "denied":
        return [Entry("acme", Event.CALL_DENIED, {**facts, "outcome": outcome}, call, agent)]
    end: Json = {
        "outcome": outcome,
        "cost": number * 17 % 9000,
        "duration_us": 1000,
        "result": {"bytes": 1024, "hmac": f"{number:064x}"},
    }
    facts["spend"] = {"held": 0, "price": "free", "budgets": []}
    return [
        Entry("acme", Event.CALL_INTENT, facts, call, agent),
        Entry("acme", Event.CALL_OUTCOME, end, call, agent),
    ]


async def fill(store: Store, records: int) -> float:
    """Add records as many appenders at once would; seconds."""
    numbers = itertools.count()
    left = records
    started = time.monotonic()

    async def filler() -> None:
        nonlocal left
        while left > 0:
            for entry in call_entries(next(numbers)):
                left -= 1
                await store.journal.append(entry)

    await asyncio.gather(*(filler() for _ in range(FILLERS)))
    return time.monotonic() - started


async def appending(store: Store, appenders: int, each: int) -> tuple[float, float]:
    """Records a second, and the median of one append in milliseconds."""
    took: list[float] = []

    async def append(who: int) -> None:
        for number in range(each):
            entry = call_entries(10**9 + who * each + number)[0]
            before = time.perf_counter()
            await store.journal.append(entry)
            took.append(time.perf_counter() - before)

    started = time.perf_counter()
    await asyncio.gather(*(append(who) for who in range(appenders)))
    return appenders * each / (time.perf_counter() - started), statistics.median(took) * 1000


TRIES = 20
QUERIES: dict[str, CallFilter] = {
    "the newest 20": CallFilter(),
    "agent": CallFilter(agent="agent-007"),
    "agent, outcome": CallFilter(agent="agent-007", outcomes=frozenset({Outcome.DENIED})),
    "agent, tool": CallFilter(agent="agent-007", tool="tool__08"),
    "agent, tool that it never called": CallFilter(agent="agent-007", tool="tool__77"),
    "tool": CallFilter(tool="tool__08"),
    "outcome": CallFilter(outcomes=frozenset({Outcome.UPSTREAM_ERROR})),
    "outcome that never was": CallFilter(outcomes=frozenset({Outcome.CANCELLED})),
    "cost": CallFilter(least_cost=8_990),
    "cost that never was": CallFilter(least_cost=1_000_000),
    "since, until, agent": CallFilter(since=0, until=2**50, agent="agent-100"),
}


async def timed(read: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """Median and most milliseconds of some tries."""
    took: list[float] = []
    for _ in range(TRIES):
        started = time.perf_counter()
        await read()
        took.append((time.perf_counter() - started) * 1000)
    return statistics.median(took), max(took)


async def reading(store: Store, records: int) -> dict[str, tuple[float, float]]:
    """What it costs to find calls, a tree and a proof in a log of this many records."""
    log, calls = store.log, records * 100 // 196
    middle, task = f"c_{calls // 2:024x}", f"t_{calls // 200:024x}"
    times = {
        f"list: {name}": await timed(partial(log.calls, "acme", where, last=20))
        for name, where in QUERIES.items()
    }
    times["show"] = await timed(lambda: call_records(log, middle))
    times["tree"] = await timed(lambda: tree_of(log, middle))
    times["trees of a task with 100 calls"] = await timed(lambda: trees_of(log, task))
    (head,) = await log.logs()
    now, old = Checkpoint(head.origin, head.size, head.root), await _old(store, head)
    found = [r async for r in log.records("acme", Filter(call=middle))]
    times["prove, also since an older checkpoint"] = await timed(lambda: _proven(log, found, now, old))
    return times


async def _old(store: Store, head: LogHead) -> Checkpoint:
    size = head.size // 3
    return Checkpoint(head.origin, size, await TiledTree(partial(store.log.tile, "acme")).root(size))


async def _proven(log: LogReader, found: Sequence[StoredRecord], now: Checkpoint, old: Checkpoint) -> None:
    proof = await prove(log, "acme", found, now, [old])
    if proof.problems or not proof.records:
        raise RuntimeError(f"not proven: {proof.problems}")


async def verifying(store: Store, folder: Path) -> dict[str, float]:
    """Records a second of `broker audit verify`, of an export and of its own `verify.py`."""
    signer = Signer(Ed25519PrivateKey.generate())
    signed = [(head, await newest_note(store.log, signer, head)) for head in await store.log.logs()]
    started = time.perf_counter()
    report = await verify(store.log, keys=[signer.public])
    verified = time.perf_counter()
    if not report.ok:
        raise RuntimeError(f"does not verify: {report.problems[:3]}")
    into, (log,) = target(folder / "export"), report.logs
    await export(store.log, signed, into, public=signer.public, wanted=Range(), progress=lambda *_: None)
    exported = time.perf_counter()
    verifier = str(folder / "export" / "verify.py")
    done = await anyio.run_process([sys.executable, verifier])
    if b"verified" not in done.stdout:
        raise RuntimeError("the export does not verify")
    return {
        "verify": log.size / (verified - started),
        "export": log.size / (exported - verified),
        "verify.py": log.size / (time.perf_counter() - exported),
    }


async def measure(folder: Path, records: int) -> Json:
    """Append to a new log, then fill another, and read, prove and verify it."""
    found: Json = {"records": records}
    async with open_store(folder / "appended.db", deployment="bench", serve=True) as store:
        await appending(store, APPENDERS, 50)
        found["appended_per_s"], found["appended_p50_ms"] = await appending(store, APPENDERS, 400)
        found["one_appender_per_s"], found["one_append_p50_ms"] = await appending(store, 1, 1000)
    async with open_store(folder / "filled.db", deployment="bench", serve=True) as store:
        found["filled_s"] = await fill(store, records)
        found["reading_ms"] = await reading(store, records)
        found["records_per_s"] = await verifying(store, folder)
    return found


def main() -> None:
    """Measure and say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=2_000_000)
    parser.add_argument("--quick", action="store_true", help="50,000 records")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = uvloop.run(measure(Path(folder), 50_000 if given.quick else given.records))
    print(json.dumps(found) if given.json else "\n".join(_lines(found)))


def _lines(found: Json) -> Iterator[str]:
    rate, p50 = found["appended_per_s"], found["appended_p50_ms"]
    yield f"{rate:,.0f} records/s at {APPENDERS} appenders, p50 {p50:.2f} ms"
    yield f"p50 {found['one_append_p50_ms']:.2f} ms with one"
    yield f"{found['records']:,} records, filled in {found['filled_s']:.0f} s"
    for name, (median, most) in found["reading_ms"].items():
        yield f"{median:9.2f} ms, at most {most:.2f}: {name}"
    for name, rate in found["records_per_s"].items():
        yield f"{rate:9,.0f} records/s: {name}"


if __name__ == "__main__":
    main()
