"""What does an operator read who made a mistake? The file, the line, what is wrong there, and what to do."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.deployment import BROKER
from tests.e2e.processes import free_port
from tests.e2e.restartable import Restartable
from tests.e2e.rpc import call_tool
from tests.e2e.waiting import until

pytestmark = pytest.mark.timeout(60)

MISSPELT_ROLE = """\
role: late
allow:
  - toolz: ["*"]
"""
LATE_ROLE = MISSPELT_ROLE.replace("toolz", "tools")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Restartable]:
    folder = tmp_path_factory.mktemp("bad-configuration") / "broker"
    with Restartable(folder, {"echo": {"use": "echo"}}) as broker:
        yield broker


def serve(folder: Path, configuration: str) -> "subprocess.CompletedProcess[str]":
    """`broker serve` with a configuration that must not work."""
    (folder / "broker.toml").write_text(configuration)
    command = [str(BROKER), "serve", "--config", str(folder / "broker.toml")]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


@pytest.mark.parametrize(
    ("configuration", "says"),
    [
        ("[server]\nprot = 9000\n", ["broker.toml:2", "`prot`", "did you mean `port`"]),
        ("log_levle = 'info'\n", ["broker.toml:1", "log_levle", "did you mean `log_level`"]),
        ("[server]\nport = 'many'\n", ["broker.toml:2", "server.port"]),
        ("[server]\nport = 99999\n", ["broker.toml:2", "server.port"]),
        ("[server\nport = 9000\n", ["broker.toml:1"]),
        ("[server]\nport = 0\nhost = '0.0.0.0'\n", ["broker.toml:3", "TLS"]),
    ],
    ids=["unknown-key", "unknown-top-key", "wrong-type", "out-of-range", "not-toml", "exposed"],
)
def test_a_mistake_in_broker_toml_is_named_with_its_line(
    tmp_path: Path, configuration: str, says: list[str]
) -> None:
    ended = serve(tmp_path, configuration)
    assert ended.returncode == 2, ended.stderr
    assert [part for part in says if part.lower() not in ended.stderr.lower()] == [], ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_connector_that_is_not_installed_is_named(tmp_path: Path) -> None:
    ended = serve(tmp_path, f"[server]\nport = {free_port()}\n[connectors.x]\nuse = 'ekho'\n")
    assert ended.returncode == 2, ended.stderr
    assert "ekho" in ended.stderr
    assert "echo" in ended.stderr.replace("ekho", "")
    assert "Traceback" not in ended.stderr


def test_an_occupied_port_is_said_and_nothing_is_opened(broker: Restartable, tmp_path: Path) -> None:
    port = broker.deployment.url.rpartition(":")[2]
    ended = serve(tmp_path, f"[server]\nport = {port}\n")
    assert ended.returncode in (1, 2)
    assert f"127.0.0.1:{port}" in ended.stderr
    assert "in use" in ended.stderr
    assert "hint" in ended.stderr
    assert not (tmp_path / ".broker").exists()


def test_a_second_broker_on_the_same_state_is_refused(broker: Restartable) -> None:
    ended = broker.run("serve", "--port", str(free_port()))
    assert ended.returncode in (1, 2)
    assert "Traceback" not in ended.stderr
    assert str(broker.database.parent) in ended.stderr, ended.stderr


async def test_a_broken_role_file_leaves_the_old_policy_in_force_until_it_is_mended(
    broker: Restartable,
) -> None:
    deployment = broker.deployment
    token = deployment.token(deployment.add_agent("late", "late"))
    url, role = deployment.mcp_url, broker.policies / "roles" / "late.yaml"
    other = deployment.token(deployment.add_agent("wide", "everything"))

    role.write_text(MISSPELT_ROLE)
    await until(lambda: "policies/roles/late.yaml:3" in broker.said())
    assert "stays in force" in broker.said()
    checked = broker.run("policy", "check")
    assert checked.returncode == 2, checked.stderr
    assert "policies/roles/late.yaml:3" in checked.stderr
    assert "did you mean `tools`" in checked.stderr
    assert "hi" in (await call_tool(url, other, "echo__say", text="hi")).text
    assert "error" in (await call_tool(url, token, "echo__say", text="hi")).body

    role.write_text(LATE_ROLE)
    await until(lambda: "policies loaded" in broker.said())
    assert broker.run("policy", "check").returncode == 0
    assert "hi" in (await call_tool(url, token, "echo__say", text="hi")).text


async def test_a_good_role_beside_a_broken_file_of_facts_or_guards_waits_until_that_is_mended(
    broker: Restartable,
) -> None:
    deployment = broker.deployment
    token = deployment.token(deployment.add_agent("later", "later"))
    broken = [broker.policies / "tools" / "bad.yaml", broker.policies / "guardrails" / "secrets.yaml"]
    for file in broken:
        file.parent.mkdir(exist_ok=True)
        file.write_text("tols: []\n")
    (broker.policies / "roles" / "later.yaml").write_text(LATE_ROLE.replace("late", "later"))
    await until(lambda: "tools/bad.yaml:1" in broker.said())
    assert broker.run("policy", "check").returncode == 2
    broken[0].unlink()
    await until(lambda: "guardrails/secrets.yaml:1" in broker.said())
    assert broker.run("policy", "check").returncode == 2
    assert "error" in (await call_tool(deployment.mcp_url, token, "echo__say", text="hi")).body
    loaded = broker.said().count("policies loaded")
    broken[1].unlink()
    await until(lambda: broker.said().count("policies loaded") > loaded)
    assert "hi" in (await call_tool(deployment.mcp_url, token, "echo__say", text="hi")).text


async def test_a_broker_whose_policies_are_broken_at_start_does_not_start(tmp_path: Path) -> None:
    broker = Restartable(tmp_path / "broker", {})
    (broker.policies / "roles" / "late.yaml").write_text(MISSPELT_ROLE)
    with pytest.raises(RuntimeError, match=r"policies/roles/late\.yaml:3"):
        broker.start()


def test_errors_are_json_on_stdout_where_json_was_asked_for(broker: Restartable) -> None:
    shown = broker.run("agent", "show", "nobody", "--json")
    assert shown.returncode == 5
    assert json.loads(shown.stdout)["error"]["code"] == "unknown_target"
