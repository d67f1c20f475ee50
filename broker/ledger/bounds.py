"""How many tokens can a request to a model use at most? Without knowing how the model counts.

No token is shorter than a byte, so the bytes of the request bound what is read; no model reads more than
its context holds. What is not in the request itself (pictures, files) is bounded by the context alone.
"""

import json

import orjson

from broker.errors import Denied, InvalidRequest
from broker.formats import FORMATS
from broker.ledger.tariff import Bound, Tariff
from broker.model import Json, Method, Target

DEFAULT_OUTPUT = 4096
"""Tokens that an answer may have where neither the request nor the connector says."""
TEMPLATE = 256
"""Tokens that a server puts around the messages at most."""
TOOLS = 1024
"""Tokens that a provider adds where tools are offered."""
TIERS = frozenset({"priority", "fast", "flex"})
"""Values of `service_tier` that have prices of their own."""


def bound_of(method: Method, params: Json, target: Target, tariff: Tariff) -> Bound:
    """The most that a request can use.

    Raises:
        InvalidRequest: it has something done that does not pass the broker.
        Denied: nothing bounds what it reads.
    """
    form = FORMATS[method]
    if objection := form.objection(params):
        raise InvalidRequest(f"{objection}, so it cannot be governed", hint="leave it out of the request")
    data = _bytes(params)
    read = len(data) + TEMPLATE + (TOOLS if params.get("tools") else 0)
    context = target.definition.get("context") or tariff.context
    if form.beyond(params):
        if not context:
            raise Denied(
                f"nobody knows how much of a picture or file `{target.name}` reads",
                hint="an operator sets `context` of this model in the settings of its connector",
            )
        read = max(context, 1)
    elif context and method is not Method.EMBED:  # an embedding has a context for each of its texts
        read = min(read, context)
    wrote = form.limit(params)
    if wrote is None:
        wrote = target.definition.get("max_output") or DEFAULT_OUTPUT
    caches = method is not Method.MESSAGES or b'"cache_control"' in data
    return Bound(read, wrote, form.answers(params), caches)


def tier_of(params: Json) -> str:
    """The tier of service that the request asks for; empty for the usual one."""
    tier = params.get("service_tier")
    return tier if isinstance(tier, str) and tier in TIERS else ""


def _bytes(params: Json) -> bytes:
    try:
        return orjson.dumps(params)
    except TypeError:  # integers beyond 64 bits, lone surrogates: JSON all the same
        return json.dumps(params).encode()
