"""What is known of a call, and how does it read in the log?

A record says who, what, on which decision, for how much and with what outcome. Arguments and results are
not in it, only their length and a commitment to them, which tells nobody anything without its salt.
"""

import hmac
import json
import re
import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import orjson

from broker.approval_records import approval_facts
from broker.approvals.interface import Approval
from broker.arguments import UnreadableArgumentError, values
from broker.audit.interface import SYSTEM_LOG, Entry, Event, Facts, Outcome, Receipt
from broker.audit.payloads import MOST_PEOPLE, Identifier, Part, Payload
from broker.circumstances import looked_at
from broker.connector import Meter
from broker.errors import BrokerError, PendingApproval
from broker.flow.step import Seen
from broker.flow.transactions import Turn
from broker.guardrails.interface import FURTHER, Finding
from broker.guardrails.pseudonyms import Disguise
from broker.idempotency import Claim, Earlier
from broker.ledger.interface import Budget, Notice, Quote, Settlement, Unit
from broker.model import Answer, Argument, Call, Json, Principal, Situation, Target
from broker.observed import Observed
from broker.policy.interface import Decision

LONGEST_CLAIM = 128
"""Characters that are kept of what a caller says of itself."""

_ODD = re.compile(r"[^ -~]")

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
    situation: Situation = field(default_factory=Situation)
    """What it was judged on besides who asks for what."""
    decision: Decision | None = None
    approval: Approval | None = None
    """What humans have agreed to, where rules want that."""
    findings: list[Finding] = field(default_factory=list[Finding])
    disguise: Disguise | None = None
    """The pseudonyms that stand in it for what somebody is not shown."""
    quote: Quote | None = None
    settlement: Settlement | None = None
    dispatched: bool = False
    answer: Answer | None = None
    body: Json | None = None
    """Its result, once it may be handed out."""
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
    meter: Meter = field(default_factory=Meter)
    """What a model has used so far."""
    observed: Observed | None = None
    """What a request to a model shows of who makes it."""
    repeats: Earlier | None = None
    """The earlier call whose answer it gets instead of being made."""
    read_as: Hashable | None = None
    """What its answer is found again by, where it is a read that may be answered from memory."""
    claim: Claim | None = None
    """The idempotency key that it takes."""
    sealed: str | None = None
    """Its answer as it is kept for whoever sends the key again."""
    stopped: str | None = None
    """Why the broker itself ended it while it ran."""


class Scribe:
    """Turns what is known of a call into the facts of a record.

    Args:
        digest_key: keys the hashes of arguments and results.
    """

    def __init__(self, digest_key: bytes) -> None:
        self._mac = hmac.new(digest_key, digestmod="sha256")

    def denial(self, record: CallRecord, outcome: Outcome, error: BaseException) -> Entry:
        """The one record of a call that never left: refused, or cancelled while it waited."""
        facts = self._common(record)
        if record.params:
            facts["arguments"] = {"bytes": len(canonical(record.params))}
        facts["outcome"] = outcome
        if isinstance(error, BrokerError):
            facts["error"] = {"code": error.code, "because": [b.rule for b in error.because]}
        else:
            facts["error"] = {"code": str(outcome), "because": []}
        if isinstance(error, PendingApproval):
            facts["approval"] = error.approval["id"]
        return _entry(record, Event.CALL_DENIED, facts)

    def intent(self, record: CallRecord) -> Entry:
        """What is about to be done. Whoever appends it adds the commitment to its arguments (`sent`)."""
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
        if record.observed:
            facts["observed"] = asdict(record.observed)
            if record.quote and record.quote.bound:
                facts["observed"]["max_tokens"] = record.quote.bound.wrote
        if record.approval:
            facts["approval"] = record.approval.id
            # The commitment that is added later has a salt of its own and is equal to no other.
            facts["approved"] = self.commitment(record.params)
        if record.repeats:
            facts["refs"] = {"call": record.repeats.call, "why": record.repeats.why}
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
        """How it ended. Whoever appends it adds the commitment to its result (`released`)."""
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
        facts |= _answered(record)
        if record.redacted or record.withheld:
            facts["redacted"] = {"values": record.redacted, "withheld": record.withheld}
        facts |= _findings([f for f in record.findings if f.stage in ("result", "completion")])
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
        if claims := _claims(call):
            facts["claims"] = claims
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
        if record.decision:
            facts["decision"] = _decision(record.decision)
            if principal and record.target:
                hidden = record.disguise.restored if record.disguise else ()
                situation = looked_at(principal, record.target, record.params, record.situation, hidden)
                facts["decision"]["situation"] = situation
        return facts | _findings(record.findings)

    def commitment(self, content: Mapping[str, object]) -> Facts:
        """Length and keyed hash of what was passed on: equal values can be recognised, none can be read."""
        data = canonical(content)
        return {"bytes": len(data), "hmac": self.digest(data)}

    def digest(self, data: bytes) -> str:
        """HMAC-SHA-256 under the deployment's key, in hex."""
        # Not `hmac.digest`: that lets go of the interpreter lock, which costs more than the hash.
        mac = self._mac.copy()
        mac.update(data)
        return mac.hexdigest()


def _answered(record: CallRecord) -> Facts:
    """What is said of an answer besides the commitment. One that nobody got has none."""
    facts: Facts = {}
    if record.answer and record.answer.is_question:
        facts["question"] = True
    if record.answer and record.body is None:
        facts["result"] = {"bytes": len(canonical(record.answer.body))}
    return facts


def canonical(content: Mapping[str, object]) -> bytes:
    """The bytes of a content that are committed to: its JSON with sorted keys."""
    try:
        return orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # integers beyond 64 bits, lone surrogates: JSON all the same
        return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def sent(record: CallRecord) -> Payload | None:
    """The arguments of a call as they are sent on, with the people whom they are about."""
    if not record.params:
        return None
    people, complete = _people(record)
    return Payload(Part.ARGUMENTS, canonical(record.params), people, complete)


def released(record: CallRecord) -> Payload | None:
    """The result of a call as it is handed out, with the people whom it and its arguments are about."""
    if record.body is None:
        return None
    people, complete = _people(record)
    return Payload(Part.RESULT, canonical(record.body), people, complete)


def _people(record: CallRecord) -> tuple[tuple[Identifier, ...], bool]:
    """Who is named by declared arguments and by what guards have found, and whether that is everybody."""
    found: dict[Identifier, None] = {}
    for argument in record.target.arguments if record.target else ():
        if argument.subject:
            found |= dict.fromkeys(Identifier(str(value)) for value in _readable(argument, record.params))
    found |= dict.fromkeys(Identifier(handle=f.person) for f in record.findings if f.person)
    unnamed = any(f.type == FURTHER or (f.person and f.via) for f in record.findings)
    return tuple(found)[:MOST_PEOPLE], len(found) <= MOST_PEOPLE and not unnamed


def _readable(argument: Argument, params: Json) -> tuple[object, ...]:
    try:
        return values(argument, params)
    except UnreadableArgumentError:  # rules have seen that too; here it names nobody
        return ()


def _decision(decision: Decision) -> Facts:
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


def _claims(call: Call) -> Facts:
    """What the caller says of itself and nobody has verified: short, and in characters that do nothing."""
    said = (("client", call.claimed_client), ("instance", call.claimed_instance))
    return {name: _ODD.sub("?", text[:LONGEST_CLAIM]) for name, text in said if text is not None}


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
