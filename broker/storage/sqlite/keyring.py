"""Which keys open payloads and name people? Those of days and persons, in a file of their own.

The file is apart from the state so that its backups can be short-lived: a key that was destroyed must not
come back with a backup that is kept for years. Every key in it is wrapped (RFC 3394) under one key that is
in neither file.
"""

import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import apsw
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from broker.audit.payloads import KEY_BYTES
from broker.errors import ConfigurationError
from broker.storage.sqlite.connection import Connection, connect_keys

_HANDLES = "handles"
"""The key of the keyed hashes that people are found by."""

_SCHEMA = """
create table if not exists key (
    name    text primary key,
    wrapped blob not null
) strict, without rowid
"""


class KeyRing:
    """Keys by name. To be used by whoever holds the write lock of the state.

    Args:
        path: the file, made readable by its owner alone.
        wrapping: wraps the keys in it (256 bits).

    Raises:
        ConfigurationError: the file cannot be used, or was made under another key.
    """

    def __init__(self, path: Path, wrapping: bytes) -> None:
        self._path = path
        self._wrapping = wrapping
        self._known: dict[str, bytes] = {}
        try:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            self._connection: Connection = connect_keys(path)
            self._connection.execute(_SCHEMA)
        except (OSError, apsw.Error) as error:
            raise ConfigurationError(
                f"{path}: cannot be opened: {error}", hint="it holds the keys of payloads: restore its backup"
            ) from error
        self.handles = self.make(_HANDLES)
        self.commit()

    def get(self, name: str) -> bytes | None:
        """A key, if there is one of this name.

        Raises:
            ConfigurationError: it was wrapped under another key.
        """
        found = self._known.get(name)
        if found is None:
            row = self._connection.execute("select wrapped from key where name = ?", (name,)).fetchone()
            if row is None:
                return None
            found = self._known[name] = self._unwrapped(row[0])
        return found

    def make(self, name: str) -> bytes:
        """The key of this name, made if there is none. Durable once `commit` has returned."""
        found = self.get(name)
        if found is None:
            self._begin()
            wrapped = aes_key_wrap(self._wrapping, os.urandom(KEY_BYTES))
            self._connection.execute("insert into key values (?, ?) on conflict do nothing", (name, wrapped))
            found = self.get(name)
        if found is None:
            raise ConfigurationError(f"{self._path}: the key `{name}` was not kept")
        return found

    def destroy(self, names: Collection[str]) -> None:
        """Destroy keys for good: nothing of them is left in the file or beside it."""
        if not names:
            return
        self._begin()
        self._connection.executemany("delete from key where name = ?", [(name,) for name in names])
        self.commit()
        self._connection.execute("pragma wal_checkpoint(truncate)").fetchall()
        self.forget()

    def days_before(self, log: str, day: int) -> list[str]:
        """The names of the day keys of a log that are older than a day."""
        rows = self._connection.execute("select name from key where name like 'day:%'")
        names = [str(name) for (name,) in rows]
        return [
            name for name in names if name.startswith(f"day:{log}:") and int(name.rpartition(":")[2]) < day
        ]

    def commit(self) -> None:
        """Make what was made durable. To be called before anything that needs it is."""
        if self._connection.in_transaction:
            self._connection.execute("commit")

    def forget(self) -> None:
        """Believe the file again; what was made and not committed is gone."""
        if self._connection.in_transaction:
            self._connection.execute("rollback")
        self._known.clear()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _begin(self) -> None:
        if not self._connection.in_transaction:
            self._connection.execute("begin immediate")

    def _unwrapped(self, wrapped: bytes) -> bytes:
        try:
            return aes_key_unwrap(self._wrapping, wrapped)
        except InvalidUnwrap as error:
            raise ConfigurationError(
                f"{self._path}: its keys are wrapped under another key",
                hint="give `audit.payload_key` the reference it had, or restore `payload.key`",
            ) from error


def day_key(log: str, day: int) -> str:
    """The name of the key of a day (days since 1970)."""
    return f"day:{log}:{day}"


def wrapping_key(path: Path) -> bytes:
    """The key in this file, made at the first start, readable by its owner alone.

    Raises:
        ConfigurationError: it cannot be read or made.
    """
    try:
        if not path.exists():
            _make(path)
        return read_wrapping_key(path.read_text("ascii"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{path}: cannot be read: {error}", hint="it wraps the keys of payloads: restore its backup"
        ) from error


def _make(path: Path) -> None:
    """Of processes that start together one makes it, and nobody sees half of it."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600), "w") as file:
        file.write(f"{os.urandom(KEY_BYTES).hex()}\n")
        file.flush()
        os.fsync(file.fileno())
    with suppress(FileExistsError):
        os.link(draft, path)
    draft.unlink()
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_wrapping_key(text: str, where: str) -> bytes:
    """A key of 64 hexadecimal digits.

    Raises:
        ConfigurationError: it is something else.
    """
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigurationError(
            f"{where}: is not a key of payloads", hint="64 hexadecimal digits: `openssl rand -hex 32`"
        )
    return key
