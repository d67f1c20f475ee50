"""Which broker is measured? One with everything on: token, role, default guards, a cap, a durable log."""

import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

from benchmarks.process import Server, free_port

BROKER = str(Path(sys.executable).parent / "broker")
AGENT = "benchmark"
CAP_USD = "1000000"

CONFIGURATION = """\
state_dir = "state"
policies_dir = "policies"

[server]
port = {port}
"""
CONNECTOR = """
[connectors.bench]
use = "mcp"

[connectors.bench.settings]
url = "http://127.0.0.1:{port}/mcp"
allow_private = true
"""
ROLE = """\
role: everything
allow:
  - tools: ["*"]
    resources: ["*"]
    prompts: ["*"]
    models: ["*"]
"""
PRICES = """\
tools:
  - match: "bench__*"
    price_usd: "0.001"
"""


class Broker:
    """A broker of its own, in its own folder, with one agent."""

    def __init__(self, folder: Path, upstream_port: int | None = None, connector: str = CONNECTOR) -> None:
        self.folder = folder
        self.port = free_port()
        self.config = folder / "broker.toml"
        for sub, name, text in (("roles", "everything.yaml", ROLE), ("tools", "bench.yaml", PRICES)):
            (folder / "policies" / sub).mkdir(parents=True, exist_ok=True)
            (folder / "policies" / sub / name).write_text(text)
        section = connector.format(port=upstream_port) if upstream_port else ""
        self.config.write_text(CONFIGURATION.format(port=self.port) + section)
        options = ("--role", "everything", "--cap", CAP_USD, "--config", str(self.config), "--json")
        added = self.command("agent", "add", AGENT, *options)
        self.agent = json.loads(added)

    def command(self, *arguments: str) -> str:
        done = subprocess.run([BROKER, *arguments], capture_output=True, text=True, timeout=30, check=False)
        if done.returncode:
            raise SystemExit(f"broker {' '.join(arguments)}: {done.stderr or done.stdout}")
        return done.stdout

    def start(self) -> Server:
        command = [BROKER, "serve", "--config", str(self.config)]
        return Server(command, self.port, self.folder / "log", ready="/readyz")

    @property
    def resource(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    def token(self) -> str:
        """An access token, straight from the token endpoint (RFC 6749 §4.4)."""
        form = {
            "grant_type": "client_credentials",
            "client_id": self.agent["client_id"],
            "client_secret": self.agent["client_secret"],
            "resource": self.resource,
        }
        url = f"http://127.0.0.1:{self.port}/oauth/token"
        with urlopen(url, data=urlencode(form).encode(), timeout=10) as answer:
            return json.load(answer)["access_token"]
