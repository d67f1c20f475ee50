"""Two processes, 64 workers, one cap that is hit in the middle; one process is killed. Nothing is overspent.

BROKER_TEST_CALLS sets how many calls are tried (default 3,000; docs/reference/performance.md tells of 50,000).
"""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import anyio
import orjson
import pytest
from anyio.streams.text import TextReceiveStream

from broker.audit.verify import verify
from broker.journal import Journal
from broker.storage.sqlite import open_store

CALLS = int(os.environ.get("BROKER_TEST_CALLS", "3000"))
PRICE, CAP = 10, CALLS * 10 // 2 + 3

WORKER = """
import pathlib, sys
import anyio
from broker.audit.interface import Entry, Event
from broker.errors import BudgetExceeded
from broker.journal import Closing, Opening
from broker.ledger.interface import Budget, Quote, Settlement
from broker.model import Agent, Principal
from broker.storage.sqlite import open_store

PATH, NAME, CALLS, PRICE, CAP = pathlib.Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])
NOBODY = Principal(Agent("a", "acme", frozenset()), "a", (), frozenset(), "jti", "txn", 0)
QUOTE = Quote(PRICE, "fixed", (Budget("organisation:acme", CAP), Budget("agent:a", None)))
SPEND = {"held": PRICE, "price": "fixed", "budgets": [{"scope": b.scope, "cap": b.cap} for b in QUOTE.budgets]}
left = list(range(CALLS))

async def worker(store):
    while left:
        n = left.pop()
        call, cost = f"{NAME}-{n}", n % (PRICE + 1)
        try:
            await store.journal.open(Opening(call, QUOTE, Entry("acme", Event.CALL_INTENT, {"spend": SPEND}, call, "a"), NOBODY))
        except BudgetExceeded:
            print("refused", flush=True)
            continue
        await store.journal.close(Closing(call, Settlement(cost), Entry("acme", Event.CALL_OUTCOME, {"outcome": "ok", "cost": cost}, call, "a")))
        print("done", flush=True)

async def main():
    async with open_store(PATH, deployment="broker.test", serve=False) as store:
        async with anyio.create_task_group() as tasks:
            for _ in range(32):
                tasks.start_soon(worker, store)

anyio.run(main)
"""


async def run(path: Path, name: str, kill_after: int | None, said: Counter[str]) -> None:
    """One process of 32 workers with half of the calls; killed outright after so many answers."""
    numbers = [str(n) for n in (CALLS // 2, PRICE, CAP)]
    command = [sys.executable, "-c", WORKER, str(path), name, *numbers]
    async with await anyio.open_process(command, stderr=subprocess.DEVNULL) as child:
        assert child.stdout is not None
        mine: Counter[str] = Counter()
        rest = ""
        async for chunk in TextReceiveStream(child.stdout):
            *lines, rest = (rest + chunk).split("\n")
            mine.update(lines)
            if kill_after is not None and mine.total() >= kill_after and child.returncode is None:
                child.kill()
        said.update(mine)
        assert (await child.wait() == 0) is (kill_after is None)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("killed", [False, True], ids=["both finish", "one is killed"])
async def test_workers_of_two_processes_spend_a_cap_to_the_last_call_and_never_beyond(
    tmp_path: Path, killed: bool
):
    path, said = tmp_path / "state" / "broker.db", Counter[str]()
    async with open_store(path, deployment="broker.test", serve=False):
        pass
    with anyio.fail_after(600):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, path, "one", None, said)
            tasks.start_soon(run, path, "two", CALLS // 8 if killed else None, said)
    async with open_store(path, deployment="broker.test", serve=True) as store:
        await Journal(store.journal, b"k" * 32).recover()
        balance = await store.ledger.balance("organisation:acme")
        bodies = [orjson.loads(record.body) async for record in store.log.records("acme")]
        cost = sum(body["cost"] for body in bodies if body["type"].startswith("call.outcome"))
        assert (balance.spent, balance.held) == (cost, 0)
        assert cost <= CAP
        if not killed:
            assert said["refused"] > 0
            assert cost > CAP - 64 * PRICE
            assert said.total() == CALLS // 2 * 2
        assert (await verify(store.log, keys=[])).problems == ()
