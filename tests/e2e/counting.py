"""Which upstream can be killed and started again in a test? The one that writes its effects to the disk."""

import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.e2e.processes import UPSTREAMS, free_port, tail


class Counter:
    """`tests/upstreams/counter.py` on one port for all of its lives."""

    def __init__(self, folder: Path) -> None:
        self.effects = folder / "effects"
        self.log = folder / "counter.log"
        self.port = free_port()
        self._child: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Start it and wait until it says its address."""
        script = str(UPSTREAMS / "counter.py")
        command = [sys.executable, script, "--effects", str(self.effects), "--port", str(self.port)]
        with self.log.open("ab") as errors:
            self._child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert self._child.stdout
        assert self._child.stdout.readline(), tail(self.log)

    def kill(self) -> None:
        """End it at once, whatever it is doing."""
        if self._child is None:
            return
        self._child.kill()
        self._child.wait()
        if self._child.stdout:
            self._child.stdout.close()
        self._child = None

    @property
    def happened(self) -> list[str]:
        """The effects so far."""
        return self.effects.read_text().splitlines() if self.effects.exists() else []

    @property
    def connector(self) -> dict[str, Any]:
        """Its section in `broker.toml`."""
        url = f"http://127.0.0.1:{self.port}/mcp"
        return {"use": "mcp", "settings": {"url": url, "allow_private": True}}
