"""What did the broker refuse? Its error objects, as errors again."""

from collections.abc import Iterator
from typing import Any, cast

from broker.errors import (
    Because,
    BrokerError,
    BudgetExceeded,
    NotDeclared,
    PendingApproval,
    RateLimited,
    UpstreamRefused,
)
from broker.model import Json


def refusal_in(result: Json) -> BrokerError | None:
    """The refusal that a tool result carries; None if it is the tool's own result."""
    if result.get("isError") is not True:
        return None
    return from_object(result.get("structuredContent"))


def from_object(data: object) -> BrokerError | None:
    """The error in `{"error": {"code": …, "message": …}}`; None if that is something else."""
    error = cast("Json", data).get("error") if isinstance(data, dict) else None
    if not isinstance(error, dict):
        return None
    fields = cast("Json", error)
    kind = _BY_CODE.get(str(fields.get("code")))
    if kind is None:
        return None
    because = cast("list[dict[str, Any]]", fields.get("because") or [])
    call = fields.get("call")
    made = _made(kind, fields)
    made.because = tuple(Because(str(b.get("rule")), str(b.get("text") or "")) for b in because)
    made.call_id = str(call) if call else None
    return made


def _made(kind: type[BrokerError], fields: Json) -> BrokerError:
    message = str(fields.get("message"))
    hint = str(fields["hint"]) if fields.get("hint") else None
    if kind is PendingApproval:
        asked = fields.get("approval")
        return PendingApproval(
            message, approval=cast("Json", asked) if isinstance(asked, dict) else {}, hint=hint
        )
    if kind is RateLimited:
        after = fields.get("retry_after_s")
        return RateLimited(message, retry_after_s=after if isinstance(after, int) else 0, hint=hint)
    if kind is BudgetExceeded:
        after = fields.get("retry_after_s")
        return BudgetExceeded(message, retry_after_s=after if isinstance(after, int) else None, hint=hint)
    return kind(message, hint=hint)


def _kinds(kind: type[BrokerError]) -> Iterator[type[BrokerError]]:
    yield kind
    for inner in kind.__subclasses__():
        yield from _kinds(inner)


_BY_CODE = {kind.code: kind for kind in _kinds(BrokerError) if kind not in (NotDeclared, UpstreamRefused)}
