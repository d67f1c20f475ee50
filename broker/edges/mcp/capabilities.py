"""What must a caller have declared to be asked something? And what does this server declare?"""

from collections.abc import Mapping
from typing import Any, Final, cast

from broker.model import Json

SERVER_CAPABILITIES: Final[Json] = {
    "tools": {"listChanged": True},
    "resources": {"subscribe": True, "listChanged": True},
    "prompts": {"listChanged": True},
    "completions": {},
    "logging": {},
}
"""What is offered here depends on who asks, so every kind is declared."""

EXTENSIONS: Final[Json] = {"io.modelcontextprotocol/oauth-client-credentials": {}}


def needed(method: str, params: Mapping[str, Any]) -> Json:
    """The client capabilities that a question needs, as a `ClientCapabilities` object."""
    name = method.partition("/")[0]
    finer: Json = {}
    if method == "elicitation/create" and params.get("mode") == "url":
        finer = {"url": {}}
    elif method == "sampling/createMessage" and (params.get("tools") or params.get("toolChoice")):
        finer = {"tools": {}}
    return {name: finer}


def missing(declared: Mapping[str, Any], required: Mapping[str, Any]) -> Json:
    """The part of `required` that was not declared. An empty `elicitation` means forms only."""
    return {name: finer for name, finer in required.items() if not _declares(declared.get(name), name, finer)}


def _declares(declared: Any, name: str, finer: Json) -> bool:
    if not isinstance(declared, dict):
        return False
    capability = cast("Json", declared)
    if name == "elicitation" and not finer:
        return "form" in capability or "url" not in capability
    return all(key in capability for key in finer)
