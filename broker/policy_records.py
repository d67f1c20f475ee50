"""Which policies were in force when, and what did they say? The log tells each text once."""

import hashlib
from pathlib import Path

import orjson

from broker.audit.interface import SYSTEM_LOG, Event, Filter, LogReader
from broker.journal import Journal

MOST_BYTES = 48 * 1024
"""A longer file is known by its hash alone: a record has only so much room."""
SUFFIXES = frozenset({".yaml", ".cedar", ".cedarschema"})


class PolicyRecords:
    """Writes what is in force into the system log.

    Args:
        log: is asked, once, which texts it holds already.
        journal: where it is recorded.
        folder: the policies.
    """

    def __init__(self, log: LogReader, journal: Journal, folder: Path) -> None:
        self._log = log
        self._journal = journal
        self._folder = folder
        self._told: set[str] | None = None

    async def in_force(self, version: str) -> None:
        """Record the version that is in force from now on, the hash of each file, and what is new in them.

        Raises:
            StorageUnavailable: the log cannot be read or written now.
        """
        if self._told is None:
            self._told = await _texts_in(self._log)
        files: dict[str, str] = {}
        for name, text in texts_of(self._folder).items():
            digest = files[name] = hashlib.sha256(text.encode()).hexdigest()
            if digest not in self._told and len(orjson.dumps(text)) <= MOST_BYTES:
                await self._journal.policy_text(digest, text)
                self._told.add(digest)
        await self._journal.policy_changed(version, files)


def texts_of(folder: Path) -> dict[str, str]:
    """The files of a policies folder by their name in it, sorted."""
    return {
        path.relative_to(folder).as_posix(): path.read_text("utf-8")
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in SUFFIXES
    }


async def _texts_in(log: LogReader) -> set[str]:
    told: set[str] = set()
    async for record in log.records(SYSTEM_LOG, Filter(events=frozenset({Event.POLICY_TEXT}))):
        if record.body:  # not pruned
            told.add(orjson.loads(record.body)["sha256"])
    return told
