"""What must be durable together: the reservation, the decisions and the intent; the charge and the outcome.

Every call leaves either one `call.denied`, or one `call.intent` before anything leaves the broker
and one terminal record after it. Two commits, and nothing between them is lost: a crash leaves an
open intent, which `recover` closes as `unknown`.
"""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from typing import Protocol

import anyio
import anyio.lowlevel

from broker import errors
from broker.approvals.interface import ApprovalId
from broker.audit.interface import SYSTEM_LOG, Entry, Event, Facts, Outcome, Receipt
from broker.audit.payloads import Payload
from broker.flow.step import Seen, Step
from broker.idempotency import Claim, Ending, State
from broker.identity.attestation import level_of
from broker.identity.interface import AgentStore, Evidence, Issue
from broker.ledger.interface import NOTHING, Notice, Override, Quote, Settlement
from broker.model import (
    Agent,
    AgentId,
    AgentStatus,
    Answer,
    Call,
    Clock,
    MicroUSD,
    Principal,
    SideEffect,
    Usage,
)
from broker.record import CallRecord, Scribe, released, sent

MOST = MicroUSD(2**53 - 1)
"""The largest amount that a record can hold (JCS)."""


MOST_DRIFT = 500
"""How many characters of what an agent says of itself are kept."""


Fit = Callable[[Quote], Awaitable[Quote]]
"""Shrinks a quote to what the budgets hold now."""


@dataclass(frozen=True, slots=True)
class OpenCall:
    """An intent without an end, in whichever process."""

    log: str
    call: str
    agent: str | None
    held: MicroUSD


@dataclass(frozen=True, slots=True)
class PastCall:
    """A call that has begun, as the log has it."""

    call: str
    log: str
    agent: str
    transaction: str
    root: str
    grant: str | None
    """The newest hop that it was made under."""


@dataclass(frozen=True, slots=True)
class Opening:
    """All that becomes true with a call's intent, in one commit."""

    call: str
    quote: Quote
    intent: Entry
    principal: Principal
    step: Step | None = None
    """What the call adds to its transaction."""
    used: tuple[ApprovalId, Entry] | None = None
    """The approval that the call is made on, and the record of that: used up unless it reaches further."""
    sent: Payload | None = None
    """Its arguments, which the intent commits to."""
    claim: Claim | None = None
    """The idempotency key that it takes."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The intent is in the log, and this is to be said of the budgets that hold it."""

    receipt: Receipt
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True)
class Closing:
    """All that becomes true with a call's end, in one commit."""

    call: str
    settlement: Settlement
    terminal: Entry
    seen: Seen | None = None
    """What its result has shown to its transaction."""
    released: Payload | None = None
    """Its result, which the terminal record commits to."""
    ending: Ending | None = None
    """What its idempotency key is worth from now on; None where it has none."""


class JournalStore(Protocol):
    """What the journal needs from a backend. Each method is one transaction and one promise:
    when it returns, everything in it is durable; when it raises, nothing of it happened.

    Raises (all methods):
        StorageUnavailable: nothing can be written now.
    """

    async def open(self, opening: Opening) -> Opened:
        """Hold the quote in every budget above the call *and* append the intent, if all of the
        principal's chain may act at this moment: no intent comes after a committed revocation. The
        intent commits to the arguments, and what is kept of them is kept with it.

        Raises:
            Denied: somebody in the chain may not act any more, or the approval that the call is made on
                is used, expired or taken back; nothing was changed.
            MovedError: another process has gone on with the transaction; nothing was changed.
            InvalidRequest, Conflict: its idempotency key is another call's; nothing was changed.
            RateLimited: it comes too soon after the calls before it; nothing was changed.
            BudgetExceeded: some `spent + held + amount` would exceed its cap; nothing was changed.
        """
        ...

    async def close(self, closing: Closing) -> Receipt:
        """Turn what is held for the call into the charge *and* append the terminal record, which commits
        to the result.

        Idempotent by call: the second close of a call changes nothing and returns the first receipt.
        """
        ...

    async def append(self, entry: Entry) -> Receipt:
        """Append one record."""
        ...

    async def override_budget(self, override: Override, entry: Entry) -> None:
        """Keep an operator's other cap, in place of an earlier one for the same budget, *and* record it."""
        ...

    async def forget_windows(self, after: str) -> str | None:
        """Forget some of the accounts whose window is over and in which nothing is held, and rates that
        hold nobody back any more: beginning behind the account `after`, in their order.

        Returns the account to go on behind; None at the end.
        """
        ...

    async def declassify(
        self, transaction: str, labels: frozenset[str], entry: Callable[[frozenset[str]], Entry]
    ) -> frozenset[str]:
        """Take labels from a transaction *and* record those that it had; returns them. Every process goes
        by it from now on. Where it had none of them nothing is recorded.

        Raises:
            UnknownTarget: there is no such transaction.
        """
        ...

    async def past(self, call: str) -> PastCall | None:
        """What the log says about the beginning of a call; None if it never began."""
        ...

    async def open_calls(self, *, agent: str | None, after: str, limit: int) -> Sequence[OpenCall]:
        """Calls that are open now, oldest first, after the one of this id; of one agent, or of all."""
        ...

    async def abandoned(self) -> Sequence[OpenCall]:
        """Open intents of broker processes that no longer run."""
        ...

    async def enrol(self, agent: Agent, secret_digest: bytes | None, entry: Entry) -> None:
        """Add an agent and its first secret, if it has one, *and* record it.

        Raises:
            Conflict: the id is taken.
        """
        ...

    async def change_agent(
        self, agent_id: AgentId, change: Callable[[Agent], Agent], entry: Callable[[Agent, Agent], Entry]
    ) -> bool:
        """Change an agent *and* record it; every process goes by it from now on.

        `change` is given the agent as it is in this transaction, `entry` what it was and what it becomes.
        Where nothing would change nothing is recorded, and False comes back.

        Raises:
            UnknownTarget: there is no such agent.
            BrokerError: what `change` raised; nothing was changed.
        """
        ...


class Hold:
    """Money that is held for a call until it is known what the call cost."""

    def __init__(self, record: CallRecord) -> None:
        self._record = record

    def settle(self, answer: Answer) -> None:
        """Note the actual cost, as soon as the upstream has answered: what follows cannot undo it.

        A question of a multi-round-trip request costs nothing; its last round does.
        """
        record = self._record
        record.answer = answer
        quoted = record.quote.amount if record.quote else MicroUSD(0)
        if answer.is_question:
            record.settlement = NOTHING
        elif answer.cost is None:
            record.settlement = _used(record, answer.usage) or Settlement(quoted, estimated=_is_model(record))
        elif 0 <= answer.cost <= MOST:
            tokens = answer.usage.tokens if answer.usage else None
            record.settlement = Settlement(answer.cost, tokens=tokens)
        else:  # a connector's nonsense must neither refund nor stop the record
            record.settlement = Settlement(quoted, estimated=True)


class Journal:
    """Writes down what happens to calls and agents, in the order that the promise needs.

    Args:
        store: the backend.
        digest_key: keys the hashes of arguments and results.
        clock: Unix time in seconds.
        room: how many bytes of answers are kept for the idempotency keys of one agent.
    """

    def __init__(
        self, store: JournalStore, digest_key: bytes, *, clock: Clock = time.time, room: int = 0
    ) -> None:
        self._store = store
        self._room = room
        self._clock = clock
        self._scribe = Scribe(digest_key)

    @asynccontextmanager
    async def recorded(self, call: Call) -> AsyncGenerator[CallRecord]:
        """The record of one call. If the call ends before its intent, that is recorded here.

        Strangers leave no record: there is nobody to write about, and they must not fill the log.
        """
        record = CallRecord(call=call, started=time.monotonic())
        try:
            yield record
        except errors.BrokerError as error:
            error.call_id = call.id
            await self._refused(record, error)
            if record.receipt is not None:
                error.receipt = asdict(record.receipt)
            if record.settlement is not None:
                error.cost_micro_usd = record.settlement.amount
            error.parent_call, error.root_call = record.parent, record.root
            raise
        except BaseException as error:  # the caller has gone while it waited, or the broker has failed it
            await self._refused(record, error)
            raise

    async def _refused(self, record: CallRecord, error: BaseException) -> None:
        """Record the end of a call that never began."""
        if record.principal is not None and record.intent is None:
            denial = self._scribe.denial(record, _outcome_of(error, record), error)
            with anyio.CancelScope(shield=True):
                record.receipt = await self._store.append(denial)

    async def place(self, record: CallRecord, principal: Principal) -> None:
        """Find the verified parent of a call: an earlier call of the caller's own that it names, in the
        same transaction and under the same delegation; else the call that its delegation is for.
        """
        served = next((grant.call for grant in principal.grants if grant.call is not None), None)
        claimed = record.call.claimed_parent
        past = None if claimed is None else await self._store.past(claimed)
        if past is None or not _is_own(past, principal):
            past = None if served is None else await self._store.past(served)
        if past is not None:
            record.parent, record.root = past.call, past.root

    @asynccontextmanager
    async def hold(
        self, record: CallRecord, principal: Principal, quote: Quote, fit: Fit | None = None
    ) -> AsyncGenerator[Hold]:
        """Reserve and record the intent in one commit; on leaving, settle and record the outcome in one.

        With `fit` a quote is shrunk to what the budgets hold; the commit decides whether they do, and
        where another call came first it is shrunk once more. Where a budget is running out the call is held
        back for a while before it is dispatched. Cancellation cannot come between a commit and its
        counterpart. A call cancelled before it was dispatched is released; one cancelled after that keeps
        its reserved amount, or what is known to have been used of it.

        Raises:
            Denied: somebody in the chain may not act any more, or the approval is good no more; nothing
                was reserved.
            MovedError: another process has gone on with the transaction; nothing was reserved.
            Conflict: another call has taken its idempotency key meanwhile; nothing was reserved.
            RateLimited: it comes too soon; nothing was reserved.
            BudgetExceeded: a cap does not hold the quote; nothing was reserved.
        """
        with anyio.CancelScope(shield=True):
            opened = await self._open(record, principal, quote, fit)
            if record.turn is not None:
                record.turn.kept()
            record.intent, record.notices = opened.receipt, opened.notices
        outcome = Outcome.UNKNOWN
        failure: BaseException | None = None
        try:
            await anyio.lowlevel.checkpoint_if_cancelled()
            if record.notices:
                await anyio.sleep(max(notice.wait_ms for notice in record.notices) / 1000)
            record.dispatched = True
            yield Hold(record)
            outcome = Outcome.TOOL_ERROR if record.answer and record.answer.failed else Outcome.OK
        except BaseException as error:
            outcome = _outcome_of(error, record)
            failure = error
            raise
        finally:
            settlement = record.settlement = record.settlement or _unsettled(failure, record)
            with anyio.CancelScope(shield=True):
                terminal = self._scribe.terminal(record, outcome, settlement)
                ending = None if record.claim is None else self._ending(record, settlement)
                record.receipt = await self._store.close(
                    Closing(record.call.id, settlement, terminal, record.seen, released(record), ending)
                )

    async def _open(self, record: CallRecord, principal: Principal, quote: Quote, fit: Fit | None) -> Opened:
        record.quote = quote if fit is None else await fit(quote)
        try:
            return await self._store.open(self._opening(record, principal, record.quote))
        except errors.BudgetExceeded:
            if fit is None:
                raise
            record.quote = await fit(quote)
            return await self._store.open(self._opening(record, principal, record.quote))

    def _ending(self, record: CallRecord, settlement: Settlement) -> Ending:
        """A key is free again only where it is known that nothing was done."""
        if not settlement.calls:
            return Ending(None)
        state = State.LOST if record.answer is None else State.DONE
        return Ending(state, record.sealed, self._room)

    def _opening(self, record: CallRecord, principal: Principal, quote: Quote) -> Opening:
        approval = record.approval
        return Opening(
            record.call.id,
            quote,
            self._scribe.intent(record),
            principal,
            step=None if record.turn is None else record.turn.step,
            used=None if approval is None else (approval.id, self._scribe.used(record, approval)),
            sent=sent(record),
            claim=record.claim,
        )

    async def stop_requested(self, call: OpenCall, *, by: str, reason: str) -> None:
        """Record that an operator wants an open call to be stopped."""
        facts: Facts = {"stopped": call.call, "by": by, "reason": reason}
        agent = None if call.agent is None else AgentId(call.agent)
        await self._store.append(Entry(call.log, Event.CALL_STOPPED, facts, agent=agent))

    async def recover(self) -> int:
        """Close every intent that a vanished process left open as `unknown`, charging what it held."""
        abandoned = await self._store.abandoned()
        for call in abandoned:
            facts: Facts = {"outcome": Outcome.UNKNOWN, "reason": "broker_restart", "cost": call.held}
            entry = Entry(call.log, Event.CALL_UNKNOWN, facts, call.call, call.agent)
            charge = Settlement(call.held, estimated=True)
            await self._store.close(Closing(call.call, charge, entry, ending=Ending(State.LOST)))
        return len(abandoned)

    async def enrol(self, agent: Agent, secret_digest: bytes | None, *, by: str) -> None:
        """Add an agent with its first secret; `by` is the operator who did it. None: it has no secret.

        Raises:
            Conflict: the id is taken, or the organisation would be the deployment's own log.
        """
        if agent.organisation == SYSTEM_LOG:
            raise errors.Conflict(
                f"`{SYSTEM_LOG}` is the log of the broker itself", hint="give the organisation another name"
            )
        facts: Facts = {"profile": _profile(agent), "by": by}
        await self._store.enrol(
            agent, secret_digest, Entry(SYSTEM_LOG, Event.AGENT_CREATED, facts, agent=agent.id)
        )

    async def set_status(self, agent_id: AgentId, status: AgentStatus, *, by: str, reason: str) -> None:
        """Suspend, resume or revoke an agent; `by` is the operator who did it.

        Raises:
            UnknownTarget: there is no such agent.
            Conflict: it is revoked, which is for good.
        """
        await self.change_agent(agent_id, lambda agent: replace(agent, status=status), by=by, reason=reason)

    async def change_agent(
        self, agent_id: AgentId, change: Callable[[Agent], Agent], *, by: str, reason: str = ""
    ) -> bool:
        """Change what is known of an agent, and record what it was and what it is now.

        Args:
            agent_id: which agent.
            change: makes the new record out of the present one; id and organisation have to stay.
            by: the operator who did it.
            reason: why.

        Returns:
            Whether anything changed.

        Raises:
            UnknownTarget: there is no such agent.
            Conflict: it is revoked, which is for good.
        """

        def unless_revoked(before: Agent) -> Agent:
            after = change(before)
            if before.status is not AgentStatus.REVOKED:
                return replace(after, attestation=level_of(after, self._clock())[0])
            if after == before:
                return before
            raise errors.Conflict(
                f"`{agent_id}` is revoked for good", hint="enrol another agent: `broker agent add`"
            )

        def entry(before: Agent, after: Agent) -> Entry:
            was, now = _profile(before), _profile(after)
            changed = [key for key in now if was[key] != now[key]]
            facts: Facts = {
                "status": after.status,
                "before": {key: was[key] for key in changed},
                "after": {key: now[key] for key in changed},
                "by": by,
                "reason": reason,
            }
            if why := level_of(after, self._clock())[1]:
                facts["attestation_lowered"] = why
            return Entry(SYSTEM_LOG, Event.AGENT_CHANGED, facts, agent=agent_id)

        return await self._store.change_agent(agent_id, unless_revoked, entry)

    async def drifted(self, agent_id: AgentId, why: str) -> None:
        """Record that an agent was seen to differ from its manifest; its level falls until an operator
        has looked at it.
        """
        await self.change_agent(
            agent_id, lambda agent: replace(agent, drift=why[:MOST_DRIFT]), by="broker", reason="drift"
        )

    async def lower_lapsed(self, agents: AgentStore) -> int:
        """Take their level from the agents whose manifest has ended; returns how many there were."""
        lapsed = await agents.lapsed(int(self._clock()))
        for agent in lapsed:
            await self.change_agent(agent, lambda now: now, by="broker", reason="its manifest has ended")
        return len(lapsed)

    async def trust_updated(self, log: str, agent_id: str, facts: Facts) -> None:
        """Record that an agent is trusted otherwise now.

        Raises:
            StorageUnavailable: it cannot be recorded.
        """
        await self._store.append(Entry(log, Event.TRUST_UPDATED, facts, agent=agent_id))

    async def release(self, agent: Agent, *, by: str, reason: str) -> None:
        """Record that an operator has looked at an agent, and what was held against it is over.

        Raises:
            StorageUnavailable: it cannot be recorded.
        """
        facts: Facts = {"target": agent.id, "by": by, "reason": reason}
        await self._store.append(Entry(agent.organisation, Event.TRUST_RELEASED, facts))

    async def override_budget(self, override: Override) -> None:
        """Put another cap in force for one budget until a time, and record who did it and why."""
        facts: Facts = {
            "budget": {"scope": override.scope, "window": override.window, "unit": override.unit},
            "cap": override.cap,
            "until": override.until,
            "reason": override.reason,
            "by": override.by,
        }
        await self._store.override_budget(override, Entry(SYSTEM_LOG, Event.BUDGET_CHANGED, facts))

    async def forget_windows(self) -> None:
        """Forget what was spent in windows that are over. The log keeps it, and is verified by itself."""
        after: str | None = ""
        while after is not None:
            after = await self._store.forget_windows(after)

    async def declassify(
        self, transaction: str, labels: frozenset[str], *, by: str, reason: str
    ) -> frozenset[str]:
        """Take labels from what a transaction has read, and record who did it and why.

        Args:
            transaction: its id, which the records of its calls have as their task.
            labels: what is not to count any more. What is read from now on counts again.
            by: the operator who does it.
            reason: why that is safe.

        Returns:
            Those of the labels that it had; where it had none, nothing is recorded.

        Raises:
            UnknownTarget: there is no such transaction.
        """

        def entry(had: frozenset[str]) -> Entry:
            facts: Facts = {"transaction": transaction, "labels": sorted(had), "by": by, "reason": reason}
            return Entry(SYSTEM_LOG, Event.TRANSACTION_DECLASSIFIED, facts)

        return await self._store.declassify(transaction, labels, entry)

    async def heartbeat(self, every_s: int) -> None:
        """Record that the broker runs: a longer silence than this in the log is one."""
        await self._store.append(Entry(SYSTEM_LOG, Event.LOG_HEARTBEAT, {"every_s": every_s}))

    async def policy_changed(self, version: str, files: Mapping[str, str]) -> None:
        """Record which policies are in force from now on; `files` has the SHA-256 of each file, by name."""
        await self._store.append(Entry(SYSTEM_LOG, Event.POLICY_CHANGED, {"policy": version, "files": files}))

    async def policy_text(self, digest: str, text: str) -> None:
        """Record what a file of policies says, by its SHA-256."""
        await self._store.append(Entry(SYSTEM_LOG, Event.POLICY_TEXT, {"sha256": digest, "text": text}))

    async def restored(self, *, by: str, checked: int) -> None:
        """Record that the state was put back from a backup: what came after that is not in this log.

        `checked` is how many checkpoints kept elsewhere it was held against.
        """
        await self._store.append(Entry(SYSTEM_LOG, Event.LOG_RESTORED, {"by": by, "checkpoints": checked}))

    async def token_issued(self, agent: Agent, token: Issue, evidence: Evidence, *, address: str) -> None:
        """Record an access token of an agent, and what it was issued for."""
        facts: Facts = {
            "token": token.id,
            "cause": {"task": token.transaction},
            "scope": token.scope,
            "expires_at": token.expires_at,
            "signed_by": token.key,
            "bound": token.bound,
            "method": evidence.method,
            "credential": evidence.credential,
            "issuer": evidence.issuer,
            "address": self._scribe.digest(address.encode()),
        }
        await self._store.append(Entry(agent.organisation, Event.TOKEN_ISSUED, facts, agent=agent.id))

    async def token_introspected(self, agent: Agent, *, token_id: str, active: bool) -> None:
        """Record that an agent asked about a token, and whether it was told that it is active."""
        facts: Facts = {"token": token_id, "active": active}
        await self._store.append(Entry(agent.organisation, Event.TOKEN_INTROSPECTED, facts, agent=agent.id))

    async def token_refused(self, agent: Agent, *, error: str, address: str, reason: str = "") -> None:
        """Record that an agent's client was refused a token; `error` is the OAuth error code, `reason`
        what the client is not told.
        """
        facts: Facts = {"error": error, "address": self._scribe.digest(address.encode())}
        if reason:
            facts["reason"] = reason
        await self._store.append(Entry(agent.organisation, Event.TOKEN_REFUSED, facts, agent=agent.id))


def _outcome_of(error: BaseException, record: CallRecord) -> Outcome:  # noqa: PLR0911 - one line a case
    match error:
        case errors.Blocked():
            return Outcome.BLOCKED
        case errors.BudgetExceeded() | errors.RateLimited():
            return Outcome.OVER_BUDGET
        case errors.PendingApproval():
            return Outcome.PENDING_APPROVAL
        case errors.UpstreamUnreachable() | errors.UpstreamRefused():
            return Outcome.UPSTREAM_ERROR
        case errors.UpstreamLost():
            reads = record.target is not None and record.target.side_effect is SideEffect.READS
            return Outcome.UPSTREAM_ERROR if reads else Outcome.UNKNOWN
        case errors.BrokerError():
            return Outcome.DENIED
        case Exception():
            return Outcome.UNKNOWN
        case _:
            return Outcome.CANCELLED


_NOT_DONE = (
    errors.UpstreamUnreachable,
    errors.UpstreamRefused,
    errors.NotDeclared,
    errors.InvalidRequest,
    errors.UnknownTarget,
    errors.Denied,
)
"""After these it is known that the upstream did not do it."""


def _unsettled(failure: BaseException | None, record: CallRecord) -> Settlement:
    """Release only what is known not to have been done; otherwise keep the held amount, marked as estimated.

    A lost answer is paid for even where the tool only reads: that it changed nothing does not make it free.
    """
    held = record.quote.amount if record.quote else MicroUSD(0)
    known = not record.dispatched or isinstance(failure, _NOT_DONE)
    return NOTHING if known else _used(record, record.meter.usage) or Settlement(held, estimated=held > 0)


def _used(record: CallRecord, usage: Usage | None) -> Settlement | None:
    """What the tokens cost that a model has used; None where nobody knows."""
    tariff = record.quote.tariff if record.quote else None
    if tariff is None or usage is None:
        return None
    return Settlement(min(tariff.cost(usage), MOST), estimated=not usage.exact, tokens=usage.tokens)


def _is_model(record: CallRecord) -> bool:
    return record.quote is not None and record.quote.tariff is not None


def _is_own(past: PastCall, principal: Principal) -> bool:
    return (
        past.agent == principal.agent.id
        and past.log == principal.organisation
        and past.transaction == principal.transaction
        and past.grant == (principal.grants[0].id if principal.grants else None)
    )


def _profile(agent: Agent) -> Facts:
    return {
        "organisation": agent.organisation,
        "team": agent.team,
        "roles": sorted(agent.roles),
        "cap": agent.cap_micro_usd,
        "owner": agent.owner,
        "status": agent.status,
        "purpose": agent.purpose,
        "model": agent.model,
        "model_version": agent.model_version,
        "attributes": dict(agent.attributes),
        "attestation": agent.attestation,
        "manifest": None if agent.manifest is None else asdict(agent.manifest),
        "drift": agent.drift,
    }
