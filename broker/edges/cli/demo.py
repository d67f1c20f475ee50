"""What can the broker do? `broker demo` shows it on one screen and then goes on serving."""

import logging
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from broker.edges.cli.app import noun
from broker.edges.cli.composition import composition, run
from broker.edges.cli.ink import Ink

app = noun("The whole story in twenty seconds, on a broker of its own.", single=True)

Exit = Annotated[bool, typer.Option("--exit", help="Stop after the story.")]
Port = Annotated[int | None, typer.Option("--port", help="Port to listen on [8321, else a free one].")]


@app.command()
def demo(ctx: typer.Context, leave: Exit = False, port: Port = None) -> None:
    """Start a broker on a temporary state with real upstreams, make real calls and show what happens."""
    from broker.edges.cli.tour.place import listen, prepare
    from broker.edges.cli.tour.play import play
    from broker.edges.cli.tour.screen import Screen

    logging.basicConfig(level=logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="broker-demo-", ignore_cleanup_errors=True) as folder:
        place = prepare(Path(folder))
        listener, settings = listen(place, port)
        screen = Screen(Ink.on(sys.stdout))
        run(lambda: play(composition(ctx), settings, listener, place, screen, leave=leave))
