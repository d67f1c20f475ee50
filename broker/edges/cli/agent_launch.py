"""How does the broker start an agent itself? With a secret for that process alone, which ends with it."""

import getpass
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from broker.edges.cli.agent_facts import known
from broker.edges.cli.composition import Office, configured, on_the_state
from broker.edges.cli.durations import seconds
from broker.edges.cli.options import AsJson, Config
from broker.edges.cli.output import Output
from broker.errors import Conflict, InvalidRequest
from broker.model import Agent, AgentStatus

if TYPE_CHECKING:
    from broker.identity.launches import Launch

CHECK_S = 5.0
"""How often the code of a running agent is measured again, in seconds."""
_STOPPING_S = 5.0
"""How long a process may take to end when it is asked to, in seconds."""
_INHERITED = frozenset({"PATH", "HOME", "LANG", "TMPDIR"})
_DIFFERENT = 1

Name = Annotated[str, typer.Argument(help="The agent's id.")]
Command = Annotated[list[str], typer.Argument(metavar="-- COMMAND…", help="What is started, after `--`.")]
Lasting = Annotated[str, typer.Option("--for", metavar="DURATION", help="When it is stopped at the latest.")]
Code = Annotated[
    list[Path] | None,
    typer.Option(
        "--code",
        exists=True,
        help="A file or folder that it is made of; may be repeated [the files that COMMAND names].",
    ),
]
Passed = Annotated[
    list[str] | None, typer.Option("--env", metavar="NAME", help="A variable it gets; may be repeated.")
]
Check = Annotated[bool, typer.Option("--check", help="Only measure it; exit code 1 if its manifest differs.")]


class Process(Protocol):
    """What is needed of a process (`subprocess.Popen`)."""

    def wait(self, timeout: float | None = None) -> int:
        """How it ended."""
        ...

    def terminate(self) -> None:
        """Ask it to end."""
        ...

    def kill(self) -> None:
        """End it."""
        ...


class _ToldToEnd(BaseException):
    """A signal asks the launcher to end."""


def launch(
    ctx: typer.Context,
    name: Name,
    command: Command,
    *,
    lasting: Lasting = "1h",
    code: Code = None,
    passed: Passed = None,
    check: Check = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Start an agent that the broker vouches for: level A3, while this process runs and no longer.

    It gets BROKER_URL, BROKER_CLIENT_ID and BROKER_CLIENT_SECRET, made for this launch; of the other
    variables PATH, HOME, LANG, LC_*, TMPDIR and those of --env. Its exit code is that of the command.
    """
    from broker.identity.launches import code_digest, code_drift, new_launch

    program = _program(command[0])
    made_of = [program, *(code or _files(command[1:]))]
    measured = code_digest(made_of)
    settings, output, by = configured(config).settings, Output(as_json=as_json), getpass.getuser()
    started = new_launch(int(time.time()), seconds(lasting))
    environment = _environment(passed or [])

    async def begin(office: Office) -> tuple[Agent, str]:
        agent = await known(office, name)
        drift = code_drift(agent.manifest, measured)
        if check:
            return agent, drift
        if agent.status is not AgentStatus.ACTIVE:
            raise Conflict(f"`{name}` is {agent.status}", hint="only an active agent is launched")
        if drift and agent.drift is None:
            await office.journal.drifted(agent.id, drift)
        await office.credentials.begin_launch(agent.id, started.stored, code_sha256=measured, by=by)
        return agent, drift

    agent, drift = on_the_state(ctx, settings, begin)
    if check:
        output.item({"agent": name, "code_sha256": measured, "drift": drift or None}, drift or measured)
        raise typer.Exit(_DIFFERENT if drift else 0)
    if drift:
        output.note(f"{name} falls to level A0: {drift}")
    output.note(f"{name} is launched as instance {started.instance}")
    environment |= {"BROKER_URL": settings.public_url, "BROKER_CLIENT_ID": agent.id}
    why = "the launcher was stopped"
    try:
        with _told_to_end():
            status, why = _started([str(program), *command[1:]], environment, started, made_of, measured)
    finally:

        async def end(office: Office) -> None:
            await office.credentials.end_launch(agent.id, started.instance, why=why, by=by)

        on_the_state(ctx, settings, end)
    output.note(f"the launch has ended: {why}")
    raise typer.Exit(status if status >= 0 else 128 - status)


def watched(
    process: Process, ends_at: float, unchanged: Callable[[], bool], now: Callable[[], float] = time.time
) -> tuple[int, str]:
    """Wait for a process; stop it when its time is over or what it is made of has changed.

    Args:
        process: what runs.
        ends_at: when it is stopped at the latest, Unix seconds.
        unchanged: whether it is still what was measured.
        now: Unix seconds.

    Returns:
        Its exit code, and why it has ended.
    """
    try:
        while True:
            try:
                return process.wait(max(0.0, min(CHECK_S, ends_at - now()))), "its process has ended"
            except subprocess.TimeoutExpired:
                if now() >= ends_at:
                    return _stopped(process), "its time was over"
                if not unchanged():
                    return _stopped(process), "its code has changed"
    except BaseException:
        _stopped(process)
        raise


def _started(
    command: list[str], environment: dict[str, str], started: "Launch", made_of: list[Path], measured: str
) -> tuple[int, str]:
    from broker.identity.launches import code_digest

    def unchanged() -> bool:
        try:
            return code_digest(made_of) == measured
        except InvalidRequest:
            return False

    given = environment | {"BROKER_CLIENT_SECRET": started.secret}
    try:
        process = subprocess.Popen(command, env=given)  # noqa: S603 - what the operator has asked for
    except OSError as error:
        return 127, f"it could not be started: {error.strerror}"
    return watched(process, started.stored.not_after or 0, unchanged)


def _stopped(process: Process) -> int:
    process.terminate()
    try:
        return process.wait(_STOPPING_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


@contextmanager
def _told_to_end() -> Generator[None]:
    """A launcher that is asked to end takes its agent with it and the credential back."""

    def told(*_: object) -> None:
        raise _ToldToEnd

    before = {one: signal.signal(one, told) for one in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    try:
        yield
    except _ToldToEnd:
        raise SystemExit(130) from None
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _program(name: str) -> Path:
    found = shutil.which(name)
    if found is None:
        raise InvalidRequest(f"`{name}` is no program here", hint="give its absolute path")
    return Path(found).absolute()


def _files(arguments: list[str]) -> list[Path]:
    return [path for path in map(Path, arguments) if path.is_file()]


def _environment(passed: list[str]) -> dict[str, str]:
    """No variable gets there by accident: those of the broker hold keys of others."""
    for name in passed:
        if name.startswith("BROKER_"):
            raise InvalidRequest(f"`{name}` is not passed on", hint="the launch sets what the agent needs")
        if name not in os.environ:
            raise InvalidRequest(f"`{name}` is not set", hint="set it, or leave out its --env")
    wanted = _INHERITED | set(passed)
    kept = {name: value for name, value in os.environ.items() if name in wanted or name.startswith("LC_")}
    return kept | {"PYTHONDONTWRITEBYTECODE": "1"}  # a folder of code stays as it was measured
