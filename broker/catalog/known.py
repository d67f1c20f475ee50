"""What was offered when a broker last ran? Kept beside the state, for commands that run without a server.

A note, not a source of truth: nothing is decided on it. It holds what the connectors said, so that the
operator's present facts (`policies/tools/*.yaml`) can be laid over it.
"""

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.to_thread
import orjson
from pydantic import BaseModel

from broker.catalog.mount import Mount, OperatorFacts
from broker.catalog.names import Names, legal_prefix
from broker.connector import Host, Line, Offer, Request
from broker.errors import ConfigurationError, UpstreamUnreachable
from broker.model import AgentId, Answer, Clock, Json, Kind, Target

FORMAT = 1
FILE = "catalogue.json"


@dataclass(frozen=True, slots=True)
class KnownCatalogue:
    """What the connectors offered last. `noted_at` is Unix time in seconds."""

    noted_at: int
    mounts: tuple[Mount, ...]

    def targets(self, facts: OperatorFacts) -> list[Target]:
        """Everything that can be called, under outside names, with the operator's facts."""
        found: dict[tuple[Kind, str], Target] = {}
        for mount in self.mounts:
            for target in mount.targets(facts):
                found.setdefault((target.kind, target.name), target)
        return list(found.values())


class CatalogueNote:
    """Keeps the note up to date while a broker runs."""

    def __init__(self, state_dir: Path, *, clock: Clock = time.time) -> None:
        self._path = state_dir / FILE
        self._clock = clock
        self._changed = anyio.Event()

    def stale(self) -> None:
        """Say that what is offered has changed."""
        self._changed.set()

    async def follow(self, mounts: Sequence[Mount]) -> None:
        """Write the note whenever it is stale, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed = anyio.Event()
            text = _written(mounts, int(self._clock()))
            with suppress(OSError):  # nobody but the commands that read it misses it
                await anyio.to_thread.run_sync(_replace, self._path, text)


def known_catalogue(state_dir: Path) -> KnownCatalogue | None:
    """The last known catalogue of a deployment; None if no broker has run there.

    Raises:
        ConfigurationError: there is a note, but not one that can be read.
    """
    path = state_dir / FILE
    try:
        note = cast("Json", orjson.loads(path.read_bytes()))
        if note["format"] != FORMAT:
            raise _unreadable(path, f"is of format {note['format']}")
        mounts = [_mount(name, each) for name, each in cast("dict[str, Json]", note["connectors"]).items()]
        return KnownCatalogue(int(note["noted_at"]), tuple(mounts))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(path, f"cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unreadable(path, "is no note of a catalogue") from error


def supposed(kind: Kind, name: str, facts: OperatorFacts) -> Target:
    """A target that nothing offers now, as it would be if a connector that says nothing of it offered it."""
    if kind in (Kind.MODEL, Kind.AGENT):
        said = facts(name, kind)
        return Target(kind, name, "", name, {}, labels=said.labels, risk=said.risk, min_trust=said.min_trust)
    uri = kind in (Kind.RESOURCE, Kind.TEMPLATE)
    connector, separator, own = name.partition("+" if uri else "__")
    if uri or not separator or not legal_prefix(connector):
        names, own = Names(""), name
    else:
        names = Names(connector)
    definition: Json = {{Kind.RESOURCE: "uri", Kind.TEMPLATE: "uriTemplate"}.get(kind, "name"): own}
    offered: dict[str, Any] = {f"{kind}s": [definition]}
    mount = Mount(connector if separator else "", _Absent(), names, 0.0, offer=Offer(**offered))
    return replace(next(iter(mount.targets(facts))), name=name)


def _written(mounts: Sequence[Mount], now: int) -> bytes:
    connectors = {
        mount.name: {"prefix": mount.names.prefix, "agent": mount.agent, "offer": asdict(mount.offer)}
        for mount in mounts
    }
    return orjson.dumps({"format": FORMAT, "noted_at": now, "connectors": connectors}, default=sorted)


def _mount(name: str, note: Json) -> Mount:
    agent = note["agent"]
    return Mount(
        name,
        _Absent(),
        Names(note["prefix"]),
        0.0,
        None if agent is None else AgentId(agent),
        offer=Offer(**note["offer"]),
    )


def _replace(path: Path, text: bytes) -> None:
    """All of it or nothing: a reader never sees half a note."""
    new = path.with_suffix(f".{os.getpid()}.new")
    new.touch(mode=0o600)
    new.write_bytes(text)
    new.replace(path)


def _unreadable(path: Path, problem: str) -> ConfigurationError:
    return ConfigurationError(
        f"{path}: {problem}", hint="delete it: a running broker writes it anew when its catalogue changes"
    )


class _Absent:  # the port fixes the names of what it ignores
    """The place of a connector that is not running."""

    settings = BaseModel

    async def open(self, settings: BaseModel, host: Host) -> None:  # noqa: ARG002
        """It cannot be."""
        raise self._unreachable

    async def close(self) -> None:
        """Nothing is open."""

    async def offer(self) -> Offer:
        """It says nothing new."""
        raise self._unreachable

    async def invoke(self, request: Request, line: Line) -> Answer:  # noqa: ARG002
        """It cannot."""
        raise self._unreachable

    async def watch(self, uri: str) -> None:
        """There is nothing to hear."""

    async def unwatch(self, uri: str) -> None:
        """There is nothing to hear."""

    @property
    def _unreachable(self) -> UpstreamUnreachable:
        return UpstreamUnreachable("the connector is not running here")
