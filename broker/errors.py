"""Every refusal and every failure that a caller can meet, as one tree.

    BrokerError
    ├── Unauthenticated            no valid token: nobody is asking
    ├── InvalidRequest             the request cannot be understood
    │   └── Conflict               understood, but what is there now does not allow it
    ├── Refused                    understood, and not done
    │   ├── UnknownTarget          does not exist, or not for this chain: the same answer
    │   ├── Denied                 the policies do not permit it
    │   ├── PendingApproval        a human has been asked and has not answered yet
    │   ├── Blocked                a guard stopped the content
    │   ├── BudgetExceeded         a cap does not hold the worst case
    │   ├── RateLimited            it comes too soon after the calls before it
    │   └── NotDeclared            it needs something the caller did not declare
    ├── UpstreamError              the remote system
    │   ├── UpstreamUnreachable    was never reached: nothing happened there
    │   ├── UpstreamRefused        answered no: nothing is owed
    │   └── UpstreamLost           was reached and its answer is lost: anything may have happened
    ├── StorageUnavailable         nothing can be recorded, so nothing is done
    └── ConfigurationError         the operator has to mend something

Types know no protocol; `broker/edges/translate.py` holds the only mapping to the wires.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Because:
    """One rule that led to a refusal: its id (points to file and line) and its text."""

    rule: str
    text: str = ""


class BrokerError(Exception):
    """`message` is one sentence of fact, `hint` what this reader can do next.

    Args:
        message: lower case, no final stop, user input in backticks, no internal names.
        hint: what the reader can do next.
        because: the rules that decided, most important first.
        call_id: set by the pipeline once the call has an id.

    Attributes:
        receipt: where the log holds what happened, `{log, index, leaf, size}`; set by the journal.
        parent_call, root_call: the verified calls above this one; set by the journal.
        cost_micro_usd: what the call cost all the same; set by the journal.
    """

    code: ClassVar[str] = "broker_error"
    receipt: Mapping[str, Any] | None = None
    cost_micro_usd: int = 0
    parent_call: str | None = None
    root_call: str | None = None

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        because: Sequence[Because] = (),
        call_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.because = tuple(because)
        self.call_id = call_id

    def rephrase(self, text: Callable[[str], str]) -> None:
        """Put everything that it says in other words."""
        self.message = text(self.message)
        self.args = (self.message,)
        self.hint = self.hint and text(self.hint)
        self.because = tuple(Because(because.rule, text(because.text)) for because in self.because)

    def as_object(self) -> dict[str, Any]:
        """The one shape of an error in MCP `structuredContent`, HTTP bodies and `--json`."""
        fields: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.hint:
            fields["hint"] = self.hint
        if self.because:
            fields["because"] = [{"rule": b.rule, "text": b.text} for b in self.because]
        if self.call_id:
            fields["call"] = self.call_id
        return {"error": fields}


class Unauthenticated(BrokerError):
    """No token, or one that is not valid here (RFC 6750 §3.1)."""

    code = "unauthenticated"


class InvalidRequest(BrokerError):
    """The request cannot be understood; nothing was done."""

    code = "invalid_request"


class Conflict(InvalidRequest):
    """What is there now does not allow it: a name that is taken, something that has ended for good."""

    code = "conflict"


class Refused(BrokerError):
    """Understood, and not done."""

    code = "refused"


class UnknownTarget(Refused):
    """The target does not exist, or not for this chain. Both give the same answer."""

    code = "unknown_target"


class Denied(Refused):
    """The policies do not permit this call."""

    code = "denied"


class PendingApproval(Refused):
    """A human has been asked and has not answered yet; nothing was done.

    Args:
        message: as `BrokerError`. hint: as `BrokerError`. because: as `BrokerError`.
        approval: what is asked: `id`, to name it by, `waits_for`, the roles whose holders are asked, and
            `expires_at`, until when an answer counts (RFC 3339).
    """

    code = "pending_approval"

    def __init__(
        self,
        message: str,
        *,
        approval: Mapping[str, Any],
        hint: str | None = None,
        because: Sequence[Because] = (),
    ) -> None:
        super().__init__(message, hint=hint, because=because)
        self.approval = dict(approval)

    def as_object(self) -> dict[str, Any]:
        """As `BrokerError.as_object`, with `approval`."""
        shown = super().as_object()
        shown["error"]["approval"] = self.approval
        return shown


class Blocked(Refused):
    """A guard stopped the arguments or the result."""

    code = "blocked"


class BudgetExceeded(Refused):
    """A cap above this call does not hold its worst case.

    Args:
        message: as `BrokerError`. hint: as `BrokerError`. because: as `BrokerError`.
        retry_after_s: seconds after which there may be room again; None: not by waiting.
    """

    code = "over_budget"

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: int | None = None,
        hint: str | None = None,
        because: Sequence[Because] = (),
    ) -> None:
        super().__init__(message, hint=hint, because=because)
        self.retry_after_s = retry_after_s

    def as_object(self) -> dict[str, Any]:
        """As `BrokerError.as_object`, with `retry_after_s` where waiting helps."""
        shown = super().as_object()
        if self.retry_after_s is not None:
            shown["error"]["retry_after_s"] = self.retry_after_s
        return shown


class RateLimited(Refused):
    """A rate does not let this call through yet.

    Args:
        message: as `BrokerError`. hint: as `BrokerError`. because: as `BrokerError`.
        retry_after_s: seconds after which it would.
    """

    code = "rate_limited"

    def __init__(
        self, message: str, *, retry_after_s: int, hint: str | None = None, because: Sequence[Because] = ()
    ) -> None:
        super().__init__(message, hint=hint, because=because)
        self.retry_after_s = retry_after_s

    def as_object(self) -> dict[str, Any]:
        """As `BrokerError.as_object`, with `retry_after_s`."""
        shown = super().as_object()
        shown["error"]["retry_after_s"] = self.retry_after_s
        return shown


class NotDeclared(Refused):
    """The call needs a client capability that the caller did not declare."""

    code = "not_declared"

    def __init__(self, message: str, *, required: Mapping[str, Any], hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.required = dict(required)


class UpstreamError(BrokerError):
    """Something about the remote system."""

    code = "upstream_error"


class UpstreamUnreachable(UpstreamError):
    """The request never left: nothing happened upstream and nothing is owed."""

    code = "upstream_unreachable"


class UpstreamRefused(UpstreamError):
    """The upstream answered with a protocol error: nothing is owed.

    Args:
        message: the upstream's own sentence (screened before a caller reads it).
        rpc_code: its JSON-RPC error code, relayed as it came.
        data: its JSON-RPC error data, relayed as it came; of a model provider, the body of its answer.
        status: the HTTP status of a model provider's answer.
    """

    code = "upstream_refused"

    def __init__(
        self,
        message: str,
        *,
        rpc_code: int = -32603,
        data: object = None,
        status: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.rpc_code = rpc_code
        self.data = data
        self.status = status


class UpstreamLost(UpstreamError):
    """The request was sent and no answer came: the effect is unknown, the held amount is kept."""

    code = "upstream_lost"


class StorageUnavailable(BrokerError):
    """The log cannot be written: the broker fails closed."""

    code = "storage_unavailable"


class ConfigurationError(BrokerError):
    """The operator has to mend a file or a setting; `message` starts with `file:line:` where there is one."""

    code = "configuration"
