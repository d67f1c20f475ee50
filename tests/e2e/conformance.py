"""Does the broker speak MCP as well as the server behind it? `scripts/conformance` runs this.

The official suite runs twice for each revision: against `tests/upstreams/everything.py` itself, and
against it through a broker. Whatever passes there and not here is the broker's fault.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.deployment import broker
from tests.e2e.processes import NODE, NODE_MODULES, ROOT, python_upstream

REVISIONS = ("2025-11-25", "2026-07-28")
SUITE = NODE_MODULES / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
SUITE_S = 120.0
ANSWERED_AS_JSON = frozenset({("2025-11-25", "server-sse-multiple-streams")})
"""What the suite checks only on event streams. A call that says nothing on its way is answered as JSON."""

_FOLDER = re.compile(r"^server-(?P<scenario>.+)-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d-\d{3}Z$")


@dataclass(slots=True)
class Score:
    """How one scenario went: checks by status, and what was wrong."""

    statuses: Counter[str] = field(default_factory=Counter[str])
    problems: list[str] = field(default_factory=list[str])

    @property
    def passed(self) -> int:
        return self.statuses["SUCCESS"]

    @property
    def bad(self) -> int:
        return self.statuses["FAILURE"] + self.statuses["WARNING"]

    def __str__(self) -> str:
        return f"{self.passed}/{self.passed + self.bad}" if self.passed + self.bad else "-"


@dataclass(frozen=True, slots=True)
class Row:
    """One scenario of one revision, with and without the broker."""

    revision: str
    scenario: str
    direct: Score
    through: Score

    @property
    def is_lost(self) -> bool:
        """Whether the broker spoils what the upstream can do; a check that is no longer made counts too."""
        fewer = self.through.passed < self.direct.passed and not self.is_answered_as_json
        return self.direct.bad == 0 and (self.through.bad > 0 or fewer)

    @property
    def is_answered_as_json(self) -> bool:
        """Whether the suite found no event stream to look at, where there need not be one."""
        return (self.revision, self.scenario) in ANSWERED_AS_JSON and self.through.statuses["INFO"] > 0

    @property
    def is_crooked(self) -> bool:
        """Whether the upstream, of all things, is wrong. The extension for tasks is not offered by it."""
        return self.direct.bad > 0 and not self.scenario.startswith("tasks-")

    def __str__(self) -> str:
        sums = f"{self.direct!s:>7} {self.through!s:>7}"
        return f"{self.revision}  {self.scenario:<46} {sums}  {self._remark}".rstrip()

    @property
    def _remark(self) -> str:
        if self.is_crooked:
            return "THE UPSTREAM FAILS"
        if self.is_lost:
            return "LOST"
        if self.direct.bad:
            return "not offered"
        return "answered as JSON" if self.is_answered_as_json else ""


def run_suite(url: str, revision: str, folder: Path, token: str | None = None) -> dict[str, Score]:
    """Every server scenario that a revision requires, and those reported beside them, by name."""
    origin = url.removesuffix("/mcp")
    bearer = ["--import", ROOT / "tests" / "node" / "bearer.mjs"] if token else []
    command = [NODE, *bearer, SUITE, "server", "--url", url, "--requirements", revision, "-o", folder]
    done = subprocess.run(
        [str(part) for part in command],
        env={
            "PATH": os.environ["PATH"],
            "BEARER_TOKEN": token or "",
            "BEARER_ORIGIN": origin,
            "NO_COLOR": "1",
        },
        capture_output=True,
        text=True,
        timeout=SUITE_S,
        check=False,
    )
    scores = dict(_scores(folder))
    if not scores or "Total:" not in done.stdout:
        raise RuntimeError(f"the suite did not run to its end:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return scores


def _scores(folder: Path) -> Iterator[tuple[str, Score]]:
    for path in sorted(folder.glob("*/checks.json")):
        named = _FOLDER.match(path.parent.name)
        if named is None:
            raise RuntimeError(f"a folder that the suite does not write: {path.parent}")
        score = Score()
        for check in json.loads(path.read_text()):
            score.statuses[check["status"]] += 1
            if check["status"] in ("FAILURE", "WARNING"):
                score.problems.append(f"{check['status'].lower()} {check['id']}: {check.get('errorMessage')}")
        yield named["scenario"], score


def direct_scores(folder: Path) -> dict[tuple[str, str], Score]:
    """The suite against the upstream alone."""
    with python_upstream("everything.py", log=folder / "direct.log") as url:
        return _all_revisions(url, folder / "direct", None)


def through_scores(folder: Path) -> dict[tuple[str, str], Score]:
    """The suite against the upstream behind a broker, which passes names through."""
    with python_upstream("everything.py", log=folder / "upstream.log") as url:
        connectors = {
            "everything": {"use": "mcp", "prefix": "", "settings": {"url": url, "allow_private": True}}
        }
        with broker(folder / "broker", connectors, hostname="localhost") as deployment:
            agent = deployment.add_agent("conformance", "operator")
            return _all_revisions(deployment.mcp_url, folder / "through", deployment.token(agent))


def _all_revisions(url: str, folder: Path, token: str | None) -> dict[tuple[str, str], Score]:
    return {
        (revision, scenario): score
        for revision in REVISIONS
        for scenario, score in run_suite(url, revision, folder / revision, token).items()
    }


def compare(folder: Path) -> list[Row]:
    """Both runs side by side; they share nothing but the machine."""
    with ThreadPoolExecutor(2) as lanes:
        direct, through = lanes.submit(direct_scores, folder), lanes.submit(through_scores, folder)
        expected, got = direct.result(), through.result()
    return [Row(*key, score, got.get(key, Score())) for key, score in expected.items()]


def report(rows: list[Row]) -> Iterator[str]:
    """The table, the sums, and what each lost scenario complained about."""
    yield f"revision    {'scenario':<46} {'direct':>7} {'broker':>7}"
    yield from (str(row) for row in rows)
    for revision in REVISIONS:
        ours = [row for row in rows if row.revision == revision]
        direct, through = (
            sum(s.passed for s in scores)
            for scores in zip(*((r.direct, r.through) for r in ours), strict=True)
        )
        yield f"{revision}: {direct} checks pass directly, {through} through the broker"
    for row in rows:
        if row.is_lost:
            yield f"\n{row.revision} {row.scenario}"
            yield from (f"  {problem}" for problem in row.through.problems or ["checks are missing"])


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        rows = compare(Path(folder))
    print("\n".join(report(rows)))
    return any(row.is_lost or row.is_crooked for row in rows)


if __name__ == "__main__":
    sys.exit(main())
