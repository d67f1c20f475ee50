"""A broker in front of the stand-in of both providers, for tests of models."""

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.deployment import Credentials, Deployment, broker
from tests.e2e.processes import python_upstream

ROLE = """\
role: writer
allow:
  - models: ["openai__small-1", "openai__embed-1", "anthropic__*"]
"""
PRICES = """\
prices:
  - match: "openai__*"
    input: "1"
    output: "10"
  - match: "anthropic__*"
    input: "2"
    cached_input: "0.5"
    output: "20"
"""


@dataclass(frozen=True, slots=True)
class Control:
    """What a test asks the stand-in itself."""

    url: str

    def requests(self) -> list[dict[str, Any]]:
        """All requests for answers, the oldest first."""
        return self._asked("requests")

    def answers(self, count: int) -> list[dict[str, Any]]:
        """How far each answer came, once that many have ended."""
        return self._asked(f"answers?count={count}")

    def allow(self, steps: int) -> None:
        """Let streams go on by that many tokens."""
        self._asked(f"steps?count={steps}", method="POST")

    def _asked(self, path: str, method: str = "GET") -> Any:
        request = urllib.request.Request(f"{self.url}/control/{path}", method=method)  # noqa: S310 - loopback
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return json.load(answer)


@dataclass(frozen=True, slots=True)
class Models:
    """The deployment, the stand-in, an agent that may use models, and one that has no money for it."""

    broker: Deployment
    control: Control
    writer: Credentials
    poor: Credentials

    def record(self, call: str) -> dict[str, Any]:
        """What the log holds of a call."""
        return json.loads(self.broker.command("calls", "show", call, "--json"))


@contextmanager
def models(folder: Path) -> Iterator[Models]:
    """Both providers behind one broker."""
    folder.mkdir(parents=True, exist_ok=True)
    policies = folder / "policies"
    for name, text in (("roles/writer.yaml", ROLE), ("prices/models.yaml", PRICES)):
        (policies / name).parent.mkdir(parents=True)
        (policies / name).write_text(text)
    for name in ("openai", "anthropic"):
        (folder / name).write_text(f"sk-{name}-test")
    with python_upstream("providers.py", log=folder / "providers.log") as url:
        openai = {"small-1": {"aliases": ["cheap"]}, "large-1": {}, "embed-1": {"methods": ["embeddings"]}}
        offered = {"openai": openai, "anthropic": {"large-1": {}}}
        connectors: dict[str, dict[str, Any]] = {
            name: {
                "use": name,
                "settings": {
                    "url": f"{url}/v1",
                    "api_key": f"file:{folder / name}",
                    "allow_private": True,
                    "models": offered[name],
                },
            }
            for name in offered
        }
        with broker(folder / "broker", connectors, policies=policies) as deployment:
            writer = deployment.add_agent("wanda", "writer")
            poor = deployment.add_agent("paul", "writer", "--cap", "0.000001")
            yield Models(deployment, Control(url), writer, poor)
