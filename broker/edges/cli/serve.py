"""How is a broker run? `broker serve`, until it is asked to stop."""

from typing import Annotated

import typer

from broker.edges.cli.app import noun
from broker.edges.cli.composition import composition, configured, run
from broker.edges.cli.options import AsJson, Config
from broker.edges.cli.output import Output

app = noun("Run the broker.", single=True)

Host = Annotated[str | None, typer.Option("--host", help="Address to listen on [server.host].")]
Port = Annotated[
    int | None, typer.Option("--port", help="Port to listen on; 0 takes a free one [server.port].")
]


@app.command()
def serve(
    ctx: typer.Context, config: Config = None, host: Host = None, port: Port = None, as_json: AsJson = False
) -> None:
    """Run the broker until Ctrl-C or SIGTERM. With --json, one line on stdout says when it is ready."""
    import anyio

    from broker.edges.cli.listening import bound, log_to_stderr, serving

    given = {("server", "host"): host, ("server", "port"): port}
    loaded = configured(config, {key: value for key, value in given.items() if value is not None})
    listener, settings = bound(loaded.settings)
    log_to_stderr(settings.log_level)
    output = Output(as_json=as_json)

    async def until_stopped() -> None:
        async with serving(composition(ctx), settings, loaded.folder, listener):
            output.note(
                f"broker serves at {settings.resource}  (state in {settings.state_dir}, Ctrl-C stops it)"
            )
            if as_json:
                output.event({"mcp": settings.resource, "issuer": settings.issuer}, "")
            await anyio.sleep_forever()

    run(until_stopped)
