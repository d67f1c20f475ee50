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
from broker.connector.interface import Host, Line, Meter, Offer, Request, Upstream
from broker.errors import (
    BrokerError,
    ConfigurationError,
    NotDeclared,
    UpstreamError,
    UpstreamLost,
    UpstreamRefused,
    UpstreamUnreachable,
)
from broker.formats import FORMATS, Assembly, Format
from broker.model import Answer, Caller, Json, Kind, Method, MicroUSD, Usage

__all__ = [
    "FORMATS",
    "Answer",
    "Assembly",
    "BrokerError",
    "Caller",
    "ConfigurationError",
    "Connector",
    "EgressRefused",
    "Format",
    "Host",
    "Json",
    "Kind",
    "Line",
    "Meter",
    "Method",
    "MicroUSD",
    "NotDeclared",
    "Offer",
    "Request",
    "ToolFailed",
    "Upstream",
    "UpstreamError",
    "UpstreamLost",
    "UpstreamRefused",
    "UpstreamUnreachable",
    "Usage",
    "check_egress",
    "egress_permits",
]
