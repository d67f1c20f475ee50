"""Kill a writing process outright and read what it left behind."""

import subprocess
import sys
from pathlib import Path

import anyio
import orjson
import pytest
from anyio.streams.text import TextReceiveStream

from broker.audit.interface import Event, Filter
from broker.audit.verify import verify
from broker.storage.sqlite import open_store
from broker.storage.store import Store

WRITER = """
import pathlib, sys
import anyio
from broker.audit.interface import Entry, Event
from broker.ledger.interface import Budget, Quote, Settlement
from broker.journal import Closing, Opening
from broker.model import Agent, Principal
from broker.storage.sqlite import open_store

NOBODY = Principal(Agent("a", "acme", frozenset()), "a", (), frozenset(), "jti", "txn", 0)

async def one(store, call):
    quote = Quote(10, "fixed", (Budget("agent:a", None),))
    intent = Entry("acme", Event.CALL_INTENT, {"text": "x" * 500}, call, "a")
    await store.journal.open(Opening(call, quote, intent, NOBODY))
    print("open", call, flush=True)
    await store.journal.close(Closing(call, Settlement(7), Entry("acme", Event.CALL_OUTCOME, {"cost": 7}, call, "a")))
    print("closed", call, flush=True)

async def lane(store, name):
    number = 0
    while True:
        number += 1
        await one(store, f"{name}-{number}")

async def main():
    async with open_store(pathlib.Path(sys.argv[1]), deployment="broker.test", serve=True) as store:
        async with anyio.create_task_group() as tasks:
            for name in "abcdef":
                tasks.start_soon(lane, store, f"{sys.argv[2]}{name}")

anyio.run(main)
"""


async def acknowledged_until_killed(path: Path, run: str, lines: int) -> tuple[set[str], set[str]]:
    """Start a writer, kill it after some lines; the calls it has said to be open, and closed."""
    said: dict[str, set[str]] = {"open": set(), "closed": set()}
    command = [sys.executable, "-c", WRITER, str(path), run]
    async with await anyio.open_process(command, stderr=subprocess.DEVNULL) as child:
        assert child.stdout is not None
        text = ""
        killed = False
        async for chunk in TextReceiveStream(child.stdout):
            text += chunk
            if not killed and text.count("\n") >= lines:
                child.kill()
                killed = True
        await child.wait()
    for line in text.splitlines(keepends=True):
        if line.endswith("\n"):
            state, call = line.split()
            said[state].add(call)
    return said["open"], said["closed"]


@pytest.mark.parametrize("lines", [20, 300])
async def test_nothing_that_was_acknowledged_is_lost_to_kill_9(tmp_path: Path, lines: int):
    path = tmp_path / "broker.db"
    opened: set[str] = set()
    closed: set[str] = set()
    with anyio.fail_after(60):
        for run in ("r", "s"):
            more_opened, more_closed = await acknowledged_until_killed(path, run, lines)
            opened |= more_opened
            closed |= more_closed
        async with open_store(path, deployment="broker.test", serve=True) as store:
            report = await verify(store.log, keys=[])
            assert report.problems == ()
            (log,) = report.logs
            begun = await calls(store, Event.CALL_INTENT)
            ended = await calls(store, Event.CALL_OUTCOME)
            assert len(opened) >= lines // 2
            assert opened <= begun
            assert closed <= ended
            left = {call.call for call in await store.journal.abandoned()}
            assert left == set(log.open_calls) == begun - ended
            balance = await store.ledger.balance("agent:a")
            assert (balance.spent, balance.held) == (7 * len(ended), 10 * len(left))


async def calls(store: Store, event: Event) -> set[str]:
    return {
        orjson.loads(record.body)["call"]
        async for record in store.log.records("acme", Filter(events=frozenset({event})))
    }
