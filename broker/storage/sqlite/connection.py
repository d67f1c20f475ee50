"""How is the file opened? Brought up to date first, durable for the one writer, read-only for all others."""

import fcntl
import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol, cast

import apsw

from broker.errors import ConfigurationError

BUSY_MS = 5000
CHECKPOINT_PAGES = 4000
"""Size of the write-ahead log (16 MiB) at which it is copied into the file, in the middle of some commit."""

APPLICATION_ID = 0x62726B72
"""What the file says it is (`pragma application_id`): "brkr"."""
_MIGRATIONS = Path(__file__).with_name("migrations")
_COMMON = f"pragma busy_timeout={BUSY_MS}; pragma mmap_size=0; pragma trusted_schema=off"
_SHREDDING = "pragma secure_delete=on"
"""What is deleted is overwritten: people ask for it."""
_DURABLE = (
    "pragma synchronous=full; pragma fullfsync=1; pragma checkpoint_fullfsync=1; pragma foreign_keys=on;"
    f" pragma wal_autocheckpoint={CHECKPOINT_PAGES}"
)


class Rows(Protocol):
    """What a statement answers, row by row. What is in a row is known where its columns are named."""

    def __iter__(self) -> Iterator[Sequence[Any]]: ...

    def fetchone(self) -> Sequence[Any] | None:
        """The next row, if there is one."""
        ...

    def fetchall(self) -> list[Sequence[Any]]:
        """All rows."""
        ...

    @property
    def get(self) -> Any:
        """The only value of the only row."""
        ...


class Cursor(Protocol):
    """What is used of `apsw.Cursor`."""

    def execute(self, statements: str, bindings: Sequence[int | str | bytes | None] = ..., /) -> Rows:
        """Run statements; what an earlier run has not yet given is dropped."""
        ...


class Connection(Protocol):
    """What is used of `apsw.Connection`, whose own annotations need a newer Python to be read."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        ...

    def execute(self, statements: str, bindings: Sequence[int | str | bytes | None] = ..., /) -> Rows:
        """Run statements."""
        ...

    def executemany(self, statements: str, bindings: Iterable[Sequence[int | str | bytes | None]], /) -> Rows:
        """Run one statement once for each set of bindings."""
        ...

    def cursor(self) -> Cursor:
        """Something to run statements with, one after the other."""
        ...

    def total_changes(self) -> int:
        """Rows changed through this connection since it was opened."""
        ...

    def last_insert_rowid(self) -> int:
        """The key of the row that was inserted last."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


def prepare(path: Path) -> None:
    """Create the file if there is none, readable by its owner alone, and migrate it.

    Processes that start together take turns.

    Raises:
        ConfigurationError: it is not a broker's file, is of a newer broker, or cannot be opened.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _turn(path.parent):
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            path.chmod(0o600)
            with closing(_connect(path)) as connection:
                _migrate(connection, path)
    except OSError as error:
        raise ConfigurationError(
            f"{path}: cannot be opened: {error.strerror}", hint="give the broker a `state_dir` of its own"
        ) from error
    except apsw.Error as error:
        raise _not_ours(path, str(error)) from error


def connect_writer(path: Path) -> Connection:
    """A connection that commits durably: synchronous=FULL, and F_FULLFSYNC where there is one."""
    connection = _connect(path)
    _run(connection, f"{_COMMON}; {_DURABLE}; {_SHREDDING}")
    return connection


def connect_keys(path: Path) -> Connection:
    """A connection to the file of keys, as durable as that of the writer."""
    connection = _connect(path)
    _run(connection, f"{_COMMON}; pragma journal_mode=wal; {_DURABLE}; {_SHREDDING}")
    return connection


def connect_reader(path: Path) -> Connection:
    """A connection that cannot write. In WAL mode it neither waits for a writer nor makes one wait."""
    connection = _connect(path)
    _run(connection, f"{_COMMON}; pragma query_only=on")
    return connection


@contextmanager
def serving(path: Path) -> Generator[None]:
    """Be the only process that serves this state, until the context ends or the process dies.

    Raises:
        ConfigurationError: another process serves it.
    """
    lock = path.with_name(f"{path.name}.lock")
    descriptor = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
            raise ConfigurationError(
                f"{path}: is already served by process {holder}",
                hint="stop that broker first, or give this one another `state_dir`",
            ) from None
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _connect(path: Path) -> Connection:
    return cast("Connection", apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE))


@contextmanager
def _turn(folder: Path) -> Generator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _migrate(connection: Connection, path: Path) -> None:
    _run(connection, f"{_COMMON}; {_DURABLE}")
    used = connection.execute("select exists (select 1 from sqlite_schema)").get
    if used and connection.execute("pragma application_id").get != APPLICATION_ID:
        raise _not_ours(path, "it is the database of something else")
    _run(connection, "pragma journal_mode=wal")
    migrations = sorted(_MIGRATIONS.glob("[0-9]*.sql"))
    version = int(connection.execute("pragma user_version").get)
    if version > len(migrations):
        raise ConfigurationError(
            f"{path}: was written by a newer broker (format {version}, this one knows {len(migrations)})",
            hint="start the newer version, or restore a backup from before the upgrade",
        )
    for number, migration in enumerate(migrations[version:], start=version + 1):
        script = migration.read_text("utf-8")
        _run(connection, f"begin immediate; {script}; pragma user_version={number}; commit")


def _not_ours(path: Path, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"{path}: is not the state of a broker: {why}", hint="move the file away, or restore a backup"
    )


def _run(connection: Connection, script: str) -> None:
    """Run every statement: the driver pauses a script at each row until somebody takes it."""
    connection.execute(script).fetchall()
