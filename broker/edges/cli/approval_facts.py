"""How does an approval read? On one line, as data, and in full for whoever decides."""

import json
from datetime import UTC, datetime

from broker.approvals.interface import Approval, Reach, State, Term
from broker.edges.cli.ink import visible
from broker.edges.cli.output import dollars
from broker.model import Json

COLUMNS = ("approval", "state", "agent", "target", "rules", "asked of", "ends in")
_REACHES = {
    Reach.CALL: "this one call",
    Reach.CHAIN: "every call of this chain to this target in this transaction",
    Reach.AGENT: "every call of this chain to this target",
}


def row(approval: Approval, now: float) -> dict[str, object]:
    """One approval on one line."""
    return {
        "approval": approval.id,
        "state": standing(approval),
        "agent": " ← ".join(approval.chain),
        "target": approval.target,
        "rules": [term.rule for term in approval.terms],
        "asked of": sorted({term.approver for term in approval.missing or approval.terms}),
        "ends in": _left(approval.expires_at - int(now)),
    }


def facts(approval: Approval) -> dict[str, object]:
    """One approval as data."""
    return {
        "approval": approval.id,
        "state": approval.state,
        "organisation": approval.organisation,
        "agent": approval.agent,
        "subject": approval.subject,
        "chain": list(approval.chain),
        "grants": list(approval.grants),
        "transaction": approval.transaction,
        "call": approval.call,
        "method": approval.method,
        "target": approval.target,
        "connector": approval.connector,
        "side_effect": approval.side_effect,
        "cost_micro_usd": approval.cost,
        "task": approval.task,
        "purpose": approval.purpose,
        "taint": list(approval.taint),
        "provenance": dict(approval.provenance),
        "trust": approval.trust,
        "terms": [
            {
                "rule": term.rule,
                "text": term.text,
                "approver": term.approver,
                "people": term.people,
                "not_owner": term.not_owner,
                "agreed": sorted(approval.agreed(term)),
            }
            for term in approval.terms
        ],
        "reach": approval.reach,
        "arguments": approval.arguments,
        "requested_at": _time(approval.requested_at),
        "expires_at": _time(approval.expires_at),
        "decided_by": approval.decided_by,
        "reason": approval.reason,
    }


def story(approval: Approval, params: Json | None) -> str:
    """One approval in full, with the arguments as they will be sent."""
    lines = [
        ("approval", f"{approval.id}  {standing(approval)}"),
        (
            "asks",
            f"{approval.method} {approval.target}  (connector {approval.connector}, {approval.side_effect})",
        ),
        ("who", f"{approval.agent}  (chain {' ← '.join(approval.chain)})"),
    ]
    if approval.task or approval.purpose:
        lines.append(("task", " · ".join(filter(None, [approval.task, approval.purpose]))))
    for term in approval.terms:
        lines.append(("rule", f"{term.rule}{f': {term.text}' if term.text else ''}"))
        lines.append(("", f"asked of {_asked(approval, term)}"))
    lines.append(("read", ", ".join(approval.taint) or "nothing that is labelled"))
    lines += [("argument", f"{name} first seen: {origin}") for name, origin in approval.provenance.items()]
    lines.append(("trust", str(approval.trust)))
    lines.append(("cost", f"at most {dollars(approval.cost)}"))
    lines.append(("ends", _time(approval.expires_at)))
    if approval.decided_by:
        lines.append(
            ("decided", f"by {approval.decided_by}{f': {approval.reason}' if approval.reason else ''}")
        )
    told = [f"{what:9} {visible(text).replace(chr(10), ' ')}" for what, text in lines]
    told += ["", *_sent(approval, params)]
    return "\n".join(told)


def standing(approval: Approval) -> str:
    """How it stands, in words."""
    match approval.state:
        case State.PENDING if approval.votes:
            return "pending: somebody else has to agree too"
        case State.APPROVED:
            return f"approved for {_REACHES[approval.reach]}"
        case _:
            return str(approval.state)


def _sent(approval: Approval, params: Json | None) -> list[str]:
    if params is None:
        size = approval.arguments["bytes"]
        return [f"the arguments ({size} bytes) are kept only while an answer is pending"]
    shown = json.dumps(params, indent=2, ensure_ascii=False)
    return ["what will be sent:", *[visible(line) for line in shown.splitlines()]]


def _asked(approval: Approval, term: Term) -> str:
    two = ", two people" if term.four_eyes else ""
    other = ", not who owns an agent of the chain" if term.not_owner else ""
    agreed = ", ".join(sorted(approval.agreed(term)))
    return f"{term.approver}{two}{other}" + (f"; agreed: {agreed}" if agreed else "")


def _left(seconds: int) -> str:
    minutes, rest = divmod(max(seconds, 0), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _time(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()
