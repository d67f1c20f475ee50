"""On whose behalf is something asked that is no call? Lists and streams take a delegation as calls do."""

from typing import cast

from broker.edges.mcp.wire import INVALID_PARAMS, Rejected
from broker.errors import Denied
from broker.model import DELEGATION, Json


def delegation_in(params: Json) -> str | None:
    """The delegation token in `_meta` of a request.

    Raises:
        Rejected: there is something else.
    """
    meta = params.get("_meta")
    delegation = cast("Json", meta).get(DELEGATION) if isinstance(meta, dict) else None
    if delegation is not None and not isinstance(delegation, str):
        raise Rejected(INVALID_PARAMS, f"`{DELEGATION}` is a token")
    return delegation


def fallen(error: Denied) -> Rejected:
    """The refusal of a delegation that does not stand."""
    return Rejected(INVALID_PARAMS, error.message, data=error.as_object())
