"""For whom is this code acting? What calls carry along with them, held in a context variable.

Whatever runs inside `acting_on` calls with the delegation that the request came with: also in tasks
that are started there, never in those of another request.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

from broker.client.answer import Answer
from broker.model import Json

DELEGATION, PARENT = "io.toolbroker/delegation", "io.toolbroker/parent_call"
_TRACE = ("traceparent", "tracestate")


@dataclass(frozen=True, slots=True)
class _Cause:
    """Why calls are made here: under which delegation, by which earlier call, in which trace."""

    delegation: str | None = field(default=None, repr=False)
    parent: str | None = None
    trace: Mapping[str, str] = field(default_factory=dict[str, str])


_OWN = _Cause()
_cause: ContextVar[_Cause] = ContextVar("io.toolbroker", default=_OWN)


@contextmanager
def acting_on(request: Mapping[str, Any] | str | None) -> Generator[None]:
    """Make calls inside on behalf of whoever sent a request.

    The broker then records them under the call that the request belongs to, and permits only what
    everybody in the chain may do. Without a delegation in the request, calls are the agent's own.

    Args:
        request: `_meta` of the MCP request that is being served (with mcp: `ctx.request_context.meta`),
            or a delegation token that was handed over in another way.
    """
    with _within(_cause_in({DELEGATION: request} if isinstance(request, str) else request or {})):
        yield


@contextmanager
def following(call: Answer | str) -> Generator[None]:
    """Name an earlier call of this agent as the reason for the calls inside.

    Args:
        call: its answer, or its id.
    """
    parent = call.call_id if isinstance(call, Answer) else call
    with _within(replace(_cause.get(), parent=parent)):
        yield


def delegation() -> str | None:
    """The delegation token under which this code acts, if it acts under one."""
    return _cause.get().delegation


def meta() -> Json:
    """What belongs into `_meta` of a request made here. `Broker.call` adds it by itself.

    With plain `mcp`: `client.call_tool(name, arguments, meta=broker.client.meta())`.
    """
    cause = _cause.get()
    told: Json = dict(cause.trace)
    if cause.delegation:
        told[DELEGATION] = cause.delegation
    if cause.parent:
        told[PARENT] = cause.parent
    return told


def _cause_in(request: Mapping[str, Any]) -> _Cause:
    delegation = request.get(DELEGATION)
    trace = {key: value for key in _TRACE if isinstance(value := request.get(key), str)}
    return _Cause(delegation if isinstance(delegation, str) else None, trace=trace)


@contextmanager
def _within(cause: _Cause) -> Generator[None]:
    before = _cause.set(cause)
    try:
        yield
    finally:
        _cause.reset(before)
