"""Where do checkpoints go that whoever owns the state cannot take back? Into a file that only grows."""

import os
from pathlib import Path

from broker.audit.checkpoint import BadNote, Note, notes_in
from broker.errors import ConfigurationError


class Publication:
    """A file of signed notes, one after the other with an empty line between.

    Notes already in it are not written again. It is opened anew for every note, so that it may be
    rotated or moved away at any time.

    Raises:
        ConfigurationError: it cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sizes: dict[str, int] = {}
        try:
            self._append("")
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"`audit.publish_to`: cannot use `{path}`: {error}",
                hint="name a file that the broker may append to",
            ) from error
        for note in notes_in(text):
            self._remember(note)

    def size(self, origin: str) -> int:
        """How many records of a log the newest note in the file covers."""
        return self._sizes.get(origin, 0)

    def append(self, note: str) -> None:
        """Write a note, durably.

        Raises:
            OSError: it could not be written.
        """
        self._append(note + "\n")
        self._remember(note)

    def _append(self, text: str) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        with os.fdopen(descriptor, "ab") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())

    def _remember(self, note: str) -> None:
        try:
            said = Note.parse(note).checkpoint
        except BadNote:
            return
        self._sizes[said.origin] = max(said.size, self.size(said.origin))
