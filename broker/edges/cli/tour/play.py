"""In which order is the story told?"""

import shlex
import shutil
import socket
import time
from importlib.metadata import version

import anyio

from broker.edges.call_filter import Wanted
from broker.edges.cli.calls import call_line
from broker.edges.cli.composition import App, Composition
from broker.edges.cli.hosts.formats import Registration, command
from broker.edges.cli.listening import serving
from broker.edges.cli.records import Tail
from broker.edges.cli.remote.client import http_session
from broker.edges.cli.tour import budget, model, scenes, stand_in
from broker.edges.cli.tour.cast import ROLES, enter
from broker.edges.cli.tour.place import Place
from broker.edges.cli.tour.screen import Screen
from broker.settings import Settings

_LOOK_S = 0.3


async def play(
    composition: Composition,
    settings: Settings,
    listener: socket.socket,
    place: Place,
    screen: Screen,
    *,
    leave: bool,
) -> None:
    """Tell the story; then serve until Ctrl-C, unless we are to leave."""
    started = time.perf_counter()
    async with (
        stand_in.listening(place.model),
        serving(composition, settings, place.folder, listener) as app,
        http_session() as http,
    ):
        players = await enter(app, settings.public_url, place, http)
        researcher, maintainer = players["researcher"], players["maintainer"]
        _introduce(screen, app, settings, place, time.perf_counter() - started)
        await scenes.what_each_sees(screen, players)
        await scenes.permitted_call(screen, researcher, place)
        await scenes.refused_call(screen, researcher, maintainer, place)
        redacted = await scenes.redacted_secret(screen, researcher, place)
        await budget.money_runs_out(screen, researcher)
        await model.asked_model(screen, researcher)
        await scenes.call_record(screen, app, redacted)
        await scenes.verified_log(screen, app)
        if not leave:
            _invite(screen, settings, place)
            await _watch(screen, app)


def _introduce(screen: Screen, app: App, settings: Settings, place: Place, took_s: float) -> None:
    screen.title(f"broker {version('mcp-tool-broker')}", "demo: nothing leaves this computer")
    screen.line("mcp", f"{settings.resource}  (ready in {took_s:.1f} s, state in {place.folder})")
    screen.line("agents", ", ".join(ROLES))
    screen.line("upstreams", ", ".join(f"{m.name}{_problem(m.problem)}" for m in app.catalog.mounts))


def _problem(problem: str | None) -> str:
    return f" ({problem})" if problem else ""


def _invite(screen: Screen, settings: Settings, place: Place) -> None:
    host = Registration("broker", settings.public_url, "researcher", place.secret_file("researcher"))
    bridge = host.bridge()
    broker = "broker" if shutil.which("broker") == command() else command()
    screen.scene("connect a host, while this is running")
    screen.paste(shlex.join(["claude", "mcp", "add", "broker", "--", bridge["command"], *bridge["args"]]))
    screen.paste(f"{broker} host print cursor {shlex.join(bridge['args'][1:])}")
    screen.scene("or try it from another terminal")
    screen.paste(f"export BROKER_CONFIG={place.config}")
    screen.paste(f"{broker} call git__git_status repo_path={place.repository} --as maintainer")
    screen.paste(f"{broker} calls tail --follow")
    screen.paste("")
    screen.paste("every call shows here; Ctrl-C stops the broker and removes its state")


async def _watch(screen: Screen, app: App) -> None:
    calls = Tail(app.store.log, Wanted())
    await calls.newest(0)
    while True:
        await anyio.sleep(_LOOK_S)
        for call in await calls.since():
            screen.paste(call_line(call, screen.ink))
