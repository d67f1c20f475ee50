"""How is a broker started, killed and started again in a test? With its own folder, policies and prices."""

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import tomlkit

from tests.e2e.deployment import BROKER, Deployment
from tests.e2e.processes import free_port, tail, until_answered

EVERYTHING = """\
role: everything
allow:
  - tools: ["*"]
    resources: ["*"]
    prompts: ["*"]
"""


class Restartable:
    """A broker whose state outlives its process. Leaving the `with` ends the process.

    Args:
        folder: where everything of it lies; made if missing.
        connectors: the `[connectors]` of its configuration.
        prices: USD by exposed tool name (may hold `*`).
        settings: further settings, merged over the defaults of a test.
    """

    def __init__(
        self,
        folder: Path,
        connectors: Mapping[str, Any],
        *,
        prices: Mapping[str, str] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = folder
        self.log = folder / "broker.log"
        self.policies = folder / "policies"
        self.database = folder / ".broker" / "broker.db"
        self._child: subprocess.Popen[bytes] | None = None
        port = free_port()
        self.deployment = Deployment(folder / "broker.toml", f"http://127.0.0.1:{port}")
        own = {"policies_dir": "policies", "server": {"port": port}, "connectors": connectors}
        (self.policies / "roles").mkdir(parents=True)
        (self.policies / "tools").mkdir()
        (self.policies / "roles" / "everything.yaml").write_text(EVERYTHING)
        self.deployment.file.write_text(tomlkit.dumps({**own, **(settings or {})}))
        if prices:
            lines = [f'  - {{match: "{match}", price_usd: "{usd}"}}' for match, usd in prices.items()]
            (self.policies / "tools" / "prices.yaml").write_text("\n".join(["tools:", *lines, ""]))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, **limits: Any) -> None:
        """Start it and wait until it answers. `limits` go to the process as they are."""
        with self.log.open("ab") as output:
            command = [str(BROKER), "serve", "--config", str(self.deployment.file)]
            self._child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **limits
            )
        try:
            url = f"{self.deployment.url}/readyz"
            until_answered(url, self._child, self.log, enough=lambda _: True)
        except RuntimeError:
            self.kill()
            raise

    def kill(self) -> None:
        """As the kernel would when memory is short: no warning, no clean-up."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """As an operator does."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._child is None:
            return
        if self._child.poll() is None:
            os.kill(self._child.pid, how)
        try:
            self._child.wait(20)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
            raise AssertionError(f"it did not end on {how.name}:\n{tail(self.log)}") from None
        finally:
            self._child = None

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """A verb of `broker` with this configuration, whatever its exit code."""
        command = [str(BROKER), *arguments, "--config", str(self.deployment.file)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def said(self) -> str:
        """Everything it wrote so far."""
        return self.log.read_text(errors="replace")
