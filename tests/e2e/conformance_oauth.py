"""Are tokens asked for and given as the MCP specification wants it? `scripts/conformance` runs this too.

The official suite plays the server to `broker.client`, and to the Python SDK's own providers beside it;
then it plays the client to the broker's authorization server.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.e2e.conformance import SUITE, SUITE_S
from tests.e2e.deployment import broker
from tests.e2e.processes import NODE, ROOT, free_port

REVISION = "2026-07-28"
CLIENT = ROOT / "tests" / "e2e" / "clients" / "conformance_client.py"
CLIENT_RUNS = (
    ("broker", "auth/client-credentials-basic"),
    ("broker", "auth/client-credentials-jwt"),
    ("broker", "auth/resource-mismatch"),
    ("broker", "auth/metadata-issuer-mismatch"),
    ("mcp", "auth/client-credentials-basic"),
    ("mcp", "auth/client-credentials-jwt"),
)
"""Scenarios of other grants cannot be passed without them. Those of a mismatch hold for every grant."""
SERVER_RUNS = ("authorization-server-metadata-endpoint", "authorization-code-grant")
EXPECTED: Mapping[str, Mapping[str, str]] = yaml.safe_load(
    (ROOT / "tests" / "e2e" / "conformance_expected.yaml").read_text("utf-8")
)


@dataclass(frozen=True, slots=True)
class Check:
    """One check of the suite, and why it may fail, if it may."""

    who: str
    scenario: str
    name: str
    passed: bool
    problem: str = ""
    excuse: str | None = None

    @property
    def is_wrong(self) -> bool:
        """Whether it fails without an excuse, or has an excuse that it does not need."""
        return self.passed == (self.excuse is not None)

    def __str__(self) -> str:
        how = "passes" if self.passed else "fails"
        why = self.excuse or self.problem
        line = f"{'WRONG ' if self.is_wrong else ''}{self.who}: {self.scenario} {self.name} {how}"
        return f"{line}: {why.strip()}" if why else line


def client_checks(folder: Path, kind: str, scenario: str) -> list[Check]:
    """One scenario for clients, which the suite forces onto the newest revision."""
    command = f"{sys.executable} -W ignore {CLIENT} {kind}"
    arguments = ["client", "--force", "--scenario", scenario, "--spec-version", REVISION]
    _run([*arguments, "--command", command], folder)
    return list(_checks(folder, kind, scenario, {}))


def server_checks(folder: Path) -> Iterator[Check]:
    """Every scenario for authorization servers, against a broker."""
    with broker(folder / "broker", {"echo": {"use": "echo"}}, hostname="localhost") as deployment:
        agent = deployment.add_agent("conformance", "operator")
        for scenario in SERVER_RUNS:
            credentials = ["--client-id", agent.client_id, "--client-secret", agent.client_secret]
            place = ["--url", deployment.issuer, "--resource", deployment.mcp_url]
            callback = ["--port", str(free_port())]
            results = folder / scenario
            _run(["authorization", "--scenario", scenario, *place, *credentials, *callback], results)
            yield from _checks(results, "authorization server", scenario, EXPECTED.get(scenario, {}))


def _run(arguments: Sequence[str], folder: Path) -> None:
    done = subprocess.run(
        [str(NODE), "--no-deprecation", str(SUITE), *arguments, "-o", str(folder)],
        env={"PATH": os.environ["PATH"], "NO_COLOR": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SUITE_S,
        check=False,
    )
    if "Test Results:" not in done.stdout:
        raise RuntimeError(f"the suite did not run to its end:\n{done.stdout[-4000:]}")
    if "CLIENT EXITED WITH ERROR" in done.stdout:
        raise RuntimeError(f"the client failed:\n{done.stdout[-4000:]}")


def _checks(folder: Path, who: str, scenario: str, excuses: Mapping[str, str]) -> Iterator[Check]:
    (path,) = folder.rglob("checks.json")
    verdicts: dict[str, tuple[bool, str]] = {}
    for check in json.loads(path.read_text()):
        if check["status"] in {"SUCCESS", "FAILURE", "WARNING"}:
            good = check["status"] == "SUCCESS" and verdicts.get(check["id"], (True, ""))[0]
            verdicts[check["id"]] = good, "" if good else check.get("errorMessage") or check["description"]
    yield from (Check(who, scenario, name, *v, excuses.get(name)) for name, v in verdicts.items())
    for name in excuses.keys() - verdicts.keys():
        yield Check(who, scenario, name, passed=True, excuse=excuses[name])


def all_checks(folder: Path) -> Iterator[Check]:
    """Everything, one after the other."""
    for number, (kind, scenario) in enumerate(CLIENT_RUNS):
        yield from client_checks(folder / str(number), kind, scenario)
    yield from server_checks(folder / "server")


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        checks = list(all_checks(Path(folder)))
    print("\n".join(map(str, checks)))
    return any(check.is_wrong for check in checks)


if __name__ == "__main__":
    sys.exit(main())
