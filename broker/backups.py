"""What does a backup need from a store? A copy as of one moment, while calls go on."""

from pathlib import Path
from typing import Protocol


class BackupStore(Protocol):
    """Copies the state. Nothing is locked meanwhile."""

    async def back_up(self, into: Path, keys: Path | None) -> None:
        """Write the state as of now to a new file, and the keys of payloads and people to another.

        They are apart because their backups live differently long: somebody who was erased must not come
        back with a key that was kept for years.

        Raises:
            ConfigurationError: a file is there already, or cannot be written.
        """
        ...
