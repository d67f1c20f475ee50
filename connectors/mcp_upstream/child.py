"""How is a server run as a process? A clean environment, JSON lines both ways, and no child left behind."""

import asyncio
import logging
import os
import shutil
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import anyio

from broker.connector import ConfigurationError, Json, UpstreamUnreachable
from connectors.mcp_upstream.background import Background
from connectors.mcp_upstream.wire import MESSAGE_LIMIT, Scrub, parse

logger = logging.getLogger("connectors.mcp_upstream")

LEAVE_WITHIN_S = 2.0
_POLL_S = 0.01
_CHUNK = 1 << 16
_LAST_WORDS = 10
_LONGEST_LINE = 1000
_INHERITED = frozenset({"PATH", "HOME", "LANG", "TMPDIR"})
_LAUNCHER = str(Path(__file__).with_name("launch.py"))


@dataclass(frozen=True, slots=True)
class Command:
    """A program to start: its absolute path and arguments, the whole environment, the folder."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    cwd: Path | None
    scrub: Scrub


def resolve_program(program: str, name: str) -> str:
    """The absolute path of a program, looked up once when the connector opens.

    Raises:
        ConfigurationError: there is no such program.
    """
    found = shutil.which(program)
    if found is None:
        raise ConfigurationError(
            f"connector `{name}`: there is no program `{program}`",
            hint="install it, or write its absolute path into `command`",
        )
    path = str(Path(found).absolute())
    logger.info("%s is started as %s", name, path)
    return path


def clean_environment(configured: Mapping[str, str]) -> dict[str, str]:
    """What a child gets to see: where programs, home and temporary files are, the language, and its own."""
    inherited = {k: v for k, v in os.environ.items() if k in _INHERITED or k.startswith("LC_")}
    return {**inherited, **configured}


class Child:
    """One running process. `heard` gets each message it writes, `ended` is called once at the end."""

    def __init__(
        self,
        command: Command,
        process: asyncio.subprocess.Process,
        heard: Callable[[Json], None],
        ended: Callable[[], None],
    ) -> None:
        self._command = command
        self._process = process
        self._heard = heard
        self._ended = ended
        self._last_words: deque[str] = deque(maxlen=_LAST_WORDS)
        self._tasks = Background()
        self._closing = False
        self.alive = True

    @classmethod
    async def start(cls, command: Command, heard: Callable[[Json], None], ended: Callable[[], None]) -> Self:
        """Start the program in a session (and process group) of its own.

        Raises:
            UpstreamUnreachable: it cannot be started.
        """
        argv = command.argv
        if sys.platform == "linux":
            argv = (sys.executable, "-I", "-S", _LAUNCHER, str(os.getpid()), *argv)
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=dict(command.environment),
                cwd=command.cwd,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            logger.warning("%s cannot be started: %s", command.name, error)
            raise UpstreamUnreachable(f"`{command.name}` cannot be started") from error
        child = cls(command, process, heard, ended)
        child._tasks.start(child._read())
        child._tasks.start(child._read_errors())
        return child

    async def send(self, message: bytes) -> None:
        """Write one message.

        Raises:
            OSError: the process is gone.
        """
        stdin = self._process.stdin
        if stdin is None or not self.alive:
            raise BrokenPipeError
        stdin.write(message + b"\n")
        await stdin.drain()

    async def close(self) -> None:
        """End the process and all it has started: close its input, then ask, then force. Reaps it."""
        with anyio.CancelScope(shield=True):
            self._closing = True
            self.alive = False
            if self._process.stdin is not None:
                self._process.stdin.close()
            if not await self._left():
                self._signal(signal.SIGTERM)
                await self._left()
            self._signal(signal.SIGKILL)  # also for what the process leaves behind in its group
            await self._left()
            await self._tasks.close()
            self._let_go_of_pipes()

    async def _left(self) -> bool:
        """Whether the process has ended in time. `wait` would also wait for whoever inherited its pipes."""
        with anyio.move_on_after(LEAVE_WITHIN_S):
            while self._process.returncode is None:  # noqa: ASYNC110  # asyncio has no event for just this
                await anyio.sleep(_POLL_S)
        return self._process.returncode is not None

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _let_go_of_pipes(self) -> None:
        # A grandchild in another session may hold the pipes open; asyncio shows their end nowhere public.
        transport = getattr(self._process, "_transport", None)
        if transport is not None:
            transport.close()

    async def _read(self) -> None:
        stdout = self._process.stdout
        buffer, searched = bytearray(), 0
        while stdout is not None and (chunk := await stdout.read(_CHUNK)):
            buffer += chunk
            start = 0
            while (end := buffer.find(b"\n", max(start, searched))) >= 0:
                self._line(bytes(buffer[start:end]))
                start = end + 1
            del buffer[:start]
            searched = len(buffer)
            if searched > MESSAGE_LIMIT:
                logger.error(
                    "%s wrote a message larger than %d bytes; it is ended", self._command.name, searched
                )
                break
        self._finished()

    def _line(self, line: bytes) -> None:
        message = parse(self._command.scrub(line))
        if message is not None:
            self._heard(message)
        elif line.strip():
            logger.debug("%s wrote a line that is no message", self._command.name)

    def _finished(self) -> None:
        """Its output has ended, so nothing more can be asked of it."""
        if not self._closing:
            words = " | ".join(self._last_words) or "it said nothing"
            logger.warning("%s has ended by itself: %s", self._command.name, words)
        self.alive = False
        self._ended()

    async def _read_errors(self) -> None:
        """Drain its error output, else it would block on a full pipe; lines that are too long are cut."""
        stderr, rest = self._process.stderr, b""
        while stderr is not None and (chunk := await stderr.read(_CHUNK)):
            *lines, rest = (rest + chunk).split(b"\n")
            rest = rest[:_LONGEST_LINE]
            for line in lines:
                self._said(line)

    def _said(self, line: bytes) -> None:
        text = self._command.scrub(line[:_LONGEST_LINE]).decode("utf-8", "replace")
        printable = "".join(c if c.isprintable() else " " for c in text).strip()
        if printable:
            self._last_words.append(printable)
            logger.debug("%s: %s", self._command.name, printable)
