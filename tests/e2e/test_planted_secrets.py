"""What a broker leaves behind on its disk holds nothing of what its guards have found."""

import base64
import json
from pathlib import Path

import pytest

from tests.e2e.restartable import Restartable
from tests.e2e.rpc import call_tool
from tests.unit.guardrails import samples

pytestmark = pytest.mark.timeout(90)

PLANTED = [
    *samples.TOKENS.values(),
    samples.JWT,
    samples.PASSWORD,
    "DE89370400440532013000",
    "anna.kovacs@firma-k.hu",
    "4111 1111 1111 1111",
]


async def test_no_secret_and_no_personal_data_is_on_the_disk_after_a_run(tmp_path: Path):
    broker = Restartable(tmp_path / "broker", {"echo": {"use": "echo"}})
    texts = [f"here: {secret} end" for secret in PLANTED]
    texts += [f"password={samples.PASSWORD}", base64.b64encode(samples.STRIPE.encode()).decode()]
    with broker:
        deployment = broker.deployment
        token = deployment.token(deployment.add_agent("wide", "everything"))
        for text in texts:
            reply = await call_tool(deployment.mcp_url, token, "echo__say", text=text)
            assert reply.status == 200
        lines = deployment.command("calls", "tail", "--json", "--last", "100").splitlines()
        calls = [json.loads(line) for line in lines]
        shown = {call["call"]: deployment.command("calls", "show", call["call"]) for call in calls}
    assert sum(call["findings"] > 0 for call in calls) >= len(PLANTED)
    assert any("block private-key in arguments/arguments/text  (" in story for story in shown.values())
    assert any("secrets@2, read as base64" in story for story in shown.values())
    found = {
        (path.name, secret[:8])
        for path in broker.folder.rglob("*")
        if path.is_file()
        for secret in PLANTED
        if secret.encode() in path.read_bytes()
    }
    assert found == set()
    assert not [secret for secret in PLANTED for story in shown.values() if secret in story]
