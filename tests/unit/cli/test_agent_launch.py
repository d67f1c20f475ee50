"""`broker agent launch` starts a real process against a real broker."""

import json
import subprocess
import sys

from broker.edges.cli.agent_launch import CHECK_S, watched

TELLS = """
import base64, json, os, sys, urllib.request
url, name, secret = (os.environ[f"BROKER_{what}"] for what in ("URL", "CLIENT_ID", "CLIENT_SECRET"))
pair = base64.b64encode(f"{name}:{secret}".encode()).decode()
asked = urllib.request.Request(url + "/oauth/token", b"grant_type=client_credentials", {"Authorization": "Basic " + pair})
token = json.load(urllib.request.urlopen(asked))["access_token"]
told = {"secret": secret, "token": token, "names": sorted(os.environ), "argv": sys.argv}
open("told.json", "w").write(json.dumps(told))
sys.exit(7)
"""


class Stuck:
    """A process that runs until it is asked to end."""

    def __init__(self) -> None:
        self.asked = False

    def wait(self, timeout: float | None = None) -> int:
        if self.asked:
            return -15
        raise subprocess.TimeoutExpired("agent", timeout or 0)

    def terminate(self) -> None:
        self.asked = True

    def kill(self) -> None:
        raise AssertionError("it ends when it is asked to")


def test_a_process_gets_a_secret_that_works_while_it_runs_and_leaves_none_behind(deployment):
    added = deployment.run("agent", "add", "lena", "--role", "operator", "--no-secret", "--json")
    assert added.returncode == 0
    assert "secret" not in json.loads(added.stdout)
    (deployment.folder / "agent.py").write_text(TELLS)
    secrets = {"PROVIDER_KEY": "sk-of-the-operator", "WANTED": "yes"}
    words = ["agent", "launch", "lena", "--env", "WANTED", "--", sys.executable, "agent.py"]
    done = deployment.run(*words, env=secrets)
    assert done.returncode == 7, done.stderr
    told = json.loads((deployment.folder / "told.json").read_text())
    assert "WANTED" in told["names"]
    assert "PROVIDER_KEY" not in told["names"]
    assert all(told["secret"] not in word for word in told["argv"])
    for file in deployment.folder.rglob("*"):
        if file.is_file() and file.name != "told.json":
            assert told["secret"].encode() not in file.read_bytes(), file
    after = deployment.run(
        "token",
        env={
            "BROKER_CLIENT_ID": "lena",
            "BROKER_CLIENT_SECRET": told["secret"],
            "BROKER_URL": deployment.url,
        },
    )
    assert after.returncode == 4, after.stdout
    begun, ended = deployment.json("agent", "history", "lena")[-2:]
    assert (begun["change"], ended["change"]) == ("launched", "launch_ended")
    assert begun["instance"] == ended["instance"]
    assert len(begun["code_sha256"]) == 64
    assert ended["why"] == "its process has ended"


def test_what_is_checked_is_measured_and_not_started(deployment):
    deployment.json("agent", "add", "mona", "--role", "operator", "--no-secret")
    (deployment.folder / "idle.py").write_text("open('started', 'w')")
    words = ["agent", "launch", "mona", "--check", "--json", "--", sys.executable, "idle.py"]
    first = json.loads(deployment.run(*words).stdout)
    (deployment.folder / "idle.py").write_text("open('started', 'a')")
    second = json.loads(deployment.run(*words).stdout)
    assert first["drift"] is None
    assert first["code_sha256"] != second["code_sha256"]
    assert not (deployment.folder / "started").exists()


def test_an_agent_that_is_suspended_is_not_launched(deployment):
    deployment.json("agent", "add", "nora", "--role", "operator", "--no-secret")
    deployment.json("agent", "suspend", "nora")
    done = deployment.run("agent", "launch", "nora", "--", sys.executable, "-c", "")
    assert done.returncode == 2
    assert "only an active agent is launched" in done.stderr


def test_variables_of_the_broker_are_not_passed_on(deployment):
    words = ["agent", "launch", "olga", "--env", "BROKER_MASTER_KEY", "--", sys.executable]
    assert "is not passed on" in deployment.run(*words).stderr


def test_a_program_that_is_not_there_is_not_launched(deployment):
    assert "is no program here" in deployment.run("agent", "launch", "olga", "--", "no-such-program").stderr


def test_a_process_is_stopped_when_its_time_is_over():
    stuck, clock = Stuck(), iter([100.0, 200.0])
    assert watched(stuck, 150.0, lambda: True, lambda: next(clock)) == (-15, "its time was over")


def test_a_process_is_stopped_when_its_code_changes():
    stuck, seen = Stuck(), iter([True, False])
    assert watched(stuck, 1000.0, lambda: next(seen), lambda: 0.0) == (-15, "its code has changed")
    assert CHECK_S < 60
