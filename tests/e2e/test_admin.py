"""Does the operator API keep what its own document says? Asked by schemathesis, at a running broker.

It makes requests out of the document, right ones and wrong ones, and holds every answer against it. The
same seed gives the same requests on every run. BROKER_ADMIN_EXAMPLES makes it longer.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from tests.e2e.deployment import Deployment, broker

EXAMPLES = int(os.environ.get("BROKER_ADMIN_EXAMPLES", "15"))
CONFIGURATION = """
# A cursor may look right and not be ours; a JWK may have all members of a key and not be one. Both are 400.
[[operations]]
include-path-regex = "/(agents|grants|approvals|calls|calls/open|history)$"
include-method = "GET"
checks.positive_data_acceptance.enabled = false

[[operations]]
include-path-regex = "/keys$"
include-method = "POST"
checks.positive_data_acceptance.enabled = false
"""
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")

pytestmark = pytest.mark.timeout(120 + 20 * EXAMPLES)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Deployment]:
    with broker(tmp_path / "broker", {"echo": {"use": "echo"}}) as deployment:
        yield deployment


def rights(*names: str) -> list[str]:
    return [word for name in names for word in ("--right", name)]


def test_every_answer_of_the_operator_api_is_one_that_its_document_describes(
    served: Deployment, tmp_path: Path
):
    words = ["operator", "add", "olga", *rights("read", "agents", "approvals", "budgets", "keys"), "--json"]
    token = json.loads(served.command(*words))["token"]
    served.add_agent("ada", "reader")
    headers = {"Authorization": f"Bearer {token}"}
    request = Request(f"{served.url}/admin/api/openapi.json", headers=headers)  # noqa: S310 - loopback
    document = tmp_path / "openapi.json"
    with urlopen(request, timeout=10) as answer:  # noqa: S310
        document.write_bytes(answer.read())
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
    report = tmp_path / "report.xml"
    command = [
        *(SCHEMATHESIS, "run", document, "--url", served.url, "--header", f"Authorization: Bearer {token}"),
        *("--max-examples", str(EXAMPLES), "--seed", "1", "--generation-deterministic"),
        *("--phases", "examples,coverage,fuzzing", "--mode", "all", "--no-color"),
        *("--report", "junit", "--report-junit-path", report),
    ]
    done = subprocess.run(
        [str(word) for word in command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-12_000:] + done.stderr[-2_000:]
    asked = report.read_text().count("<testcase")
    assert asked >= sum(map(len, json.loads(document.read_text())["paths"].values()))
