"""How do approvals read in the log? Each record says what it is about, and what became of it."""

from broker.approvals.interface import Approval
from broker.approvals.judgement import MOST_REASON_CHARS, Act, Verdict
from broker.audit.interface import Entry, Event, Facts


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


def asked(wanted: Approval) -> Entry:
    """A human is asked, and under which circumstances."""
    approvers = [
        {
            "rule": term.rule,
            "approver": term.approver,
            "people": term.people,
            "not_owner": term.not_owner,
        }
        for term in wanted.terms
    ]
    facts: Facts = {
        "asked_by": wanted.call,
        "approvers": approvers,
        "policy": wanted.policy,
        "taint": list(wanted.taint),
        "provenance": [list(pair) for pair in sorted(wanted.provenance.items())],
        "trust": wanted.trust,
        "cost": wanted.cost,
        "expires_at": wanted.expires_at,
    }
    return _entry(wanted, Event.APPROVAL_REQUESTED, facts)


def acted(before: Approval, verdict: Verdict, event: Event, act: Act) -> Entry:
    """A human has acted; `event` is what they meant to do, refused or not."""
    facts: Facts = {"by": act.by.id, "reason": act.reason[:MOST_REASON_CHARS]}
    if verdict.refusal is not None:
        tried = event.partition(".")[2]
        return _entry(
            before, Event.APPROVAL_REFUSED, facts | {"tried": tried, "because": verdict.refusal.message}
        )
    if event is Event.APPROVAL_GRANTED:
        after = verdict.after
        facts |= {
            "agreed": [term.rule for term in verdict.agreed],
            "missing": [term.rule for term in after.missing],
            "reach": act.reach,
            "until": act.until,
            "expires_at": after.expires_at,
        }
    return _entry(before, event, facts)


def expired(approval: Approval) -> Entry:
    """Nobody has answered in time, or nobody has made the call."""
    return _entry(approval, Event.APPROVAL_EXPIRED, {"was": approval.state})


def _entry(approval: Approval, event: Event, facts: Facts) -> Entry:
    return Entry(approval.organisation, event, approval_facts(approval) | facts, agent=approval.agent)
