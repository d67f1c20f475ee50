"""How does a host start the bridge? `broker stdio`, with where and who in the environment."""

import os
import sys
from collections.abc import AsyncIterator

import typer

from broker.edges.cli.app import noun
from broker.edges.cli.composition import run
from broker.edges.cli.options import ClientId, SecretFile, Url

app = noun("Bridge a host that speaks only stdio to the broker.", single=True)


@app.command()
def stdio(url: Url = None, client_id: ClientId = None, secret_file: SecretFile = None) -> None:
    """Speak MCP on stdin and stdout, and pass everything on to the broker over HTTP.

    Tokens are got and renewed with the agent's own credentials.
    """
    from broker.edges.cli.remote.credentials import credentials

    if secret_file == "-":
        raise typer.BadParameter("standard input carries the messages", param_hint="--secret-file")
    who = credentials(url, client_id, secret_file, os.environ)

    async def bridge() -> None:
        from broker.edges.cli.remote.bridge import Bridge
        from broker.edges.cli.remote.client import http_session
        from broker.edges.cli.remote.credentials import Tokens
        from broker.edges.cli.remote.exchange import Exchange

        async with http_session() as http:
            exchange = Exchange(http, who.url, Tokens(http, who))
            await Bridge(exchange, _writer(), _complain).run(_lines())

    run(bridge)


async def _lines() -> AsyncIterator[bytes]:
    import anyio.to_thread

    while line := await anyio.to_thread.run_sync(sys.stdin.buffer.readline, abandon_on_cancel=True):
        yield line


def _writer():  # noqa: ANN202
    import anyio
    import anyio.to_thread

    one_at_a_time = anyio.Lock()

    def write_now(line: bytes) -> None:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()

    async def write(line: bytes) -> None:
        # In a thread: a host that does not read now must not keep us from reading.
        async with one_at_a_time:
            await anyio.to_thread.run_sync(write_now, line)

    return write


def _complain(message: str) -> None:
    print(f"broker stdio: {message}", file=sys.stderr, flush=True)
