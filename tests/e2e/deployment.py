"""How is a whole broker set up for a test? As an operator would: a file, the command, one process."""

import base64
import json
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import tomlkit

from tests.e2e.processes import free_port, process, until_answered

BROKER = Path(sys.executable).with_name("broker")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What an agent's owner holds: the OAuth client of the agent."""

    client_id: str
    client_secret: str


@dataclass(frozen=True, slots=True)
class Deployment:
    """A broker that is serving."""

    file: Path
    url: str

    @property
    def mcp_url(self) -> str:
        return f"{self.url}/mcp"

    @property
    def issuer(self) -> str:
        return f"{self.url}/oauth"

    def command(self, *arguments: str) -> str:
        """What a verb of `broker` prints."""
        line = [str(BROKER), *arguments, "--config", str(self.file)]
        done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(line)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def add_agent(self, name: str, role: str, *options: str) -> Credentials:
        added = json.loads(self.command("agent", "add", name, "--role", role, *options, "--json"))
        return Credentials(added["client_id"], added["client_secret"])

    def token(self, agent: Credentials) -> str:
        """An access token from the token endpoint, as any OAuth client gets it."""
        pair = f"{agent.client_id}:{agent.client_secret}".encode()
        form = {"grant_type": "client_credentials", "resource": self.mcp_url}
        request = Request(  # noqa: S310 - a loopback URL of ours
            f"{self.issuer}/token",
            data=urllib.parse.urlencode(form).encode(),
            headers={"Authorization": f"Basic {base64.b64encode(pair).decode()}"},
        )
        with urlopen(request, timeout=10) as answer:  # noqa: S310
            return json.load(answer)["access_token"]


@contextmanager
def broker(
    folder: Path,
    connectors: Mapping[str, Mapping[str, Any]],
    *,
    hostname: str = "127.0.0.1",
    policies: Path | None = None,
) -> Iterator[Deployment]:
    """A broker process with a state folder of its own, serving as soon as all its connectors are up."""
    folder.mkdir(parents=True)
    port = free_port()
    url = f"http://{hostname}:{port}"
    file, log = folder / "broker.toml", folder / "broker.log"
    settings: dict[str, Any] = {"server": {"port": port, "public_url": url}, "connectors": connectors}
    if policies is not None:
        settings["policies_dir"] = str(policies)
    file.write_text(tomlkit.dumps(settings))
    with process([BROKER, "serve", "--config", file], log) as child:
        until_answered(f"{url}/readyz", child, log, enough=_all_connectors_are_up)
        yield Deployment(file, url)


def _all_connectors_are_up(answer: bytes) -> bool:
    return set(json.loads(answer)["connectors"].values()) == {"ok"}
