"""How does the embedded store come up and go down? One file, one writer thread, read-only readers."""

import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager, closing
from pathlib import Path

import anyio
import anyio.to_thread

from broker.model import Clock
from broker.storage.signals import LocalSignals
from broker.storage.sqlite.agents import SqliteAgents, SqliteKeys
from broker.storage.sqlite.allowances import SqliteAllowances
from broker.storage.sqlite.approvals import SqliteApprovals
from broker.storage.sqlite.backups import SqliteBackups
from broker.storage.sqlite.books import Books
from broker.storage.sqlite.changes import Changes
from broker.storage.sqlite.connection import connect_reader, connect_writer, prepare, serving
from broker.storage.sqlite.credentials import SqliteCredentials
from broker.storage.sqlite.feeds import SqliteFeeds
from broker.storage.sqlite.first_calls import SqliteFirstCalls
from broker.storage.sqlite.flow import SqliteFlow
from broker.storage.sqlite.grants import SqliteGrants
from broker.storage.sqlite.journal import SqliteJournal
from broker.storage.sqlite.keyring import KeyRing, wrapping_key
from broker.storage.sqlite.operators import SqliteOperators
from broker.storage.sqlite.payloads import SqlitePayloads
from broker.storage.sqlite.pins import SqlitePins
from broker.storage.sqlite.pruning import SqlitePruning
from broker.storage.sqlite.pseudonyms import SqlitePseudonyms
from broker.storage.sqlite.reading import SqliteLedger, SqliteLog
from broker.storage.sqlite.writer import Writer
from broker.storage.store import Store


@asynccontextmanager
async def open_store(
    path: Path,
    *,
    deployment: str,
    serve: bool,
    clock: Clock = time.time,
    payload_key: bytes | None = None,
    keep_payloads: bool = False,
) -> AsyncGenerator[Store]:
    """Open the state in one SQLite file, creating or migrating it first.

    Args:
        path: the file; beside it lie SQLite's `-wal` and `-shm`, the lock of the serving process, and
            `keys.db` with the keys of payloads and people.
        deployment: names the origins of new logs (`<deployment>/audit/<log>`).
        serve: be the one process that serves this state; others may read and write beside it.
        clock: Unix seconds.
        payload_key: wraps the keys in `keys.db`; default: the one in `payload.key`, made at the first start.
        keep_payloads: keep what is said in calls, not only what proves the commitments to it.

    Raises:
        ConfigurationError: the file is not usable, or another process serves it.
    """
    node = secrets.token_hex(4)
    with ExitStack() as stack:
        await anyio.to_thread.run_sync(prepare, path)
        if serve:
            stack.enter_context(serving(path))
        own = stack.enter_context(closing(connect_writer(path)))
        reader = stack.enter_context(closing(connect_reader(path)))
        bulk = stack.enter_context(closing(connect_reader(path)))
        changes = Changes(reader)
        agents = SqliteAgents(reader, changes, clock)
        wrapping = payload_key or wrapping_key(path.with_name("payload.key"))
        keys = stack.enter_context(closing(KeyRing(path.with_name("keys.db"), wrapping)))
        writer = Writer(Books(own, keys, deployment=deployment, node=node, clock=clock, keeps=keep_payloads))
        credentials = SqliteCredentials(writer)
        try:
            yield Store(
                journal=SqliteJournal(writer, reader, node=node, serves=serve),
                agents=agents,
                standing=agents,
                grants=SqliteGrants(writer, reader, changes),
                approvals=SqliteApprovals(writer, reader, clock),
                keys=SqliteKeys(writer, reader),
                credentials=credentials,
                replays=credentials,
                operators=SqliteOperators(writer, reader),
                pins=SqlitePins(writer, reader),
                allowances=SqliteAllowances(writer, reader),
                feeds=SqliteFeeds(writer, reader),
                log=SqliteLog(writer, reader, bulk),
                ledger=SqliteLedger(reader, clock),
                signals=LocalSignals(),
                flow=SqliteFlow(reader),
                payloads=SqlitePayloads(writer, path, keys.handles),
                pruning=SqlitePruning(writer),
                backups=SqliteBackups(path),
                first_calls=SqliteFirstCalls(reader, clock),
                pseudonyms=SqlitePseudonyms(writer),
            )
        finally:
            with anyio.CancelScope(shield=True):
                await writer.close()
