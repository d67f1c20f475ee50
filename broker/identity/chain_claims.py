"""How does a chain of delegation read in a token? Claims for whoever receives it; the grants decide.

`act` (RFC 8693 §4.1) nests every actor but the root, which is `sub`; `authorization_details`
(RFC 9396 §9.1) are the limits of the newest hop; `par_hash` commits to the token above.
"""

import base64
from collections.abc import Sequence
from hashlib import sha256

from broker import limits
from broker.model import Grant, Json


def chain_claims(chain: Sequence[Grant], parent: str) -> Json:
    """The claims of a token for the newest hop.

    Args:
        chain: the hops, newest first.
        parent: the compact token that the newest hop follows from.
    """
    newest = chain[0]
    claims: Json = {"act": _act(chain), "dlg": _facts(chain), "par_hash": _hash(parent)}
    if newest.limits is not None:
        claims["authorization_details"] = limits.wire(newest.limits)
    return claims


def _act(chain: Sequence[Grant]) -> Json:
    act: Json = {}
    for grant in reversed(chain):
        act = {"sub": grant.to, "sub_profile": "ai_agent"} | ({"act": act} if act else {})
    return act


def _facts(chain: Sequence[Grant]) -> Json:
    newest = chain[0]
    facts: Json = {
        "id": newest.id,
        "chain": [grant.id for grant in reversed(chain)],
        "depth": newest.depth,
        "max_depth": newest.max_depth,
        "by": newest.by,
        "task": newest.task,
        "purpose": newest.purpose,
        "call": newest.call,
        "budget_micro_usd": newest.cap_micro_usd,
        "max_calls": newest.max_calls,
    }
    return {name: value for name, value in facts.items() if value is not None}


def _hash(token: str) -> str:
    return base64.urlsafe_b64encode(sha256(token.encode()).digest()).rstrip(b"=").decode()
