"""Where do continuous exports go? Into a file that only grows, or by HTTP to a collector or a webhook."""

import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import anyio
import anyio.to_thread

from broker.audit.feeds.following import Feed, FeedStore, Sink
from broker.audit.interface import Log, LogReader
from broker.audit.witness import Post, Witness, WitnessKey
from broker.errors import BrokerError, ConfigurationError, UpstreamRefused
from broker.fetching import Fetcher
from broker.settings import FeedSettings, WitnessSettings

LOOK_S = 1.0
"""How often it is looked whether the log has grown, in seconds."""

MOST_WAIT_S = 60.0
"""How long a feed waits at most after a delivery has failed, in seconds."""

MOST_ANSWER_BYTES = 64 << 10

_logger = logging.getLogger("broker.feeding")


class FileSink:
    """A file to which lines are appended. It is opened anew each time, so that it may be rotated."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def send(self, lines: bytes, name: str) -> None:
        """See `Sink`."""
        try:
            await anyio.to_thread.run_sync(self._append, lines)
        except OSError as error:
            raise UpstreamRefused(f"`{self._path}` takes nothing for {name}: {error.strerror}") from error

    def _append(self, lines: bytes) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "ab") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())


class HttpSink:
    """An address that takes lines by POST and answers with 2xx.

    Args:
        fetcher: connects, guarded.
        url: the address.
        kind: the format, which decides the content type.
        headers: sent with it, such as `Authorization`.
        allow_private: whether it may be on this machine or in a private network.
    """

    def __init__(
        self, fetcher: Fetcher, url: str, *, kind: str, headers: Mapping[str, str], allow_private: bool
    ) -> None:
        content = {"otlp": "application/json", "cef": "text/plain; charset=utf-8"}
        self._fetcher = fetcher
        self._url = url
        self._headers = {**headers, "Content-Type": content.get(kind, "application/x-ndjson")}
        self._allow_private = allow_private

    async def send(self, lines: bytes, name: str) -> None:
        """See `Sink`. The name goes with it as `Idempotency-Key`."""
        headers = {**self._headers, "Idempotency-Key": name}
        status, _ = await self._fetcher.post(
            self._url, lines, headers=headers, largest=MOST_ANSWER_BYTES, allow_private=self._allow_private
        )
        if not 200 <= status < 300:
            raise UpstreamRefused(f"`{self._url}` answered HTTP {status}")


def witnesses(sections: Mapping[str, WitnessSettings], log: Log) -> dict[str, Witness]:
    """Those who cosign checkpoints, by name.

    Raises:
        ConfigurationError: a key is none.
    """
    fetcher = Fetcher()

    def post(section: WitnessSettings) -> Post:
        url = f"{section.url.rstrip('/')}/add-checkpoint"
        private = section.allow_private

        async def send(body: bytes) -> tuple[int, bytes]:
            headers = {"Content-Type": "text/plain"}
            return await fetcher.post(
                url, body, headers=headers, largest=MOST_ANSWER_BYTES, allow_private=private
            )

        return send

    return {
        name: Witness(WitnessKey.parse(section.key), log=log, post=post(section))
        for name, section in sections.items()
    }


class Feeding:
    """All continuous exports of a deployment.

    Args:
        sections: the `[audit.feeds]` of the settings, by name.
        log: where records are read.
        store: where it is kept how far each got.
        folder: what relative paths start from (the folder of `broker.toml`).
        secret: what a reference in the settings stands for.
    """

    def __init__(
        self,
        sections: Mapping[str, FeedSettings],
        *,
        log: LogReader,
        store: FeedStore,
        folder: Path,
        secret: Callable[[str], str],
    ) -> None:
        fetcher = Fetcher()
        self.feeds = {
            name: Feed(
                name, section.format, log=log, store=store, sink=_sink(section, fetcher, folder, secret)
            )
            for name, section in sections.items()
        }

    @property
    def standing(self) -> dict[str, dict[str, object]]:
        """How far each is behind, and whether its last delivery failed."""
        return {name: {"behind": feed.behind, "failing": feed.failing} for name, feed in self.feeds.items()}

    async def run(self, sleep: Callable[[float], Awaitable[None]] = anyio.sleep) -> None:
        """Deliver until cancelled, each at its own pace: one that fails holds up no other, and no call."""
        async with anyio.create_task_group() as tasks:
            for name, feed in self.feeds.items():
                tasks.start_soon(_follow, name, feed, sleep)


async def _follow(name: str, feed: Feed, sleep: Callable[[float], Awaitable[None]]) -> None:
    wait = LOOK_S
    while True:
        try:
            await feed.catch_up()
            if wait > LOOK_S:
                _logger.info("the feed `%s` is delivered again", name)
            wait = LOOK_S
        except BrokerError as error:
            if wait == LOOK_S:
                _logger.warning("the feed `%s` is not delivered, it is tried again: %s", name, error.message)
            wait = min(wait * 2, MOST_WAIT_S)
        await sleep(wait)


def _sink(section: FeedSettings, fetcher: Fetcher, folder: Path, secret: Callable[[str], str]) -> Sink:
    if section.url is None:
        if section.file is None:
            raise ConfigurationError("a feed needs a `url` or a `file`")
        return FileSink(folder / section.file.expanduser())
    return HttpSink(
        fetcher,
        section.url,
        kind=section.format,
        headers={name: secret(reference) for name, reference in section.headers.items()},
        allow_private=section.allow_private,
    )
