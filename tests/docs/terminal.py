"""What does somebody see who follows a page? Its blocks are typed into a real terminal, in order.

A block whose first line names a file is written to that file. In a `console` block every line after
`$ ` is a command and what follows is what it prints, where `...` stands for anything: within a line
for a part of it, on a line of its own for any number of lines. A command has to succeed, unless the
next one is `echo $?`. `broker serve` goes on in the background, as in a second terminal.
`./scripts/demo` is run without the installation it begins with.
"""

import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.docs.pages import Block
from tests.e2e.processes import free_port

PORT = "8321"
"""What pages say. The terminal says another one instead, which is free."""

_ASK_ONLY = "echo $?"
_COMMAND_S = 60
_REMEMBER = 'code=$?; export -p > "$HOME/.exports"; pwd > "$HOME/.folder"; exit $code'
_RECALL = '. "$HOME/.exports" 2>/dev/null; cd "$(cat "$HOME/.folder")"; '


@dataclass(frozen=True, slots=True)
class Step:
    """One command, and what the page says it prints."""

    place: str
    command: str
    expected: str
    may_fail: bool


def steps(block: Block) -> Iterator[Step]:
    """The commands of a console block. Lines after `> ` go on with a command."""
    found: list[tuple[int, str, list[str]]] = []
    for number, line in enumerate(block.text.rstrip("\n").split("\n"), block.line + 1):
        if line.startswith("$ "):
            found.append((number, line[2:], []))
        elif line.startswith("> ") and found and not found[-1][2]:
            found[-1] = (found[-1][0], f"{found[-1][1]}\n{line[2:]}", [])
        else:
            assert found, f"{block.page}:{number}: a console block begins with `$ `"
            found[-1][2].append(line)
    commands = [command for _, command, _ in found]
    for (number, command, output), after in zip(found, [*commands[1:], ""], strict=True):
        yield Step(f"{block.page}:{number}", command, "\n".join(output), after == _ASK_ONLY)


def matches(expected: str, shown: str) -> bool:
    """Whether what was shown is what a page says; `...` stands for anything."""
    pattern = re.escape(_trimmed(expected))
    pattern = re.sub(r"(?m)^\\\.\\\.\\\.(\n|\Z)", r"(?s:.*?)", pattern.replace("\\\n", "\n"))
    pattern = pattern.replace(r"\.\.\.", "[^\n]*")
    return re.fullmatch(pattern, _trimmed(shown)) is not None


def _trimmed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip("\n").split("\n"))


@dataclass(slots=True)
class _Shown:
    """What a process writes to its terminal, as it comes."""

    terminal: int
    text: bytearray = field(default_factory=bytearray)
    grew: threading.Condition = field(default_factory=threading.Condition)
    ended: bool = False

    def read(self) -> None:
        while chunk := self._chunk():
            with self.grew:
                self.text += chunk
                self.grew.notify_all()
        with self.grew:
            self.ended = True
            self.grew.notify_all()
        os.close(self.terminal)

    def await_end(self) -> None:
        with self.grew:
            assert self.grew.wait_for(lambda: self.ended, _COMMAND_S), self.plain

    def _chunk(self) -> bytes:
        try:
            return os.read(self.terminal, 1 << 16)
        except OSError:  # EIO: nobody holds the other side any more
            return b""

    @property
    def plain(self) -> str:
        return self.text.decode(errors="replace").replace("\r\n", "\n")


class Terminal:
    """A terminal in a folder of its own, with a home of its own. Leaving the `with` ends what runs in it."""

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.port = str(port or free_port())
        self._serving: list[tuple[subprocess.Popen[bytes], _Shown]] = []
        self._last_code = 0
        self.home.mkdir(parents=True, exist_ok=True)
        here = self.home / ".folder"
        if not here.exists():
            here.write_text(str(self.home))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End every `broker serve`, as Ctrl-C does."""
        for child, _ in self._serving:
            child.send_signal(signal.SIGINT)
        for child, shown in self._serving:
            try:
                child.wait(20)
            finally:
                child.kill()
            shown.await_end()
        self._serving.clear()

    def follow(self, blocks: Sequence[Block]) -> None:
        """Do what a page says, from its first block to its last."""
        for block in blocks:
            if block.language == "console":
                for step in steps(block):
                    self._do(step)
            elif block.file:
                self._write(block)

    def serve_again(self) -> None:
        """Start the broker of the folder the terminal is in."""
        self._serve(Step("before the page", "broker serve", "...\nbroker serves at ...", may_fail=False))

    def here(self) -> Path:
        """The folder the terminal is in."""
        return Path((self.home / ".folder").read_text().strip())

    def _write(self, block: Block) -> None:
        assert block.file is not None
        path = self.here() / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        text = self._ported(block.text)
        loaded = self._policies_loaded()
        if block.is_added:
            assert path.exists(), f"{block.place}: there is no {block.file} to add to"
            path.write_text(path.read_text() + "\n" + text.partition("\n")[2])
        else:
            path.write_text(text)
        if block.file.startswith("policies/"):
            self._await_policies(loaded, block)

    def _policies_loaded(self) -> int:
        return sum(shown.text.count(b" loaded") for _, shown in self._serving)

    def _await_policies(self, before: int, block: Block) -> None:
        """Wait until the broker has looked at a changed policy, as a reader does by reading on."""
        for _, shown in self._serving:
            with shown.grew:
                taken = shown.grew.wait_for(lambda: self._policies_loaded() > before, _COMMAND_S)
            assert taken, f"{block.place}: the broker does not look at it\n{shown.plain}"

    def _do(self, step: Step) -> None:
        if step.command.split()[:2] == ["broker", "serve"]:
            self._serve(step)
            return
        child, shown = self._start(step.command)
        code = child.wait(_COMMAND_S)
        shown.await_end()
        self._last_code = code
        assert code == 0 or step.may_fail, f"{step.place}: exit code {code}\n{shown.plain}"
        self._compare(step, shown.plain)

    def _serve(self, step: Step) -> None:
        child, shown = self._start(step.command)
        self._serving.append((child, shown))
        with shown.grew:
            shown.grew.wait_for(lambda: b"Ctrl-C" in shown.text or shown.ended, _COMMAND_S)
        assert child.poll() is None, f"{step.place}: it ended\n{shown.plain}"
        self._compare(step, shown.plain)

    def _compare(self, step: Step, shown: str) -> None:
        expected = self._ported(step.expected)
        assert matches(expected, shown), (
            f"{step.place}: $ {step.command}\n--- the page says\n{expected}\n--- it prints\n{shown}"
        )

    def _ported(self, text: str) -> str:
        return text.replace(PORT, self.port).replace("./scripts/demo", "broker demo")

    def _start(self, command: str) -> tuple[subprocess.Popen[bytes], _Shown]:
        ours, theirs = pty.openpty()
        script = f"{_RECALL}(exit {self._last_code}); {self._ported(command)}\n{_REMEMBER}"
        serves = command.split()[:2] == ["broker", "serve"]
        child = subprocess.Popen(
            ["bash", "-c", f"{_RECALL}exec {command}" if serves else script],
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            env=self._environment(),
            start_new_session=True,
        )
        os.close(theirs)
        shown = _Shown(ours)
        threading.Thread(target=shown.read, daemon=True).start()
        return child, shown

    def _environment(self) -> dict[str, str]:
        programs = [Path(sys.executable).parent, *_folders_of("git", "bash", "tar")]
        return {
            "PATH": os.pathsep.join(str(folder) for folder in programs),
            "HOME": str(self.home),
            "USER": "dana",
            "LOGNAME": "dana",
            "LANG": "C.UTF-8",
            "TERM": "xterm",
            "NO_COLOR": "1",
            "COLUMNS": "110",
            "BROKER_SERVER__PORT": self.port,
            "BROKER_URL": f"http://127.0.0.1:{self.port}",
        }


def _folders_of(*programs: str) -> list[Path]:
    found = [Path(path).parent for name in programs if (path := shutil.which(name))]
    return list(dict.fromkeys(found))
