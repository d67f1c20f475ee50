"""One real broker for all tests of the command line: its own process, a real upstream, real agents."""

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import tomlkit

from broker.__main__ import Composition
from broker.edges.cli import main as cli
from tests.e2e.processes import process, python_upstream

BROKER = [sys.executable, "-m", "broker"]


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Deployment:
    """A broker that serves, and the folder it was set up in."""

    folder: Path
    url: str

    @property
    def config(self) -> Path:
        return self.folder / "broker.toml"

    def secret_file(self, agent: str) -> Path:
        return self.folder / f"{agent}.secret"

    def run(self, *words: str, env: dict[str, str] | None = None, given: str = "") -> Done:
        """A command as a user runs it in this folder, its output piped; in this process, to save time."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.chdir(self.folder), pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.startswith("BROKER_")]:
                patch.delenv(name)
            for name, value in (env or {}).items():
                patch.setenv(name, value)
            patch.setattr(sys, "stdin", io.StringIO(given))
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = cli.run(Composition(), words)
        return Done(code, out.getvalue(), err.getvalue())

    def process(self, *words: str) -> Done:
        """The same in a process of its own, for tests that have an event loop already."""
        command = [*BROKER, *words, "--config", str(self.config)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return Done(done.returncode, done.stdout, done.stderr)

    def json(self, *words: str, code: int = 0) -> object:
        """What a command prints with --json, given that it ends with `code`."""
        done = self.run(*words, "--json")
        assert done.returncode == code, done.stderr + done.stdout
        return json.loads(done.stdout)


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("cli")
    with python_upstream("everything.py", log=folder / "everything.log") as upstream:
        connectors = {
            "echo": {"use": "echo"},
            "all": {"use": "mcp", "settings": {"url": upstream, "allow_private": True}},
        }
        settings = {"policies_dir": "policies", "server": {"port": 0}, "connectors": connectors}
        (folder / "broker.toml").write_text(tomlkit.dumps(settings))
        _policies(folder / "policies")
        command = [*BROKER, "serve", "--json", "--config", folder / "broker.toml"]
        with process(command, folder / "broker.log", stdout=subprocess.PIPE) as child:
            line = child.stdout.readline()
            assert line, (folder / "broker.log").read_text()
            url = json.loads(line)["mcp"].removesuffix("/mcp")
            settings["server"]["port"] = int(url.rpartition(":")[2])
            (folder / "broker.toml").write_text(tomlkit.dumps(settings))
            here = Deployment(folder, url)
            for name, role, *more in (("olga", "operator"), ("rita", "reader", "--cap", "0.0015")):
                words = ["agent", "add", name, "--role", role, "--secret-file", f"{name}.secret", *more]
                here.json(*words)
            yield here


def _policies(folder: Path) -> None:
    (folder / "roles").mkdir(parents=True)
    (folder / "rules").mkdir()
    (folder / "roles" / "operator.yaml").write_text(
        "role: operator\nallow:\n  - tools: ['*']\n    prompts: ['*']\n    resources: ['*']\n"
    )
    (folder / "roles" / "reader.yaml").write_text(
        "role: reader\nallow:\n  - tools: [echo__say, all__test_simple_text]\n"
    )
    (folder / "rules" / "hard.cedar").write_text(
        '@id("no-simple-text")\n@reason("rita has read enough")\n'
        'forbid (principal in Role::"reader", action == Action::"call", resource == Tool::"all__test_simple_text");\n'
    )
