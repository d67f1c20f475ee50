"""Where does the broker listen? The socket is bound before anything else is opened."""

import gc
import logging
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import uvicorn
from anyio.abc import TaskStatus

from broker.edges.cli.composition import App, Composition
from broker.errors import ConfigurationError
from broker.settings import Settings

_BACKLOG = 2048
_DRAIN_S = 5
"""How long open calls and streams may go on after the broker was asked to stop."""


def bound(settings: Settings) -> tuple[socket.socket, Settings]:
    """A listening socket, and the settings with the port it really has.

    Raises:
        ConfigurationError: the address cannot be listened on.
    """
    server = settings.server
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            server.host, server.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {server.host}:{server.port}: {(error.strerror or str(error)).lower()}",
            hint="another broker may run there; `--port 0` takes a free port",
        ) from error
    port = listener.getsockname()[1]
    return listener, settings.model_copy(update={"server": server.model_copy(update={"port": port})})


class _Server(uvicorn.Server):
    """Leaves signals to us: uvicorn raises them again, which would skip closing the state."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


@asynccontextmanager
async def serving(
    composition: Composition, settings: Settings, folder: Path, listener: socket.socket
) -> AsyncGenerator[App]:
    """A broker that serves while the body runs. SIGINT and SIGTERM end the body, then the broker.

    A second signal does not wait for open calls. Relative paths of secrets start from `folder`.
    """
    async with composition.running(settings, folder) as app, anyio.create_task_group() as tasks:
        _collect_less()
        server, stopped = _Server(_config(app, settings)), anyio.Event()
        listener.listen(_BACKLOG)  # from now on callers wait instead of being refused
        with anyio.CancelScope() as body:

            async def serve() -> None:
                await server.serve(sockets=[listener])
                stopped.set()
                body.cancel()

            await tasks.start(_stop_on_signal, server, app.drain)
            tasks.start_soon(serve)
            yield app
        server.should_exit = True
        app.drain()
        await stopped.wait()
        tasks.cancel_scope.cancel()


def _collect_less() -> None:
    """Look for cyclic garbage less often, and never again in what was built to stay."""
    gc.set_threshold(10_000, 20, 20)
    gc.freeze()


def _config(app: App, settings: Settings) -> uvicorn.Config:
    server = settings.server
    return uvicorn.Config(
        app.asgi,
        http="httptools",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=server.behind_proxy,  # believed from loopback, or from FORWARDED_ALLOW_IPS
        ssl_certfile=server.tls_certificate,
        ssl_keyfile=server.tls_key,
        timeout_graceful_shutdown=_DRAIN_S,
    )


async def _stop_on_signal(
    server: uvicorn.Server, drain: Callable[[], None], *, task_status: TaskStatus[None]
) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            server.force_exit = server.should_exit
            server.should_exit = True
            drain()  # event streams have no end of their own


def log_to_stderr(level: str) -> None:
    """One line per event on stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for chatty in ("uvicorn.error", "asyncio"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLogger().level))
