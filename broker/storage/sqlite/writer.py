"""Who writes? One thread with a connection of its own; whatever waits is committed together.

Operations come through a queue and are batched into one durable commit. The thread answers the
event loop once per batch, after the commit: what an operation returned is then on the disk.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio.to_thread

from broker.errors import BrokerError, StorageUnavailable
from broker.storage.sqlite.books import Books

BATCH = 512
BACKLOG = 4096

T = TypeVar("T")
Operation = Callable[[Books], Any]


@dataclass(frozen=True, slots=True)
class _Waiting:
    operation: Operation
    future: asyncio.Future[Any]


_Answer = tuple[asyncio.Future[Any], Any, BrokerError | None]


class Writer:
    """Runs operations on the books, in the order in which they come. To be used from one event loop."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._pending = 0
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="broker-writer", daemon=True)
        self._thread.start()

    async def run(self, operation: Callable[[Books], T]) -> T:
        """Run one operation; returns once it is durable.

        Raises:
            StorageUnavailable: it could not be committed, or too much is waiting already.
            BrokerError: the operation refused; it changed nothing.
        """
        if self._closed:
            raise StorageUnavailable("the store is closed", hint="the broker is stopping")
        if self._pending >= BACKLOG:
            raise StorageUnavailable("too many calls wait for the log", hint="try again in a few seconds")
        future: asyncio.Future[T] = self._loop.create_future()
        self._pending += 1
        self._queue.put(_Waiting(operation, future))
        return await future

    async def close(self) -> None:
        """Finish what waits, then stop."""
        self._closed = True
        self._queue.put(None)
        await anyio.to_thread.run_sync(self._thread.join)

    def _work(self) -> None:
        running = True
        while running:
            batch, running = self._next_batch()
            if batch:
                answers = self._commit(batch)
                self._loop.call_soon_threadsafe(self._resolve, answers)

    def _next_batch(self) -> tuple[list[_Waiting], bool]:
        """What waits now (at least one, unless the queue is closed), and whether more may come."""
        batch: list[_Waiting] = []
        while (item := self._queue.get()) is not None:
            batch.append(item)
            if len(batch) == BATCH or self._queue.empty():
                return batch, True
        return batch, False

    def _commit(self, batch: list[_Waiting]) -> list[_Answer]:
        try:
            self._books.begin()
            answers = [self._run(waiting) for waiting in batch]
            self._books.commit()
        except Exception as error:  # noqa: BLE001 - whatever the driver says, nothing of the batch happened
            return self._failed(batch, error)
        return answers

    def _run(self, waiting: _Waiting) -> _Answer:
        try:
            return waiting.future, waiting.operation(self._books), None
        except BrokerError as refusal:
            return waiting.future, None, refusal

    def _failed(self, batch: list[_Waiting], error: Exception) -> list[_Answer]:
        self._books.rollback()
        return [(waiting.future, None, _unavailable(error)) for waiting in batch]

    def _resolve(self, answers: list[_Answer]) -> None:
        self._pending -= len(answers)
        for future, result, error in answers:
            if future.done():  # cancelled while it waited; it was committed all the same
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)


def _unavailable(error: Exception) -> StorageUnavailable:
    unavailable = StorageUnavailable(
        f"the log cannot be written: {error}", hint="see to the disk under `state_dir`; nothing was done"
    )
    unavailable.__cause__ = error
    return unavailable
