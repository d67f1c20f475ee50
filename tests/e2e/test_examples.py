"""Do the examples do what their pages say? Each runs as its README tells a reader to run it."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.processes import ROOT, free_port, process, python_upstream, until_answered
from tests.e2e.venvs import venv

PROGRAMS = Path(sys.executable).parent
RUN_S = 60


@dataclass(frozen=True)
class Story:
    """An example in a folder of its own, with its broker serving."""

    folder: Path
    url: str
    environment: Mapping[str, str]

    def run(self, *words: str, expected: int = 0, **environment: str) -> str:
        """What a command prints that a reader types in this folder."""
        done = subprocess.run(
            words,
            cwd=self.folder,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=RUN_S,
            check=False,
        )
        assert done.returncode == expected, (
            f"{words} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
        return done.stdout

    def page(self) -> str:
        return (self.folder / "README.md").read_text()


@contextmanager
def story(
    name: str, tmp_path: Path, first: Sequence[str] = (), *, edit: Callable[[Path], None] | None = None
) -> Iterator[Story]:
    """A copy of an example, with `broker serve` running in it after the commands that come `first`."""
    folder, port = tmp_path / name, free_port()
    shutil.copytree(ROOT / "examples" / name, folder)
    if edit is not None:
        edit(folder)
    url = f"http://127.0.0.1:{port}"
    environment = {
        "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "BROKER_SERVER__PORT": str(port),
        "BROKER_URL": url,
    }
    example, log = Story(folder, url, environment), tmp_path / "broker.log"
    for command in first:
        example.run(*command.split())
    with process([PROGRAMS / "broker", "serve"], log, environment=environment, folder=folder) as child:
        until_answered(f"{url}/readyz", child, log, enough=_all_connectors_are_up)
        yield example


def _all_connectors_are_up(answer: bytes) -> bool:
    return set(json.loads(answer)["connectors"].values()) == {"ok"}


@dataclass(frozen=True)
class Shown:
    """Code on a page, and what the page says that it prints."""

    code: str
    prints: str


def blocks(page: str) -> list[Shown]:
    """All code of a page in order; a block of text that follows some is what it prints."""
    found: list[Shown] = []
    for language, code in re.findall(r"```(\w+)\n(.*?)```", page, re.DOTALL):
        if language == "text":
            found[-1] = Shown(found[-1].code, code)
        else:
            found.append(Shown(code, ""))
    return found


def without_ids(text: str) -> str:
    """A text without what differs from run to run."""
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "…", text)


def test_the_first_agent_is_offered_calls_and_is_refused_as_its_page_says(tmp_path: Path) -> None:
    with story("02-first-agent", tmp_path) as example:
        _, commands = blocks(example.page())
        add, export, run = (line.split() for line in commands.code.splitlines())
        example.run(*add)
        printed = example.run(*run, **dict(pair.split("=") for pair in export[1:]))
        assert without_ids(printed) == commands.prints


def test_the_first_agent_fits_on_a_screen() -> None:
    assert len((ROOT / "examples/02-first-agent/agent.py").read_text().splitlines()) <= 40


def without_times(text: str) -> str:
    return re.sub(r"[0-9.]+ ms", "… ms", text)


def in_columns(text: str) -> list[list[str]]:
    return [re.split(r"  +", line.strip()) for line in text.splitlines()]


@pytest.fixture(scope="module")
def delegation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    enrolling = blocks((ROOT / "examples/03-delegation/README.md").read_text())[0].code.splitlines()
    with story("03-delegation", tmp_path_factory.mktemp("story"), enrolling[:4]) as example:
        yield example


@dataclass(frozen=True)
class Made:
    """A call as the log holds it: who made it in which chain, under which call, and how it ended."""

    name: str
    chain: tuple[str, ...]
    outcome: str
    under: "Made | None"


def made(example: Story, root: str) -> list[Made]:
    """A call and all below it; parents were begun before their children."""
    listed = [json.loads(line) for line in example.run("broker", "calls", "tail", "--json").splitlines()]
    found: dict[str, Made] = {}
    for call in sorted(call["call"] for call in listed):
        told = json.loads(example.run("broker", "calls", "show", call, "--json"))
        first, last = told[0]["record"], told[-1]["record"]
        cause = first["cause"]
        if cause["root"] == root:
            parent = found[cause["parent"]] if call != root else None
            chain = tuple(first["actor"]["chain"])
            found[call] = Made(first["what"]["name"], chain, last["outcome"], parent)
    return list(found.values())


def test_three_agents_that_work_for_each_other_are_one_tree_in_the_log(delegation: Story) -> None:
    _, asking, looking, *_ = blocks(delegation.page())
    answer = json.loads(delegation.run(*asking.code.split(), "--json"))
    assert answer["content"][0]["text"] + "\n" == asking.prints
    report = Made("planner__report", ("desk",), "ok", None)
    look_up = Made("researcher__look_up", ("planner", "desk"), "ok", report)
    find = Made("notes__find", ("researcher", "planner", "desk"), "ok", look_up)
    shorten = Made("summariser__shorten", ("researcher", "planner", "desk"), "ok", look_up)
    everybody = ("summariser", "researcher", "planner", "desk")
    read = Made("notes__read", everybody, "ok", shorten)
    add = Made("notes__add", everybody, "denied", shorten)
    root = answer["_meta"]["io.toolbroker/call"]["id"]
    assert made(delegation, root) == [report, look_up, find, shorten, read, read, add]
    tree = delegation.run(*looking.code.replace("CALL", root).split())
    assert in_columns(without_times(without_ids(tree))) == in_columns(looking.prints)


def test_what_an_agent_may_do_itself_it_may_not_do_for_somebody_who_may_not(delegation: Story) -> None:
    adding = blocks(delegation.page())[3]
    assert delegation.run(*adding.code.split()) == adding.prints


def test_the_page_for_agent_authors_delegates_as_it_says(delegation: Story) -> None:
    page = (ROOT / "docs" / "agents.md").read_text()
    receiving, handing_on = blocks(page[page.index("## Work for others") :])
    assert receiving.code in (delegation.folder / "researcher.py").read_text()
    planner = {"BROKER_CLIENT_ID": "planner", "BROKER_CLIENT_SECRET_FILE": "planner.secret"}
    assert delegation.run("python", "-c", handing_on.code, **planner) == handing_on.prints


def test_taking_one_agent_out_ends_what_it_would_do_for_others(tmp_path: Path) -> None:
    enrolling, asking, _, _, suspending = blocks((ROOT / "examples/03-delegation/README.md").read_text())
    with story("03-delegation", tmp_path, enrolling.code.splitlines()[:4]) as example:
        example.run(*suspending.code.split())
        answer = json.loads(example.run(*asking.code.split(), "--json", expected=1))
        assert "no report: researcher is suspended" in answer["content"][0]["text"]
        root = answer["_meta"]["io.toolbroker/call"]["id"]
        assert [call.name for call in made(example, root)] == ["planner__report", "researcher__look_up"]


def test_what_the_page_for_agent_authors_shows_does_what_it_says(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "agents.md").read_text()
    with story("02-first-agent", tmp_path) as example:
        rita = {"BROKER_CLIENT_ID": "rita", "BROKER_CLIENT_SECRET_FILE": "rita.secret"}
        enrol, rotate, calling, refused, making, registering, plain = blocks(page)[:7]
        example.run(*enrol.code.split())
        example.run(*rotate.code.split())
        for shown in (calling, refused, making, plain):
            assert example.run("python", "-c", shown.code, **rita) == shown.prints
        renewed = {"BROKER_CLIENT_ID": "rita", "BROKER_CLIENT_SECRET_FILE": "rita.new"}
        assert example.run("python", "-c", calling.code, **renewed) == calling.prints
        example.run(*registering.code.split())
        key = {"BROKER_CLIENT_ID": "rita", "BROKER_CLIENT_KEY_FILE": "rita.key"}
        assert example.run("python", "-c", calling.code, **key) == calling.prints
        assert (example.folder / "rita.key").stat().st_mode & 0o077 == 0


def asked_for(lines: Iterator[str]) -> str:
    """The approval that the agent says it waits for."""
    waiting = re.fullmatch(r"waiting  ([0-9a-f]{12}) for team-lead\n", next(lines))
    assert waiting
    return waiting[1]


def without_approvals(text: str) -> str:
    return re.sub(r"\b[0-9a-f]{12}\b", "APPROVAL", text)


def test_an_agent_asks_for_a_refund_and_a_human_decides_at_the_command_line(tmp_path: Path) -> None:
    starting, running, deciding, denying = blocks((ROOT / "examples/04-approval/README.md").read_text())
    with story("04-approval", tmp_path, starting.code.splitlines()[:1]) as example:
        assert "3 passed" in example.run("broker", "policy", "test")
        export, run = (line.split() for line in running.code.splitlines())
        environment = {**example.environment, **dict(pair.split("=") for pair in export[1:])}
        with subprocess.Popen(
            run, cwd=example.folder, env=environment, stdout=subprocess.PIPE, text=True
        ) as agent:
            lines = iter(agent.stdout)
            said = [next(lines)]
            first = asked_for(lines)
            listing, showing, approving = deciding.code.replace("3f5a77e09c14", first).splitlines()
            assert first in example.run(*shlex.split(listing))
            shown = example.run(*shlex.split(showing))
            assert '"cents": 12000' in shown
            example.run(*shlex.split(approving))
            said += [f"waiting  {first} for team-lead\n", next(lines)]
            second = asked_for(lines)
            example.run(*shlex.split(denying.code.replace("5d20c1f7ab36", second)))
            said += [f"waiting  {second} for team-lead\n", next(lines)]
            assert (agent.wait(timeout=RUN_S), list(lines)) == (0, [])
        wanted = running.prints + denying.prints
        assert without_approvals("".join(said)) == without_approvals(wanted)
        assert "verified" in example.run("broker", "audit", "verify")


def test_an_agent_uses_a_model_through_an_sdk_as_its_page_says(tmp_path: Path) -> None:
    sdks = next((venv("models").parent / "lib").glob("python*")) / "site-packages"
    running = blocks((ROOT / "examples/05-models/README.md").read_text())
    with (
        python_upstream("providers.py", log=tmp_path / "providers.log") as url,
        story("05-models", tmp_path, edit=lambda folder: _point_at(folder, url)) as example,
    ):
        adding, export, run = next(shown for shown in running if "agent add" in shown.code).code.splitlines()
        example.run(*adding.split())
        named = dict(pair.split("=") for pair in export.split()[1:])
        told = example.run(*run.split(), **named, PYTHONPATH=str(sdks))
        assert told == next(shown for shown in running if "agent add" in shown.code).prints


def _point_at(folder: Path, url: str) -> None:
    """Have the example ask the stand-in of a provider, which wants a key."""
    file = folder / "broker.toml"
    (folder / "key").write_text("sk-openai-test")
    text = file.read_text().replace("http://127.0.0.1:8080", url)
    file.write_text(text.replace("allow_private = true", 'allow_private = true\napi_key = "file:key"'))
