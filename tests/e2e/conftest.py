"""One real broker with real upstreams for all end-to-end tests."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.deployment import Credentials, Deployment, broker
from tests.e2e.processes import NODE, NODE_MODULES, UPSTREAMS, python_upstream
from tests.e2e.venvs import venv


@dataclass(frozen=True, slots=True)
class World:
    """The deployment, its agents, and the folder its upstreams work in."""

    broker: Deployment
    operator: Credentials
    reader: Credentials
    folder: Path


@pytest.fixture(scope="session")
def mcp1() -> Path:
    """Programs built on mcp 1.x."""
    return venv("mcp1")


@pytest.fixture(scope="session")
def mcp2() -> Path:
    """Programs built on mcp 2.x."""
    return venv("mcp2")


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, mcp1: Path, mcp2: Path) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    (folder / "files").mkdir()
    (folder / "files" / "note.txt").write_text("a note that only the file system knows\n")
    repository = _repository(folder / "repository")
    commands = {
        "time": [mcp2 / "mcp-server-time", "--local-timezone", "UTC"],
        "git": [mcp2 / "mcp-server-git", "--repository", repository],
        "fetch": [mcp2 / "mcp-server-fetch", "--ignore-robots-txt", "--allow-private-ips"],
        "sqlite": [mcp1 / "mcp-server-sqlite", "--db-path", folder / "data.db"],
        "asking": [mcp1 / "python", UPSTREAMS / "mcp1_asking.py"],
        "everything": _npm("server-everything"),
        "files": [*_npm("server-filesystem"), folder / "files"],
        "memory": _npm("server-memory"),
    }
    environments = {"memory": {"MEMORY_FILE_PATH": str(folder / "memory.jsonl")}}
    connectors = {"echo": {"use": "echo"}} | {
        name: {
            "use": "mcp",
            "settings": {"command": [str(part) for part in command], "env": environments.get(name, {})},
        }
        for name, command in commands.items()
    }
    with python_upstream("everything.py", log=folder / "everything.log") as url:
        connectors["python"] = {"use": "mcp", "settings": {"url": url, "allow_private": True}}
        with broker(folder / "broker", connectors) as deployment:
            operator = deployment.add_agent("olga", "operator")
            reader = deployment.add_agent("rita", "reader")
            yield World(deployment, operator, reader, folder)


def _npm(package: str) -> list[Path]:
    """How a server from npm is started: its own `bin`, by the Node that came with it."""
    folder = NODE_MODULES / "@modelcontextprotocol" / package
    if not NODE.exists():
        raise RuntimeError("the npm packages are missing: run `. scripts/lib/node.sh` (scripts/test does)")
    return [NODE, folder / "dist" / "index.js"]


def _repository(folder: Path) -> Path:
    folder.mkdir()
    (folder / "readme.txt").write_text("first\n")
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    for verb in (
        ["init", "--quiet"],
        ["add", "."],
        [*identity, "commit", "--quiet", "-m", "the first commit"],
    ):
        subprocess.run(["git", "-C", str(folder), *verb], check=True, capture_output=True, timeout=30)
    return folder
