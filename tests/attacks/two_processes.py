"""One of two processes that work for the same transactions at the same time, without a network between.

python tests/attacks/two_processes.py STATE reads|sends
"""

import os
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import anyio

sys.path.insert(0, str(Path(__file__).parents[2]))

import apsw

from broker.flow.interface import MovedError
from broker.flow.transactions import Transactions
from broker.journal import Journal
from broker.ledger.interface import Quote
from broker.model import (
    Agent,
    AgentId,
    Call,
    Kind,
    Method,
    MicroUSD,
    OrganisationId,
    Principal,
    SideEffect,
    Target,
    new_call_id,
)
from broker.policy.interface import Decision
from broker.record import CallRecord
from broker.storage.sqlite import open_store
from broker.storage.store import Store

TRANSACTIONS = 25
CALLS = 6
AGENT = Agent(AgentId("ann"), OrganisationId("acme"), frozenset())
INBOX = Target(
    Kind.TOOL,
    "inbox",
    "mail",
    "inbox",
    {},
    side_effect=SideEffect.READS,
    labels=frozenset({"private-data", "untrusted-source"}),
)
POST = Target(Kind.TOOL, "post", "web", "post", {}, labels=frozenset({"external-sink"}))


def intents(path: Path) -> Iterator[bytes]:
    """All intents in the order of the log."""
    with closing(apsw.Connection(str(path))) as connection:
        for (body,) in connection.execute(
            "select body from audit_rec where type = 'call.intent' order by id"
        ):
            yield body


async def work(store: Store, target: Target, folder: Path) -> None:
    """Make the calls of one process: nothing is sent once private data has been read."""
    transactions, journal = Transactions(store.flow, b"k" * 32), Journal(store.journal, b"k" * 32)
    for number in range(TRANSACTIONS):
        await both_are_here(folder, f"{number}")
        async with anyio.create_task_group() as tasks:
            for _ in range(CALLS):
                tasks.start_soon(call, transactions, journal, target, f"txn-{number}")


async def both_are_here(folder: Path, place: str) -> None:
    """Go on once the other process has come here too."""
    (folder / f"{place}.{os.getpid()}").touch()
    while len(list(folder.glob(f"{place}.*"))) < 2:  # noqa: ASYNC110 - the other is a process
        await anyio.sleep(0.001)


async def call(transactions: Transactions, journal: Journal, target: Target, transaction: str) -> None:
    principal = Principal(AGENT, AGENT.id, (), frozenset(), "jti", transaction, 0)
    while True:
        made = Call(new_call_id(), Method.CALL_TOOL, target.name, {"name": target.name}, "", None)
        record = CallRecord(made, 0.0, principal, target)
        turn = record.turn = await transactions.turn(principal, made, target, made.params)
        if target is POST and "private-data" in turn.situation.taint:
            return
        record.decision = Decision(permitted=True, because=(), policy="")
        try:
            with turn:
                async with journal.hold(record, principal, Quote(MicroUSD(0), "fixed", ())):
                    return
        except MovedError:
            continue


async def main(path: Path, role: str) -> None:
    async with open_store(path, deployment="broker.test", serve=False) as store:
        await work(store, INBOX if role == "reads" else POST, path.parent)


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), sys.argv[2])
