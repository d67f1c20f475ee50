"""What does a governed request name? From raw parameters to the one `Call` that the pipeline judges."""

from typing import Any, Final, cast

from broker.edges.mcp.wire import INVALID_PARAMS, Rejected
from broker.model import Call, Caller, Json, Method, new_call_id

GOVERNED: Final = {method.value: method for method in Method}

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


def call(method: Method, params: Json, *, token: str, caller: Caller, meta: Json) -> Call:
    """The call that the pipeline judges."""
    return Call(new_call_id(), method, name_of(method, params), params, token, caller, meta)


def _text(params: Json, key: str) -> str:
    value: Any = params.get(key)
    if not isinstance(value, str):
        raise Rejected(INVALID_PARAMS, f"`{key}` has to be a text")
    return value


def _object(params: Json, key: str) -> None:
    if not isinstance(params.get(key), dict):
        raise Rejected(INVALID_PARAMS, f"`{key}` has to be an object")
