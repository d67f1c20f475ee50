"""What must be durable together when a human is asked: the question or the answer, and its record.

The question is kept until it is answered, with the final parameters of the call, sealed: what a human
reads is what will be sent. Everything that it is for is bound by keyed hashes; what a human has agreed
to is used up in the commit that opens the call (`JournalStore.open`).
"""

import json
import secrets
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import anyio

from broker import approval_records
from broker.approvals.answers import pending, refused, unknown
from broker.approvals.heartbeat import Heartbeat
from broker.approvals.interface import OPEN, Approval, ApprovalId, ApprovalReader, Keys, Reach, State, Term
from broker.approvals.judgement import Act, Verdict, agree, deny, revoke
from broker.approvals.people import People
from broker.audit.interface import Entry, Event, Facts
from broker.identity.seals import Sealer
from broker.model import OWN_CONNECTOR, Call, Clock, Json, Principal, Situation, Target
from broker.policy.interface import Decision
from broker.record import Scribe
from broker.settings import ApprovalSettings
from broker.signals import Signals

TOPIC: Final = "approvals"
LOOK_S: Final = 0.25
"""How often an open call looks whether it was decided, in seconds: answers of other processes may come
without a signal."""

KEPT_S: Final = 30 * 86400
"""How long what is over can still be shown, in seconds. The log keeps it for good."""

_RANK: Final = {State.APPROVED: 0, State.PENDING: 1, State.DENIED: 2}

Judge = Callable[[Approval, Collection[str], int], Verdict]
"""What becomes of an approval, given the owners of its agents and the time (Unix seconds)."""


class ApprovalKeeper(ApprovalReader, Protocol):
    """What this needs from a backend. Each method is one transaction and one promise:
    when it returns, everything in it is durable; when it raises, nothing of it happened.

    Raises (all methods):
        StorageUnavailable: nothing can be written now.
    """

    async def ask(
        self, wanted: Approval, sealed: str, entry: Entry, most: int, expired: Callable[[Approval], Entry]
    ) -> Approval:
        """Keep a question *and* record it, unless one for the same call is open: then that one comes back.

        One that has expired meanwhile is ended, and recorded as `expired` says.

        Raises:
            Denied: the agent has `most` questions open already.
        """
        ...

    async def judge(
        self, approval_id: ApprovalId, judge: Judge, entry: Callable[[Approval, Verdict], Entry]
    ) -> Verdict:
        """Change an approval *and* record it, whether the act was refused or not.

        The sealed parameters are gone as soon as it is pending no more. Of acts at the same time each
        sees what the one before has made of it.

        Raises:
            UnknownTarget: there is no such approval.
        """
        ...

    async def lapse(self, entry: Callable[[Approval], Entry], kept_s: int) -> int:
        """End what has expired *and* record each; forget what was over `kept_s` seconds ago.

        Returns how many expired.
        """
        ...


@dataclass(frozen=True, slots=True)
class Question:
    """A call that rules want a human to agree to, as it would be made."""

    call: Call
    principal: Principal
    target: Target
    params: Json
    situation: Situation
    decision: Decision
    transaction: str
    """What the call belongs to, by whichever token."""


class Consents:
    """Asks humans, and writes down what they say.

    Args:
        store: where it is kept.
        signals: tells every process of a question or an answer.
        sealer: seals the parameters that a human is shown.
        digest_key: keys the hashes of what an approval is for.
        settings: for how long, and how many.
        people: who may agree.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        store: ApprovalKeeper,
        signals: Signals,
        *,
        sealer: Sealer,
        digest_key: bytes,
        settings: ApprovalSettings,
        people: People,
        clock: Clock = time.time,
    ) -> None:
        self._store = store
        self._signals = signals
        self._sealer = sealer
        self._scribe = Scribe(digest_key)
        self._settings = settings
        self._people = people
        self._clock = clock

    def adopt(self, people: People) -> None:
        """Go by another set of people from now on."""
        self._people = people

    # what calls need

    async def obtain(self, question: Question) -> Approval:
        """The agreement of all who are asked, if it comes while the call may wait.

        Raises:
            PendingApproval: nobody has answered yet; the same call finds the answer later.
            Denied: a human has said no, or the agent has too many questions open.
        """
        terms = self._terms(question)
        arguments = self._scribe.commitment(question.params)
        keys = self._keys(question, terms, arguments)
        asked = await self._found(question, keys)
        if asked is None:
            wanted = self._wanted(question, terms, arguments, keys)
            # As text: what no record can hold (integers beyond 64 bits, lone surrogates) is shown too.
            claims: Json = {"params": json.dumps(question.params)}
            sealed = self._sealer.seal(_purpose(wanted.id), claims, self._settings.pending_s)
            asked = await self._store.ask(
                wanted,
                sealed,
                approval_records.asked(wanted),
                self._settings.most_pending,
                approval_records.expired,
            )
            await self._tell(asked.id)
        if asked.state is State.PENDING:
            asked = await self._answer(question, asked, keys)
        match asked.state:
            case State.APPROVED:
                return asked
            case State.PENDING:
                raise pending(asked, question.decision.because)
            case _:
                raise refused(asked, question.decision.because)

    def covers(self, approval: Approval, question: Question) -> bool:
        """Whether what was agreed to is still what is asked for, now that all was looked at again."""
        arguments = self._scribe.commitment(question.params)
        keys = self._keys(question, self._terms(question), arguments)
        return approval.covers(keys, int(self._clock()))

    async def _found(self, question: Question, keys: Keys) -> Approval | None:
        """What counts for a call: an agreement before a question, a question before a refusal."""
        now = int(self._clock())
        lasting = await self._store.lasting(question.principal.agent.id)
        mine = [approval for approval in lasting if approval.covers(keys, now)]
        return min(mine, key=lambda approval: _RANK[approval.state], default=None)

    async def _answer(self, question: Question, asked: Approval, keys: Keys) -> Approval:
        """Wait for the answer; how it stands when that came, or when the call has waited long enough."""
        if not self._settings.wait_s:
            return asked
        heartbeat = Heartbeat(question.call, asked)
        async with self._signals.subscribe(TOPIC) as heard:
            with anyio.move_on_after(self._settings.wait_s):
                while True:
                    found = await self._found(question, keys)
                    if found is None:  # over, in one way or another
                        return await self._store.approval(asked.id) or asked
                    if found.state is not State.PENDING:
                        return found
                    await heartbeat.beat()
                    with anyio.move_on_after(LOOK_S):
                        await anext(heard)
        return asked

    def _terms(self, question: Question) -> tuple[Term, ...]:
        """What is asked for, as strict as the approvers' roles make it, in one order."""
        consents = question.decision.consents
        terms = [self._people.stricter(Term(one.rule, one.approver, one.text)) for one in consents]
        return tuple(sorted(terms, key=lambda term: term.name))

    def _wanted(self, question: Question, terms: tuple[Term, ...], arguments: Facts, keys: Keys) -> Approval:
        principal, target, situation = question.principal, question.target, question.situation
        now = int(self._clock())
        hop = principal.grants[0] if principal.grants else None
        return Approval(
            id=ApprovalId(secrets.token_hex(6)),
            organisation=principal.organisation,
            agent=principal.agent.id,
            subject=principal.subject,
            chain=tuple(actor.id for actor in principal.actors),
            grants=tuple(grant.id for grant in principal.grants),
            transaction=question.transaction,
            call=question.call.id,
            method=question.call.method,
            target=target.name,
            connector=target.connector,
            side_effect=target.side_effect,
            cost=target.price,
            arguments=arguments,
            terms=terms,
            policy=question.decision.policy,
            keys=keys,
            requested_at=now,
            expires_at=now + self._settings.pending_s,
            task=hop.task if hop else None,
            purpose=hop.purpose if hop else None,
            taint=tuple(sorted(situation.taint)),
            provenance={name: str(origin) for name, origin in situation.provenance.items()},
            trust=situation.trust,
        )

    def _keys(self, question: Question, terms: Sequence[Term], arguments: Facts) -> Keys:
        principal, target = question.principal, question.target
        who = [principal.organisation, principal.subject, [actor.id for actor in principal.actors]]
        what = [question.call.method, target.kind, target.name, target.connector, target.upstream_name]
        rules = [[t.rule, t.approver, t.four_eyes, t.not_owner] for t in terms]
        chain = [question.transaction]
        call: list[object] = [question.transaction, [grant.id for grant in principal.grants], arguments]
        if question.target.connector == OWN_CONNECTOR:
            # What was read so far is what somebody agrees to: another call, and it is asked anew.
            call.append(question.situation.counters.get("calls"))
        return Keys(
            call=self._key(Reach.CALL, who, what, rules, call),
            chain=self._key(Reach.CHAIN, who, what, rules, chain),
            agent=self._key(Reach.AGENT, who, what, rules),
        )

    def _key(self, reach: Reach, *parts: object) -> bytes:
        return bytes.fromhex(self._scribe.commitment({reach: parts})["hmac"])

    # what humans do

    async def approve(self, approval_id: ApprovalId, act: Act) -> Approval:
        """Agree to all of it that this human may agree to.

        Returns:
            The approval, still pending where somebody else has to agree too.

        Raises:
            UnknownTarget: there is no such approval.
            Denied: this human may not. InvalidRequest: it is decided already. Both are recorded.
        """
        use_s = self._settings.use_s

        def judge(before: Approval, owners: Collection[str], now: int) -> Verdict:
            return agree(before, act, self._people, owners, now=now, use_s=use_s)

        return await self._judge(approval_id, judge, Event.APPROVAL_GRANTED, act)

    async def deny(self, approval_id: ApprovalId, act: Act) -> Approval:
        """Say no; the reason is told to the agent.

        Raises:
            As `approve`.
        """
        use_s = self._settings.use_s

        def judge(before: Approval, _: Collection[str], now: int) -> Verdict:
            return deny(before, act, self._people, now=now, use_s=use_s)

        return await self._judge(approval_id, judge, Event.APPROVAL_DENIED, act)

    async def revoke(self, approval_id: ApprovalId, act: Act) -> Approval:
        """Take back what was agreed to: no call is opened on it after this.

        Raises:
            As `approve`.
        """

        def judge(before: Approval, _: Collection[str], now: int) -> Verdict:
            return revoke(before, act, self._people, now=now)

        return await self._judge(approval_id, judge, Event.APPROVAL_REVOKED, act)

    async def _judge(self, approval_id: ApprovalId, judge: Judge, event: Event, act: Act) -> Approval:
        def entry(before: Approval, verdict: Verdict) -> Entry:
            return approval_records.acted(before, verdict, event, act)

        verdict = await self._store.judge(approval_id, judge, entry)
        await self._tell(approval_id)
        if verdict.refusal is not None:
            raise verdict.refusal
        return verdict.after

    async def _tell(self, approval_id: ApprovalId) -> None:
        await self._signals.publish(TOPIC, {"approval": approval_id})

    async def shown(self, approval_id: ApprovalId) -> tuple[Approval, Json | None]:
        """An approval, and the final parameters while it is pending.

        Raises:
            UnknownTarget: there is no such approval.
        """
        approval = await self._store.approval(approval_id)
        if approval is None:
            raise unknown(approval_id)
        sealed = await self._store.sealed(approval_id)
        if sealed is None or self._clock() >= approval.expires_at:
            return approval, None
        return approval, json.loads(self._sealer.open(_purpose(approval_id), sealed)["params"])

    async def listed(self, states: Collection[State] = OPEN) -> list[Approval]:
        """All approvals in some states, oldest first; of those that are open none that has expired."""
        now = self._clock()
        found = await self._store.approvals(states)
        return [one for one in found if one.state not in OPEN or now < one.expires_at]

    async def lapse(self) -> int:
        """End what has expired; returns how many."""
        return await self._store.lapse(approval_records.expired, KEPT_S)


def _purpose(approval_id: ApprovalId) -> str:
    return f"approval {approval_id}"
