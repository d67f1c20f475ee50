"""What does a human's word change? Pure functions from an approval and an act to what becomes of it."""

from collections.abc import Collection
from dataclasses import dataclass, replace

from broker.approvals.interface import OPEN, Approval, Reach, State, Term, Vote
from broker.approvals.people import Human, People
from broker.errors import BrokerError, Denied, InvalidRequest

MOST_REASON_CHARS = 500


@dataclass(frozen=True, slots=True)
class Act:
    """What a human says. Times are Unix seconds.

    Args:
        by: who.
        reach: of an agreement, which calls it is good for.
        until: of an agreement that reaches further than one call, when it ends.
        reason: why; a denial's is told to the agent.
    """

    by: Human
    reach: Reach = Reach.CALL
    until: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of an approval: as it was, with the reason, where the act was refused."""

    after: Approval
    agreed: tuple[Term, ...] = ()
    """What was agreed to."""
    refusal: BrokerError | None = None


def agree(
    before: Approval, act: Act, people: People, owners: Collection[str], *, now: int, use_s: int
) -> Verdict:
    """Somebody agrees to all that they may agree to.

    Args:
        before: the approval as it is.
        act: who agrees, and to which calls.
        people: who may.
        owners: who owns the agents of the chain.
        now: Unix seconds.
        use_s: seconds in which an approved call has to be made.
    """
    if (refusal := _closed(before, {State.PENDING}, now) or _misshapen(act, now)) is not None:
        return Verdict(before, refusal=refusal)
    open_to, refusal = _open_to(before, act.by, people, owners)
    if refusal is not None:
        return Verdict(before, refusal=refusal)
    vote = Vote(act.by.id, act.by.person, now, tuple(term.name for term in open_to), act.reach, act.until)
    after = replace(before, votes=(*before.votes, vote), reason=act.reason[:MOST_REASON_CHARS])
    if after.missing:
        return Verdict(after, open_to)
    reach = min((vote.reach for vote in after.votes), key=list(Reach).index)
    ends = (
        min(v.until for v in after.votes if v.until is not None) if reach is not Reach.CALL else now + use_s
    )
    return Verdict(replace(after, state=State.APPROVED, reach=reach, expires_at=ends), open_to)


def deny(before: Approval, act: Act, people: People, *, now: int, use_s: int) -> Verdict:
    """Somebody says no; one who may agree to any of it is enough. The answer stands for `use_s` seconds."""
    refusal = _closed(before, {State.PENDING}, now) or _stranger(before, act.by, people)
    if refusal is not None:
        return Verdict(before, refusal=refusal)
    return Verdict(_ended(before, State.DENIED, act, now + use_s))


def revoke(before: Approval, act: Act, people: People, *, now: int) -> Verdict:
    """Somebody takes back what was agreed to, or the question itself."""
    refusal = _closed(before, OPEN, now) or _stranger(before, act.by, people)
    if refusal is not None:
        return Verdict(before, refusal=refusal)
    return Verdict(_ended(before, State.REVOKED, act, now))


def check_usable(approval_id: str, approval: Approval | None, now: int) -> None:
    """Pass an approval on which a call may be made at this moment (Unix seconds).

    Raises:
        Denied: it may not be, any more.
    """
    state = State.EXPIRED if approval is None else approval.state
    if approval is not None and state is State.APPROVED:
        if now < approval.expires_at:
            return
        state = State.EXPIRED
    raise Denied(
        f"the approval `{approval_id}` was {state} before the call began",
        hint="call again to ask for another one",
    )


def _ended(before: Approval, state: State, act: Act, expires_at: int) -> Approval:
    reason = act.reason[:MOST_REASON_CHARS]
    return replace(before, state=state, decided_by=act.by.id, reason=reason, expires_at=expires_at)


def _closed(approval: Approval, wanted: Collection[State], now: int) -> BrokerError | None:
    expired = approval.state in OPEN and now >= approval.expires_at
    if approval.state in wanted and not expired:
        return None
    state = State.EXPIRED if expired else approval.state
    by = f" by `{approval.decided_by}`" if approval.decided_by else ""
    return InvalidRequest(
        f"`{approval.id}` is {state}{by} already", hint="`broker approvals list` shows what is open"
    )


def _misshapen(act: Act, now: int) -> BrokerError | None:
    if (act.reach is Reach.CALL) != (act.until is None):
        return InvalidRequest(
            "what reaches further than one call has to end, and one call needs no end",
            hint="give both: which calls, and until when",
        )
    if act.until is not None and act.until <= now:
        return InvalidRequest("that end is past", hint="give a time to come")
    return None


def _open_to(
    approval: Approval, human: Human, people: People, owners: Collection[str]
) -> tuple[tuple[Term, ...], BrokerError | None]:
    """What somebody may agree to and has not yet; or why there is nothing."""
    if (refusal := _stranger(approval, human, people)) is not None:
        return (), refusal
    theirs = [term for term in approval.terms if people.include(human, term.approver)]
    allowed = [term for term in theirs if not (term.not_owner and human.person in owners)]
    if not allowed:
        return (), Denied(
            f"`{human.id}` owns an agent that would act, and `{theirs[0].rule}` wants somebody else to agree",
            hint="ask another approver",
        )
    fresh = tuple(term for term in allowed if human.person not in approval.agreed(term))
    if not fresh:
        return (), Denied(
            f"`{human.id}` has agreed to `{approval.id}` already, and somebody else has to",
            hint="ask another approver",
        )
    return fresh, None


def _stranger(approval: Approval, human: Human, people: People) -> BrokerError | None:
    if any(people.include(human, term.approver) for term in approval.terms):
        return None
    roles = ", ".join(f"`{role}`" for role in sorted({term.approver for term in approval.terms}))
    return Denied(f"`{human.id}` may not decide this: it is asked of {roles}", hint="ask one of them")
