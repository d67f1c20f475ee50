"""How is the state copied, and put back? With SQLite's online backup: as of one commit, while calls go on."""

import os
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import anyio.to_thread
import apsw

from broker.errors import ConfigurationError

_PAGES = 4000
_HINT = "name a file that is new, in a folder that the broker may write to"


class SqliteBackups:
    """`BackupStore` on one file, with the keys in another."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def back_up(self, into: Path, keys: Path | None) -> None:
        """See `BackupStore`. The keys are copied last: those of all payloads in the copy are among them."""
        await anyio.to_thread.run_sync(copied, self._path, into)
        if keys is not None:
            await anyio.to_thread.run_sync(copied, self._path.with_name("keys.db"), keys)


def restored(backup: Path, keys: Path | None, path: Path) -> None:
    """Put a backup where the state was.

    Args:
        backup: the copy of the state.
        keys: the copy of the keys; without it the payloads in the state stay unreadable.
        path: where the state goes.

    Raises:
        ConfigurationError: there is a state already, or a file cannot be read or written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists() or path.with_name("keys.db").exists():
        raise ConfigurationError(
            f"`{path.parent}` holds a state already", hint="move it away first; nothing was changed"
        )
    try:
        copied(backup, path)
        if keys is not None:
            copied(keys, path.with_name("keys.db"))
    except ConfigurationError:
        removed(path)
        raise


def removed(path: Path) -> None:
    """Take away what was restored, and what SQLite has laid beside it."""
    for file in (path, path.with_name("keys.db")):
        for suffix in ("", "-wal", "-shm", ".lock"):
            file.with_name(f"{file.name}{suffix}").unlink(missing_ok=True)


def copied(source: Path, into: Path) -> None:
    """Copy a database into a new file, readable by its owner alone.

    Raises:
        ConfigurationError: there is a file already, or one cannot be read or written.
    """
    if not source.is_file():
        raise ConfigurationError(f"there is no file `{source}`")
    try:
        with _new(into), closing(_opened(source)) as reading, closing(_opened(into)) as writing:
            reading.set_busy_timeout(5000)
            with writing.backup("main", reading, "main") as backup:
                while not backup.done:
                    backup.step(_PAGES)
    except OSError as error:
        raise ConfigurationError(f"cannot write `{into}`: {error.strerror}", hint=_HINT) from error
    except apsw.Error as error:
        raise ConfigurationError(f"cannot copy `{source}`: {error}", hint="it has to be a state") from error


def _opened(path: Path) -> Any:  # the driver's own annotations need a newer Python to be read
    return apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)


@contextmanager
def _new(path: Path) -> Generator[None]:
    """A new file, which goes again if it does not become what it should."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise
