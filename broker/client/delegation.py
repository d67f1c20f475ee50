"""How does an agent hand part of its authority on? By token exchange (RFC 8693); never more than it has."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import cast

import orjson

from broker.client.context import DELEGATION
from broker.errors import InvalidRequest
from broker.model import Json

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
JWT = "urn:ietf:params:oauth:token-type:jwt"
DETAILS_TYPE = "io.toolbroker/tools"

Tools = Iterable[str] | Mapping[str, Mapping[str, Json]]
"""Names or globs; or for each the conditions on its arguments, such as
`{"path": {"constraint_type": "pattern", "value": "docs/*"}}`."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Authority that was handed on. `token` is of use to the agent `to` and to nobody else."""

    to: str
    token: str = field(repr=False)
    expires_in_s: int

    def meta(self) -> Json:
        """What belongs into `_meta` of an MCP request, so that `to` acts under this."""
        return {DELEGATION: self.token}


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be handed on; None: as much as the agent has itself."""

    to: str
    task: str | None = None
    purpose: str | None = None
    tools: Tools | None = None
    budget_usd: str | Decimal | None = None
    max_calls: int | None = None
    max_depth: int | None = None
    expires_in_s: int | None = None

    def form(self, subject_token: str, token_type: str) -> dict[str, str]:
        """The request to the token endpoint (RFC 8693 §2.1, RFC 9396 §2).

        Raises:
            InvalidRequest: the budget is no amount, or the tools are no list.
        """
        details = None if self.tools is None else orjson.dumps(_details(self.tools)).decode()
        fields: Mapping[str, object] = {
            "grant_type": EXCHANGE,
            "subject_token": subject_token,
            "subject_token_type": token_type,
            "requested_actor": self.to,
            "task": self.task,
            "purpose": self.purpose,
            "authorization_details": details,
            "budget_micro_usd": None if self.budget_usd is None else _micro_usd(self.budget_usd),
            "max_calls": self.max_calls,
            "max_depth": self.max_depth,
            "requested_expires_in": self.expires_in_s,
        }
        return {name: str(value) for name, value in fields.items() if value is not None}


def _details(tools: Tools) -> list[Json]:
    if isinstance(tools, str):
        raise InvalidRequest(f"`{tools}` is one name", hint=f'write a list: ["{tools}"]')
    if isinstance(tools, Mapping):
        return [{"type": DETAILS_TYPE, "tools": cast("Json", tools)}]
    return [{"type": DETAILS_TYPE, "tools": {name: {} for name in tools}}]


def _micro_usd(usd: str | Decimal) -> int:
    try:
        micros = Decimal(usd) * 1_000_000
        whole = int(micros)
    except (InvalidOperation, TypeError, ValueError, OverflowError):
        micros, whole = Decimal(0), -1
    if micros != whole or whole < 0:
        raise InvalidRequest(f"`{usd}` is no amount of dollars", hint='write it as text, e.g. "0.05"')
    return whole
