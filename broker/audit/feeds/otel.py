"""How does a tracing backend read it? Calls as spans, in OTLP/JSON, by the GenAI and MCP conventions.

One `ExportTraceServiceRequest` a line, as OpenTelemetry's collector reads it from a file or by HTTP.
"""

import re
from collections.abc import Sequence
from hashlib import sha256

from broker.audit.feeds.told import Told
from broker.model import Json

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}.*")
_SERVER = 2
_OK, _ERROR = 1, 2
_NONE = "0" * 32


def request(calls: Sequence[Told]) -> Json:
    """Spans of calls, as one request. What is about tokens has no span."""
    scope = {"name": "mcp-tool-broker"}
    spans = [_span(one) for one in calls if one.is_call]
    resource = {"attributes": [_attribute("service.name", "mcp-tool-broker")]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": spans}]}]}


def _span(one: Told) -> Json:
    what, cause = one.part("what"), one.part("cause")
    call, method, name = str(one.last["call"]), str(what.get("method")), str(what.get("name"))
    trace, parent = _place(call, cause)
    failed = one.outcome not in {"ok", "pending_approval"}
    attributes = {
        "mcp.method.name": method,
        "gen_ai.agent.id": one.agent,
        "io.toolbroker.call": call,
        "io.toolbroker.outcome": one.outcome,
        "io.toolbroker.cost_micro_usd": int(one.last.get("cost", 0)),
        "io.toolbroker.log": one.origin,
        "io.toolbroker.seq": one.seq,
        "io.toolbroker.leaf": one.leaf.hex(),
    }
    if method == "tools/call":
        attributes |= {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name}
    if failed:
        attributes["error.type"] = one.outcome
    span: Json = {
        "traceId": trace,
        "spanId": _span_id(call),
        "name": f"{method} {name}",
        "kind": _SERVER,
        "startTimeUnixNano": str(one.began_us * 1000),
        "endTimeUnixNano": str(one.ended_us * 1000),
        "attributes": [_attribute(key, value) for key, value in attributes.items()],
        "status": {"code": _ERROR, "message": one.outcome} if failed else {"code": _OK},
    }
    return span | ({"parentSpanId": parent} if parent else {})


def _place(call: str, cause: Json) -> tuple[str, str]:
    """Trace and parent span: the broker's own verified parent first, then what the caller says."""
    named = _TRACEPARENT.fullmatch(str(cause.get("trace", "")))
    own = sha256(str(cause.get("root", call)).encode()).hexdigest()[:32]
    trace = named[1] if named and named[1] != _NONE else own
    if parent := cause.get("parent"):
        return trace, _span_id(str(parent))
    return trace, named[2] if named else ""


def _span_id(call: str) -> str:
    return sha256(call.encode()).hexdigest()[:16]


def _attribute(key: str, value: str | int) -> Json:
    kept: Json = {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}
    return {"key": key, "value": kept}
