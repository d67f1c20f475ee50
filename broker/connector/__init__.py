"""All that a connector author imports.

A connector is a set of typed functions:

    from broker.connector import Connector

    connector = Connector("echo")

    @connector.tool(price="0.001", side_effect="reads")
    async def say(text: str, times: int = 1) -> dict[str, str]:
        \"\"\"Repeat a text a number of times.\"\"\"
        return {"said": " ".join([text] * times)}

or, where what it offers is only known at run time, a class with the methods of `Upstream`.
"""

from broker.connector.egress import EgressRefused, check_egress, egress_permits
from broker.connector.functions import Connector, ToolFailed
from broker.connector.interface import Host, Line, Offer, Request, Upstream
from broker.errors import (
    BrokerError,
    ConfigurationError,
    NotDeclared,
    UpstreamError,
    UpstreamLost,
    UpstreamRefused,
    UpstreamUnreachable,
)
from broker.model import Answer, Caller, Json, Kind, Method

__all__ = [
    "Answer",
    "BrokerError",
    "Caller",
    "ConfigurationError",
    "Connector",
    "EgressRefused",
    "Host",
    "Json",
    "Kind",
    "Line",
    "Method",
    "NotDeclared",
    "Offer",
    "Request",
    "ToolFailed",
    "Upstream",
    "UpstreamError",
    "UpstreamLost",
    "UpstreamRefused",
    "UpstreamUnreachable",
    "check_egress",
    "egress_permits",
]
