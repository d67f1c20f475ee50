"""One suite, every store: a new backend adds a line to STORES."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

import pytest

from broker.model import Clock
from broker.storage.sqlite import open_store
from broker.storage.store import Store

DEPLOYMENT = "broker.test"


class Backend(Protocol):
    """A place where state can be kept; may be opened more than once."""

    def open(
        self, *, serve: bool = True, clock: Clock = ..., keep_payloads: bool = False
    ) -> AbstractAsyncContextManager[Store]: ...


class SqliteBackend:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "state" / "broker.db"

    def open(
        self, *, serve: bool = True, clock: Clock = lambda: 1_700_000_000.0, keep_payloads: bool = False
    ) -> AbstractAsyncContextManager[Store]:
        return open_store(
            self.path, deployment=DEPLOYMENT, serve=serve, clock=clock, keep_payloads=keep_payloads
        )


STORES: dict[str, Callable[[Path], Backend]] = {"sqlite": SqliteBackend}


@pytest.fixture(params=STORES)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    return STORES[request.param](tmp_path)


@pytest.fixture
async def store(backend: Backend) -> AsyncGenerator[Store]:
    async with backend.open() as opened:
        yield opened


@pytest.fixture
async def keeping(backend: Backend) -> AsyncGenerator[Store]:
    """A store that keeps what is said in calls."""
    async with backend.open(keep_payloads=True) as opened:
        yield opened
