"""What is known of a call, and how does it read in the log?

A record says who, what, on which decision, for how much and with what outcome. Arguments and results are
not in it, only their length and keyed hash: equal values can be recognised, none can be read.
"""

import hmac
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import orjson

from broker.approvals.interface import Approval
from broker.audit.interface import SYSTEM_LOG, Entry, Event, Facts, Outcome, Receipt
from broker.errors import BrokerError, PendingApproval
from broker.flow.step import Seen
from broker.flow.transactions import Turn
from broker.guardrails.interface import Finding
from broker.ledger.interface import Budget, Notice, Quote, Settlement, Unit
from broker.model import Answer, Call, Json, Principal, Situation, Target
from broker.policy.interface import Decision

FINDINGS = 50
"""How many findings a record lists; it counts the rest, so that content cannot make it too large to keep."""


@dataclass(slots=True)
class CallRecord:
    """All that has been learnt about a call so far. Filled step by step, recorded whatever happens."""

    call: Call
    started: float
    principal: Principal | None = None
    target: Target | None = None
    params: Json = field(default_factory=dict[str, object])
    turn: Turn | None = None
    """Its turn in its transaction: what it is judged on, and what it adds."""
    seen: Seen | None = None
    """What its result has shown to its transaction."""
    decision: Decision | None = None
    approval: Approval | None = None
    """What humans have agreed to, where rules want that."""
    findings: list[Finding] = field(default_factory=list[Finding])
    quote: Quote | None = None
    settlement: Settlement | None = None
    dispatched: bool = False
    answer: Answer | None = None
    intent: Receipt | None = None
    receipt: Receipt | None = None
    parent: str | None = None
    """The verified call that this one was made for."""
    root: str | None = None
    """The call at the top of its tree; None: itself."""
    redacted: int = 0
    """How many values were taken out of the result because a rule asks for it."""
    withheld: int = 0
    """How many parts of the result were withheld because of that."""
    notices: tuple[Notice, ...] = ()
    """What is to be told of the budgets above it."""
    stopped: str | None = None
    """Why the broker itself ended it while it ran."""


class Scribe:
    """Turns what is known of a call into the facts of a record.

    Args:
        digest_key: keys the hashes of arguments and results.
    """

    def __init__(self, digest_key: bytes) -> None:
        self._mac = hmac.new(digest_key, digestmod="sha256")

    def denial(self, record: CallRecord, outcome: Outcome, error: BrokerError) -> Entry:
        """The one record of a call that never left."""
        facts = self._common(record)
        facts["outcome"] = outcome
        facts["error"] = {"code": error.code, "because": [b.rule for b in error.because]}
        if isinstance(error, PendingApproval):
            facts["approval"] = error.approval["id"]
        return _entry(record, Event.CALL_DENIED, facts)

    def intent(self, record: CallRecord) -> Entry:
        """What is about to be done."""
        facts = self._common(record)
        if record.quote:
            spend: Facts = {
                "held": record.quote.amount,
                "price": record.quote.price,
                "budgets": [_budget(b) for b in record.quote.budgets],
            }
            if any(b.unit is Unit.TOKENS for b in record.quote.budgets):
                spend["tokens"] = record.quote.tokens
            facts["spend"] = spend
        if record.approval:
            facts["approval"] = record.approval.id
        return _entry(record, Event.CALL_INTENT, facts)

    def used(self, record: CallRecord, approval: Approval) -> Entry:
        """That a call is made on what humans have agreed to."""
        facts = approval_facts(approval) | {
            "reach": approval.reach,
            "used_by": record.call.id,
            "arguments": self.commitment(record.params),
        }
        return Entry(approval.organisation, Event.APPROVAL_USED, facts, agent=approval.agent)

    def terminal(self, record: CallRecord, outcome: Outcome, settlement: Settlement) -> Entry:
        """How it ended."""
        facts: Facts = {
            "outcome": outcome,
            "cost": settlement.amount,
            "duration_us": int((time.monotonic() - record.started) * 1_000_000),
        }
        if record.stopped and outcome is Outcome.CANCELLED:
            facts["reason"] = record.stopped
        if settlement.estimated:
            facts["estimated"] = True
        if not settlement.calls:
            facts["calls"] = 0
        if settlement.tokens is not None and settlement.calls and record.quote and record.quote.tokens:
            facts["tokens"] = settlement.tokens
        if waited := max((n.wait_ms for n in record.notices), default=0):
            facts["held_back_ms"] = waited
        if record.answer:
            if record.answer.is_question:
                facts["question"] = True
            facts["result"] = self.commitment(record.answer.body)
        if record.redacted or record.withheld:
            facts["redacted"] = {"values": record.redacted, "withheld": record.withheld}
        facts |= _findings([f for f in record.findings if f.stage == "result"])
        if record.intent:
            facts["intent"] = record.intent.index
        return _entry(record, Event.CALL_OUTCOME, facts)

    def _common(self, record: CallRecord) -> Facts:
        call, principal = record.call, record.principal
        name = record.target.name if record.target else call.name[:200]
        what: Facts = {"method": call.method, "name": name}
        if record.target:
            what |= {
                "kind": record.target.kind,
                "connector": record.target.connector,
                "side_effect": record.target.side_effect,
            }
        facts: Facts = {"what": what}
        if principal:
            actor: Facts = {
                "agent": principal.agent.id,
                "subject": principal.subject,
                "chain": [actor.id for actor in principal.actors],
                "token": principal.token_id,
            }
            if principal.grants:
                actor["grants"] = [grant.id for grant in principal.grants]
            facts["actor"] = actor
            facts["cause"] = _cause(record, principal)
        if record.params:
            facts["arguments"] = self.commitment(record.params)
        if record.decision:
            facts["decision"] = _decision(record.decision, record.turn)
        return facts | _findings(record.findings)

    def commitment(self, content: Mapping[str, object]) -> Facts:
        """Length and keyed hash of what was passed on: equal values can be recognised, none can be read."""
        try:
            data = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
        except TypeError:  # integers beyond 64 bits, lone surrogates: JSON all the same
            data = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
        return {"bytes": len(data), "hmac": self.digest(data)}

    def digest(self, data: bytes) -> str:
        """HMAC-SHA-256 under the deployment's key, in hex."""
        # Not `hmac.digest`: that lets go of the interpreter lock, which costs more than the hash.
        mac = self._mac.copy()
        mac.update(data)
        return mac.hexdigest()


def approval_facts(approval: Approval) -> Facts:
    """What an approval is about, the same in every record of it."""
    return {
        "approval": approval.id,
        "actor": {
            "agent": approval.agent,
            "subject": approval.subject,
            "chain": list(approval.chain),
            "grants": list(approval.grants),
        },
        "cause": {"task": approval.transaction},
        "what": {"method": approval.method, "name": approval.target, "connector": approval.connector},
        "arguments": approval.arguments,
        "rules": [term.rule for term in approval.terms],
    }


def _decision(decision: Decision, turn: Turn | None) -> Facts:
    """The verdict, and what there is besides: terms, who would have to agree, what shadow rules change."""
    facts: Facts = {
        "permitted": decision.permitted,
        "rules": [b.rule for b in decision.because],
        "policy": decision.policy,
    }
    terms = decision.obligations
    if terms.max_cost is not None:
        facts["max_cost"] = terms.max_cost
    if terms.redact:
        facts["redact"] = sorted(terms.redact)
    if terms.watermark:
        facts["watermark"] = True
    if decision.consents:
        facts["consents"] = [{"rule": c.rule, "approver": c.approver} for c in decision.consents]
    if decision.shadow:
        rules = [b.rule for b in decision.shadow.because]
        facts["shadow"] = {"permitted": decision.shadow.permitted, "rules": rules}
    if turn is not None:
        facts["situation"] = _situation(turn.situation)
    return facts


def _budget(budget: Budget) -> Facts:
    """A budget as the verifiers read it: the account is made of scope, window and unit."""
    facts: Facts = {"scope": budget.scope, "cap": budget.cap}
    if budget.window:
        facts["window"] = budget.window
    if budget.unit is not Unit.USD:
        facts["unit"] = budget.unit
    if budget.parts > 1:
        facts["parts"] = budget.parts
    return facts


def _entry(record: CallRecord, event: Event, facts: Facts) -> Entry:
    principal = record.principal
    log = principal.organisation if principal else SYSTEM_LOG
    return Entry(log, event, facts, record.call.id, principal.agent.id if principal else None)


def _cause(record: CallRecord, principal: Principal) -> Facts:
    """Why the call was made: what is verified, and apart from it what the caller only claims."""
    call = record.call
    cause: Facts = {"root": record.root or call.id, "task": principal.transaction}
    if record.parent:
        cause["parent"] = record.parent
    if call.claimed_parent and call.claimed_parent != record.parent:
        cause["claimed_parent"] = call.claimed_parent[:64]
    if call.traceparent:
        cause["trace"] = call.traceparent[:64]
    return cause


def _situation(situation: Situation) -> Facts:
    """What was known of the transaction when the call was judged, so that it can be judged again."""
    facts: Facts = {"counters": dict(situation.counters)}
    if situation.taint:
        facts["taint"] = sorted(situation.taint)
    if situation.provenance:
        facts["provenance"] = dict(situation.provenance)
    return facts


def _findings(findings: Sequence[Finding]) -> Facts:
    if not findings:
        return {}
    facts: Facts = {"findings": [_finding_facts(f) for f in findings[:FINDINGS]]}
    if len(findings) > FINDINGS:
        facts["further_findings"] = len(findings) - FINDINGS
    return facts


def _finding_facts(finding: Finding) -> Facts:
    facts: Facts = {
        "guard": finding.guard,
        "stage": finding.stage,
        "type": finding.type,
        "action": finding.action,
        "place": finding.place[:100],
        "length": finding.length,
        "digest": finding.digest,
    }
    if finding.would:
        facts["would"] = finding.would
    if finding.via:
        facts["via"] = finding.via
    return facts
