"""What does a process cost? Start it, wait until it answers, read its CPU time and memory, stop it."""

import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """One server process under test."""

    def __init__(self, command: list[str], port: int, log: Path, *, ready: str) -> None:
        self.port = port
        self.log = log
        started = time.perf_counter()
        with log.open("ab") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output)
        self._wait(f"http://127.0.0.1:{port}{ready}")
        self.start_s = time.perf_counter() - started

    def _wait(self, url: str, timeout_s: float = 20.0) -> None:
        deadline = time.perf_counter() + timeout_s
        while time.perf_counter() < deadline:
            if self.process.poll() is not None:
                break
            try:
                urllib.request.urlopen(url, timeout=1).close()
            except (urllib.error.URLError, OSError):
                time.sleep(0.005)
            else:
                return
        self.stop()
        raise SystemExit(f"{self.process.args} did not start:\n{self.log.read_text()[-2000:]}")

    def cpu_ms(self) -> float:
        """User and system time of all its threads so far (proc(5), fields 14 and 15 of stat)."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) * 1000 / TICKS

    def pss_mib(self) -> float:
        """Proportional set size: its own pages and its share of the shared ones."""
        rollup = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        found = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
        assert found
        return int(found[1]) / 1024

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
