"""Does a human's word reach a call across processes? A broker, its upstream, and `broker approvals`, all real."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import anyio
import pytest
from anyio import to_thread

from tests.e2e.counting import Counter
from tests.e2e.deployment import Credentials
from tests.e2e.restartable import Restartable
from tests.e2e.rpc import Reply, call_tool
from tests.e2e.waiting import until

GUARD = """\
guard: personal
mode: enforce
unread: block
rules:
  - stages: [arguments]
    approver: data-protection
    do: {contact: approve}
  - do: {"*": allow}
"""
ROLE = """\
role: asking
allow: []
approve:
  - {tools: [counter__count], approver: team-lead}
"""
ADDRESS = "ada@shop-kunde.de"
DECIDE = """
import sys
import broker.edges.cli.approvals, broker.app
from broker.__main__ import main
print("ready", flush=True)
sys.stdin.readline()
main()
"""
"""`broker`, held back just before it begins: reading its code takes longer than all that follows."""


class House(Restartable):
    """A broker before `counter`, and an agent with a token."""

    counter: Counter
    agent: Credentials

    async def count(self, token: str, effect: str) -> Reply:
        return await call_tool(self.deployment.mcp_url, token, "counter__count", id=effect)

    def token(self) -> str:
        return self.deployment.token(self.agent)

    def open_questions(self) -> list[dict[str, Any]]:
        return json.loads(self.run("approvals", "list", "--json").stdout)


@contextmanager
def house(folder: Path, role: str, wait_s: float = 0) -> Iterator[House]:
    with Counter(folder) as counter:
        approvals = {"approvals": {"wait_s": wait_s}}
        place = House(folder / "broker", {"counter": counter.connector}, settings=approvals)
        place.counter = counter
        (place.policies / "guardrails").mkdir()
        (place.policies / "roles" / "asking.yaml").write_text(ROLE)
        if role == "everything":
            (place.policies / "guardrails" / "personal.yaml").write_text(GUARD)
        with place:
            place.agent = place.deployment.add_agent("rita", role)
            yield place


async def run(place: House, *words: str) -> subprocess.CompletedProcess[str]:
    return await to_thread.run_sync(lambda: place.run(*words))


async def test_what_a_guard_wants_a_human_to_see_goes_out_once_as_they_saw_it(tmp_path: Path):
    with house(tmp_path, "everything") as place:
        token = place.token()
        assert (await place.count(token, "no address")).text == "effect 1"
        refusal = (await place.count(token, ADDRESS)).refusal
        assert (refusal["code"], refusal["approval"]["waits_for"]) == (
            "pending_approval",
            ["data-protection"],
        )
        assert refusal["because"][0]["rule"].startswith("guard/")
        approval = refusal["approval"]["id"]
        shown = (await run(place, "approvals", "show", approval)).stdout
        assert f'"id": "{ADDRESS}"' in shown
        assert place.counter.happened == ["no address"]
        assert (await run(place, "approvals", "approve", approval)).returncode == 0
        for changed in (f"{ADDRESS} ", "eve@shop-kunde.de", f"to {ADDRESS}"):
            other = (await place.count(token, changed)).refusal
            assert (other["code"], other["approval"]["id"] == approval) == ("pending_approval", False)
        assert (await place.count(token, ADDRESS)).text == "effect 2"
        again = (await place.count(token, ADDRESS)).refusal
        assert (again["code"], again["approval"]["id"] == approval) == ("pending_approval", False)
        assert place.counter.happened == ["no address", ADDRESS]
        assert (await run(place, "audit", "verify")).stdout.endswith("verified\n")


async def test_a_call_that_a_guard_holds_goes_on_in_place_when_another_process_says_yes(tmp_path: Path):
    with house(tmp_path, "everything", wait_s=30) as place:
        token, answers = place.token(), []

        async def waiting() -> None:
            answers.append(await place.count(token, ADDRESS))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(waiting)
            with anyio.fail_after(20):
                asked: list[dict[str, Any]] = []
                while not asked:
                    asked = await to_thread.run_sync(place.open_questions)
            assert answers == place.counter.happened == []
            (one,) = asked
            assert (await run(place, "approvals", "approve", one["approval"])).returncode == 0
            await until(lambda: bool(answers))
        assert answers[0].text == "effect 1"
        assert place.counter.happened == [ADDRESS]


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path, "asking") as place:
        yield place


def approve_by_api(place: House, operator: str, approval: str) -> bool:
    request = Request(  # noqa: S310 - a loopback URL of ours
        f"{place.deployment.url}/admin/api/approvals/{approval}/approve",
        data=b"{}",
        headers={"Authorization": f"Bearer {operator}", "Content-Type": "application/json"},
    )
    try:
        with urlopen(request, timeout=20) as answer:  # noqa: S310
            return answer.status == HTTPStatus.OK
    except HTTPError as error:
        if "already" not in json.load(error)["error"]["message"]:
            raise
        return False


def at_once(place: House, operator: str, approval: str, *, api_first: bool) -> tuple[bool, bool]:
    """An approval over the API and a denial by `broker approvals` at the same time; which of them counted."""
    config = str(place.deployment.file)
    command = [
        sys.executable,
        "-c",
        DECIDE,
        "approvals",
        "deny",
        approval,
        "--reason",
        "no",
        "--config",
        config,
    ]
    counted: list[bool] = []
    with subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-1, text=True) as child:
        assert child.stdin
        assert child.stdout
        assert child.stdout.readline() == "ready\n"
        api = threading.Thread(target=lambda: counted.append(approve_by_api(place, operator, approval)))
        if api_first:
            api.start()
        child.stdin.write("go\n")
        child.stdin.flush()
        if not api_first:
            api.start()
        said, mistake = child.communicate(timeout=60)
        api.join(60)
    assert child.returncode == 0 or "already" in mistake, said + mistake
    return counted[0], child.returncode == 0


async def test_of_a_yes_over_the_api_and_a_no_of_another_process_at_once_one_counts(asked: House):
    words = ("operator", "add", "olga", "--right", "approvals", "--json")
    operator = json.loads((await run(asked, *words)).stdout)["token"]
    yes = 0
    for number in range(4):
        token = asked.token()
        effect = f"effect-{number}"
        approval = (await asked.count(token, effect)).refusal["approval"]["id"]
        approved, denied = await to_thread.run_sync(
            lambda approval=approval, number=number: at_once(
                asked, operator, approval, api_first=number % 2 == 0
            )
        )
        assert approved != denied
        yes += approved
        answer = await asked.count(token, effect)
        if approved:
            assert answer.text == f"effect {yes}"
        else:
            assert answer.refusal["message"].endswith(": no")
        assert (effect in asked.counter.happened) is approved
    assert len(asked.counter.happened) == yes
    assert (await run(asked, "audit", "verify")).stdout.endswith("verified\n")
