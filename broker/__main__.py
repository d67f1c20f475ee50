"""The command `broker`. What builds a broker is read only by the verbs that need one."""

import sys
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from broker.edges.cli import main as cli

if TYPE_CHECKING:
    from pathlib import Path

    from broker.app import App, Office
    from broker.settings import Settings

# ruff: noqa: PLC0415 - imported when used, so that `broker --help` stays under 150 ms


class Composition:
    """`broker/app.py`, imported on first use."""

    def office(self, settings: "Settings") -> AbstractAsyncContextManager["Office"]:
        """Open the state of a deployment."""
        from broker.app import office

        return office(settings)

    def running(self, settings: "Settings", folder: "Path") -> AbstractAsyncContextManager["App"]:
        """Build a broker."""
        from broker.app import running

        return running(settings, folder)

    def restore(self, settings: "Settings", backup: "Path", keys: "Path | None") -> None:
        """Put a backup where no state is."""
        from broker.app import restore

        restore(settings, backup, keys)

    def take_away(self, settings: "Settings") -> None:
        """Remove what was restored and does not verify."""
        from broker.app import take_away

        take_away(settings)


def main() -> None:
    """Entry point of the command."""
    sys.exit(cli.run(Composition(), sys.argv[1:]))


if __name__ == "__main__":
    main()
