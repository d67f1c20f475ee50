"""What does a governed request name? From raw parameters to the one `Call` that the pipeline judges."""

from typing import Any, Final, cast

from broker.edges.http import peer_address
from broker.edges.mcp.exchange import Exchange
from broker.edges.mcp.headers import Fields
from broker.edges.mcp.wire import INVALID_PARAMS, Rejected
from broker.model import IDEMPOTENCY_KEY, MODEL_METHODS, Call, Caller, Json, Method, new_call_id

GOVERNED: Final = {method.value: method for method in Method if method not in MODEL_METHODS}

IDEMPOTENCY_HEADER: Final = b"idempotency-key"

_NOT_PASSED_ON: Final = frozenset({"_meta", "task"})
"""`task` asks this server for something that it does not offer; a server then ignores it (2025-11-25)."""


def asked(method: Method, params: Json) -> Json:
    """The parameters that concern the target, once they have the shape that the method needs.

    Raises:
        Rejected: a parameter is missing or of another type.
    """
    rest = {key: value for key, value in params.items() if key not in _NOT_PASSED_ON}
    if method is Method.READ_RESOURCE:
        _text(rest, "uri")
    elif method is Method.COMPLETE:
        _object(rest, "ref")
        _object(rest, "argument")
    else:
        _text(rest, "name")
        if rest.get("arguments") is None:
            rest.pop("arguments", None)
        else:
            _object(rest, "arguments")
    return rest


def name_of(method: Method, params: Json) -> str:
    """The exposed name of the target: for a completion, that of the prompt or template it is about.

    Raises:
        Rejected: the reference names nothing.
    """
    if method is Method.READ_RESOURCE:
        return params["uri"]
    if method is not Method.COMPLETE:
        return params["name"]
    ref = cast("Json", params["ref"])
    match ref.get("type"):
        case "ref/prompt":
            return _text(ref, "name")
        case "ref/resource":
            return _text(ref, "uri")
        case _:
            raise Rejected(INVALID_PARAMS, "the `type` of `ref` is `ref/prompt` or `ref/resource`")


def call(exchange: Exchange, method: Method, params: Json, *, caller: Caller, meta: Json) -> Call:
    """The call that the pipeline judges."""
    name, address = name_of(method, params), peer_address(exchange.scope)
    meta = _with_key(exchange.fields, meta)
    return Call(new_call_id(), method, name, params, exchange.token, caller, meta, address)


def _with_key(fields: Fields, meta: Json) -> Json:
    """An idempotency key may stand in the HTTP header that is drafted for it, as a text in quotes or without
    (draft-ietf-httpapi-idempotency-key-header); that in `_meta` comes first.
    """
    key = fields.get(IDEMPOTENCY_HEADER)
    if key is None or IDEMPOTENCY_KEY in meta:
        return meta
    bare = key[1:-1] if len(key) > 1 and key[0] == key[-1] == '"' else key
    return {**meta, IDEMPOTENCY_KEY: bare}


def _text(params: Json, key: str) -> str:
    value: Any = params.get(key)
    if not isinstance(value, str):
        raise Rejected(INVALID_PARAMS, f"`{key}` has to be a text")
    return value


def _object(params: Json, key: str) -> None:
    if not isinstance(params.get(key), dict):
        raise Rejected(INVALID_PARAMS, f"`{key}` has to be an object")
