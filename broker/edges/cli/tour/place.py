"""Where does the demo happen? In a folder that is gone afterwards, with a small repository."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import tomlkit

import broker
from broker.configuration.load import load_settings
from broker.edges.cli.listening import bound
from broker.errors import ConfigurationError
from broker.settings import Settings

DEFAULT_PORT = 8321
_GIT_ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "dana",
    "GIT_AUTHOR_EMAIL": "dana@demo.local",
    "GIT_COMMITTER_NAME": "dana",
    "GIT_COMMITTER_EMAIL": "dana@demo.local",
}
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


@dataclass(frozen=True, slots=True)
class Place:
    """The demo's folder and what is in it."""

    folder: Path
    model: socket.socket
    """Where the stand-in for a model listens."""

    @property
    def config(self) -> Path:
        """The configuration the demo runs on; every command works with it too."""
        return self.folder / "broker.toml"

    @property
    def repository(self) -> Path:
        """A git repository with two commits, one of which holds a key that should not be there."""
        return self.folder / "repository"

    def secret_file(self, agent: str) -> Path:
        """Where the secret of an agent is."""
        return self.folder / f"{agent}.secret"


def prepare(folder: Path) -> Place:
    """Make everything the demo needs.

    Raises:
        ConfigurationError: git or one of the two upstream servers is missing.
    """
    place = Place(folder, socket.create_server(("127.0.0.1", 0)))
    shutil.copytree(story(), folder, dirs_exist_ok=True)
    _make_repository(place.repository)
    document = tomlkit.parse(place.config.read_text(encoding="utf-8"))
    commands = {
        "time": [_program("mcp-server-time"), "--local-timezone", "UTC"],
        "git": [_program("mcp-server-git"), "--repository", str(place.repository)],
    }
    for connector, command in commands.items():
        document["connectors"][connector]["settings"]["command"] = command  # pyright: ignore[reportIndexIssue]
    port = place.model.getsockname()[1]
    document["connectors"]["stand-in"]["settings"]["url"] = f"http://127.0.0.1:{port}/v1"  # pyright: ignore[reportIndexIssue]
    place.config.write_text(tomlkit.dumps(document), encoding="utf-8")
    return place


def listen(place: Place, port: int | None) -> tuple[socket.socket, Settings]:
    """A listener on the usual port or on a free one, written down so that other commands find it.

    Raises:
        ConfigurationError: the port that was asked for cannot be had.
    """
    loaded = load_settings(place.config, {}, {("server", "port"): DEFAULT_PORT if port is None else port})
    try:
        listener, settings = bound(loaded.settings)
    except ConfigurationError:
        if port is not None:
            raise
        listener, settings = bound(load_settings(place.config, {}, {("server", "port"): 0}).settings)
    document = tomlkit.parse(place.config.read_text(encoding="utf-8"))
    document["server"] = {"port": settings.server.port}
    place.config.write_text(tomlkit.dumps(document), encoding="utf-8")
    return listener, settings


def story() -> Path:
    """The folder the demo starts from: in the wheel, else in the checkout."""
    package = Path(broker.__file__).parent
    packaged = package / "_demo"
    return packaged if packaged.is_dir() else package.parent / "examples" / "01-first-call"


def _program(name: str) -> str:
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise ConfigurationError(
            f"the demo needs `{name}`", hint="pip install mcp-server-time mcp-server-git, or run scripts/demo"
        )
    return found


def _make_repository(folder: Path) -> None:
    key = "AKIA" + "".join(secrets.choice(_LETTERS) for _ in range(16))
    folder.mkdir()
    _git(folder, "init", "--quiet", "--initial-branch=main")
    _commit(folder, "README.md", "# Shop\n\nSells things.\n", "begin the shop")
    _commit(folder, "deploy.env", f"REGION=eu-west-1\nAWS_ACCESS_KEY_ID={key}\n", "deploy from CI")
    (folder / "CHANGELOG.md").write_text("- nothing yet\n", encoding="utf-8")
    _git(folder, "add", ".")


def _commit(folder: Path, name: str, text: str, message: str) -> None:
    (folder / name).write_text(text, encoding="utf-8")
    _git(folder, "add", name)
    _git(folder, "commit", "--quiet", "--message", message)


def _git(folder: Path, *arguments: str) -> None:
    git = shutil.which("git")
    if git is None:
        raise ConfigurationError("the demo needs `git`", hint="install git and run it again")
    environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(folder), **_GIT_ENVIRONMENT}
    subprocess.run([git, *arguments], cwd=folder, env=environment, check=True, timeout=20)  # noqa: S603 - fixed words
