"""What does a caller read where a human has not agreed, or not yet?"""

from datetime import UTC, datetime

from broker.approvals.interface import Approval, State
from broker.errors import Because, Denied, PendingApproval, UnknownTarget


def unknown(approval_id: str) -> UnknownTarget:
    """There is no such approval."""
    return UnknownTarget(f"there is no approval `{approval_id}`", hint="`broker approvals list` shows all")


def pending(asked: Approval, because: tuple[Because, ...]) -> PendingApproval:
    """Nobody has answered yet."""
    roles = sorted({term.approver for term in asked.missing})
    until = datetime.fromtimestamp(asked.expires_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    whom = " and ".join(f"`{role}`" for role in roles)
    return PendingApproval(
        f"a human has to agree before `{asked.agent}` may use `{asked.target}`",
        approval={"id": asked.id, "waits_for": roles, "expires_at": until},
        because=because,
        hint=f"approval `{asked.id}` is asked of {whom} until {until}; nothing was done yet:"
        " call again with the same arguments once it is granted",
    )


def refused(asked: Approval, because: tuple[Because, ...]) -> Denied:
    """A human has said no, or what they agreed to counts no more."""
    if asked.state is State.DENIED:
        said = f": {asked.reason}" if asked.reason else ""
        return Denied(
            f"a human was asked and does not agree that `{asked.agent}` uses `{asked.target}`{said}",
            because=because,
            hint="do not repeat this call; do without it, or tell whoever gave you the task",
        )
    return Denied(
        f"the approval `{asked.id}` was {asked.state} before the call began",
        because=because,
        hint="call again to ask for another one",
    )
