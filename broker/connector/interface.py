"""What does a connector offer, and what does it get? The port between the catalogue and all connectors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel

from broker.model import Answer, Caller, Json, Method, Usage


@dataclass(frozen=True, slots=True)
class Offer:
    """What a connector offers now: MCP definitions, each as raw JSON, nothing removed.

    `completes` says whether it answers `completion/complete`; `watches` whether it tells about
    updates of single resources.
    """

    tools: list[Json] = field(default_factory=list[Json])
    resources: list[Json] = field(default_factory=list[Json])
    templates: list[Json] = field(default_factory=list[Json])
    prompts: list[Json] = field(default_factory=list[Json])
    completes: bool = False
    watches: bool = False
    models: list[Json] = field(default_factory=list[Json])
    """`{"id", "methods": [values of Method], ...}`; optional `aliases` (other names that are exposed as they
    stand), `context` and `max_output` (tokens), `price` (the name by which its price is known)."""
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    """What only the author knows, by tool name: `price` (USD as text), `side_effect`, `labels`."""


@dataclass(frozen=True, slots=True)
class Request:
    """One call in the connector's own terms: `params` as the upstream expects them, without `_meta`."""

    method: Method
    params: Json


@dataclass(slots=True)
class Meter:
    """What an open call to a model has used so far: what it is charged if it does not come to its end."""

    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """The open call as a connector sees it: the way back to the caller, and the limits.

    Args:
        call_id: the broker's id of this call.
        caller: progress and questions go back through it (already screened).
        organisation, agent: for whom; the connector's isolation setting says who may share a session.
        timeout_s: seconds after which the call counts as lost.
        wants_progress: whether the caller asked for progress.
        log_level: the level of log messages the caller asked for, if any.
        trace: W3C trace context to pass on (`traceparent`, `tracestate`).
        delegation: a token that says on whose behalf an upstream acts that is an agent itself; it goes
            into `_meta["io.toolbroker/delegation"]` of the request and nowhere else.
        betas: features of a provider of models that the caller asks for by name; which of them go on, the
            connector says.
        meter: a connector to models keeps in it what has been used, from the moment the request is out.
    """

    call_id: str
    caller: Caller
    organisation: str
    agent: str
    timeout_s: float = 300.0
    wants_progress: bool = False
    log_level: str | None = None
    trace: Mapping[str, str] = field(default_factory=dict[str, str])
    delegation: str | None = field(default=None, repr=False)
    betas: tuple[str, ...] = ()
    meter: Meter = field(default_factory=Meter)

    async def progress(self, done: float, *, total: float | None = None, message: str | None = None) -> None:
        """Tell the caller how far the call is; nothing happens if it did not ask to be told.

        Args:
            done: must grow from one notification to the next.
            total: what `done` will have reached at the end, if that is known.
            message: one line for a human.
        """
        if not self.wants_progress:
            return
        params: Json = {"progress": done}
        if total is not None:
            params["total"] = total
        if message is not None:
            params["message"] = message
        await self.caller.notify("notifications/progress", params)


@dataclass(frozen=True, slots=True)
class Host:
    """What the broker gives a connector when it opens it.

    Args:
        name: the name the operator gave this connector.
        state_dir: a folder of its own (created on first use by the connector).
        secret: resolves a reference such as `env:NAME` or `file:PATH`.
        changed: to be called when what it offers has changed.
        updated: to be called with a URI when the content of a watched resource has changed.
    """

    name: str
    state_dir: Path
    secret: Callable[[str], str]
    changed: Callable[[], None]
    updated: Callable[[str], None]


class Upstream(Protocol):
    """A connector: constructed without effects, then opened, used, closed."""

    settings: type[BaseModel]
    """The model of its section in `broker.toml`."""

    async def open(self, settings: BaseModel, host: Host) -> None:
        """Get ready. May fail with `UpstreamUnreachable`; the broker starts all the same and tries again."""
        ...

    async def close(self) -> None:
        """Let go of everything. Children are reaped, sessions ended."""
        ...

    async def offer(self) -> Offer:
        """What it offers now."""
        ...

    async def invoke(self, request: Request, line: Line) -> Answer:
        """Do it.

        Raises:
            UpstreamUnreachable: never sent. UpstreamRefused: a protocol error was answered.
            UpstreamLost: sent, and the answer is lost. A tool's own failure is an `Answer` with
            `isError`.
        """
        ...

    async def watch(self, uri: str) -> None:
        """Begin to tell about updates of a resource."""
        ...

    async def unwatch(self, uri: str) -> None:
        """Stop telling about updates of a resource."""
        ...
