"""Which revisions does the upstream speak, and how does a conversation in each begin?"""

from collections.abc import Mapping
from typing import Any, cast

from broker.connector import Json, UpstreamRefused
from connectors.mcp_upstream.wire import CLIENT_INFO, HANDSHAKES, LEGACY, MODERN, UNSUPPORTED_VERSION

_RELAYED = ("sampling", "elicitation", "roots", "extensions")


def hello(declared: Json) -> Json:
    """The parameters of `initialize`."""
    return {"protocolVersion": LEGACY, "capabilities": declared, "clientInfo": CLIENT_INFO}


def understand(result: Json, name: str) -> tuple[str, Json]:
    """The revision and the server's capabilities in the result of `initialize`.

    Raises:
        UpstreamRefused: it offers no revision that is spoken here.
    """
    version = result.get("protocolVersion")
    if version not in HANDSHAKES:
        raise UpstreamRefused(f"`{name}` speaks no protocol revision that the broker speaks")
    return version, _object(result.get("capabilities"))


def speaks_modern(discovered: Json) -> bool:
    """Whether the result of `server/discover` names the revision without sessions."""
    versions = discovered.get("supportedVersions")
    return isinstance(versions, list) and MODERN in versions


def discovered_capabilities(discovered: Json) -> Json:
    """The server's capabilities in the result of `server/discover`."""
    return _object(discovered.get("capabilities"))


def rules_out_handshake(refused: UpstreamRefused) -> bool:
    """Whether the answer to the probe says that only revisions are spoken that the broker does not know."""
    if refused.rpc_code != UNSUPPORTED_VERSION:
        return False
    supported = _object(refused.data).get("supported")
    return isinstance(supported, list) and not HANDSHAKES.intersection(
        v for v in cast("list[Any]", supported) if isinstance(v, str)
    )


def declarable(capabilities: Mapping[str, Any]) -> Json:
    """What of a caller's capabilities can be declared for it in a session.

    What the broker cannot relay is left out: tasks, experiments, and changes of the roots.
    """
    declared: Json = {key: capabilities[key] for key in _RELAYED if key in capabilities}
    if "roots" in declared:
        declared["roots"] = {}
    return declared


def _object(value: Any) -> Json:
    return cast("Json", value) if isinstance(value, dict) else {}
