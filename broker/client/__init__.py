"""What agent authors use: calls tools through a broker, under an identity, within a delegation.

    from broker.client import Broker, Refused

    async with Broker("https://broker.example", client_id="researcher", client_secret=secret) as broker:
        for tool in await broker.tools():
            print(tool.name, tool.description)
        try:
            answer = await broker.call("git__git_log", {"repo_path": "."})
        except Refused as refusal:
            print(refusal.code, refusal.message, refusal.because, refusal.hint, refusal.call_id)
        else:
            print(answer.text, answer.call_id, answer.cost_micro_usd)

Works from any machine: nothing of the broker itself runs here. Tokens are got when they are first
needed and renewed before they expire, one renewal at a time, without holding up calls under way.
"""

from broker.client.answer import Answer, Progress, Tool, ToolFailed
from broker.client.context import acting_on, following, meta
from broker.client.credentials import KeyPair, new_key
from broker.client.delegation import Grant
from broker.client.session import Broker
from broker.errors import (
    Because,
    Blocked,
    BrokerError,
    BudgetExceeded,
    ConfigurationError,
    Denied,
    InvalidRequest,
    NotDeclared,
    PendingApproval,
    Refused,
    StorageUnavailable,
    Unauthenticated,
    UnknownTarget,
    UpstreamError,
    UpstreamLost,
    UpstreamRefused,
    UpstreamUnreachable,
)

__all__ = [
    "Answer",
    "Because",
    "Blocked",
    "Broker",
    "BrokerError",
    "BudgetExceeded",
    "ConfigurationError",
    "Denied",
    "Grant",
    "InvalidRequest",
    "KeyPair",
    "NotDeclared",
    "PendingApproval",
    "Progress",
    "Refused",
    "StorageUnavailable",
    "Tool",
    "ToolFailed",
    "Unauthenticated",
    "UnknownTarget",
    "UpstreamError",
    "UpstreamLost",
    "UpstreamRefused",
    "UpstreamUnreachable",
    "acting_on",
    "following",
    "meta",
    "new_key",
]
