"""What does the broker add to a result? Its own `_meta` and what a revision requires; no more."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final, cast

from broker.edges import translate
from broker.edges.mcp import generate
from broker.edges.mcp.stream import Outgoing
from broker.edges.mcp.wire import (
    INTERNAL_ERROR,
    META_SERVER,
    RESOURCE_NOT_FOUND,
    RequestId,
    encode_error,
    encode_result,
    http_status,
)
from broker.errors import BrokerError, UnknownTarget
from broker.ledger.interface import Notice
from broker.model import MODEL_METHODS, Json, Method
from broker.pipeline import Released

SERVER_INFO: Final[Json] = {
    "name": "mcp-tool-broker",
    "title": "Tool broker",
    "version": version("mcp-tool-broker"),
}

_OWN: Final = "io.toolbroker/"


def released(answer: Released, method: Method, *, modern: bool) -> Json:
    """The result of a call, as the upstream gave it, with the broker's own `_meta`; a model's as a tool's."""
    receipt = answer.receipt
    proof = (
        {"log": receipt.log, "index": receipt.index, "leaf": receipt.leaf, "size": receipt.size}
        if receipt
        else None
    )
    cause = {"parent": answer.parent, "root": answer.root}
    told = _told(answer.call, cause, answer.cost, proof)
    if answer.watermark is not None:
        told["io.toolbroker/watermark"] = answer.watermark
    if answer.repeats is not None:
        told["io.toolbroker/call"]["repeats"] = answer.repeats
    if answer.notices:
        told["io.toolbroker/budget"] = [_notice(notice) for notice in answer.notices]
    given = generate.result(answer, method) if method in MODEL_METHODS else answer.body
    body = _with_meta(given, told, modern=modern)
    if modern:
        body.setdefault("resultType", "complete")
        if method is Method.READ_RESOURCE and body["resultType"] == "complete":
            _cacheable(body)
    return body


def complete(body: Json, *, ttl_ms: int | None = None) -> Json:
    """A result of the broker's own for a modern caller; with `ttl_ms` one that it alone may cache."""
    result: Json = {"resultType": "complete", **body}
    if ttl_ms is not None:
        result |= {"ttlMs": ttl_ms, "cacheScope": "private"}
    result["_meta"] = {META_SERVER: SERVER_INFO, **result.get("_meta", {})}
    return result


def refused(error: BrokerError, method: str, params: Json, identity: RequestId, *, modern: bool) -> Outgoing:
    """A refusal, for whoever can do something about it: the model as a result, the host as an error."""
    tool = method == Method.CALL_TOOL or method in MODEL_METHODS
    if tool and translate.wire(error).audience is translate.Audience.MODEL:
        cause = {"parent": error.parent_call, "root": error.root_call or error.call_id}
        told = _told(error.call_id, cause, error.cost_micro_usd, error.receipt)
        body = _with_meta(translate.tool_result(error), told, modern=modern)
        if modern:
            body["resultType"] = "complete"
        return Outgoing(encode_result(identity, body))
    told = translate.rpc_error(error)
    if method == Method.READ_RESOURCE and isinstance(error, UnknownTarget):
        told["data"] = {"uri": params.get("uri"), **told["data"]}
        if not modern:
            told["code"] = RESOURCE_NOT_FOUND
    return Outgoing(encode_error(identity, told), http_status(told["code"]) if modern else 200)


def failed(identity: RequestId, *, modern: bool) -> Outgoing:
    """The answer when the broker itself has failed: what happened stands in its own log."""
    error: Json = {"code": INTERNAL_ERROR, "message": "the broker failed while it did this"}
    return Outgoing(encode_error(identity, error), 500 if modern else 200)


def _told(call: str | None, cause: Json, cost: int, receipt: Mapping[str, Any] | None) -> Json:
    """What the broker tells about a call: which it was and why, what it cost, where the log holds it."""
    told: Json = {"io.toolbroker/call": {"id": call, **cause, "cost_micro_usd": cost}}
    if receipt is not None:
        told["io.toolbroker/receipt"] = receipt
    return told


def _notice(notice: Notice) -> Json:
    """A budget that is running out, so that an agent can spend less before it is stopped."""
    window = {"window": notice.window} if notice.window else {}
    return {
        "scope": notice.scope,
        **window,
        "unit": notice.unit,
        "used_percent": notice.percent,
        "waited_ms": notice.wait_ms,
    }


def _with_meta(body: Json, told: Json, *, modern: bool) -> Json:
    """A copy with more `_meta`. What an upstream says in the broker's name is left out."""
    given: Any = body.get("_meta")
    kept: Json = (
        {k: v for k, v in cast("Json", given).items() if not k.startswith(_OWN)}
        if isinstance(given, dict)
        else {}
    )
    if modern:
        kept.setdefault(META_SERVER, SERVER_INFO)
    return {**body, "_meta": kept | told}


def _cacheable(body: Json) -> None:
    """Keep how long the upstream's content is fresh; whose it is depends on who may read it."""
    ttl = body.get("ttlMs")
    body["ttlMs"] = ttl if type(ttl) is int and ttl >= 0 else 0
    body["cacheScope"] = "private"
