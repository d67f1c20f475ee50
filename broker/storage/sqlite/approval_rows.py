"""How does an approval lie in a row? What is looked for in columns, the rest as JSON."""

from collections.abc import Sequence
from typing import Any

import orjson

from broker.approvals.interface import Approval, ApprovalId, Keys, Reach, State, Term, Vote
from broker.model import AgentId, CallId, GrantId, MicroUSD, OrganisationId

COLUMNS = "id, agent, state, reach, expires_at, for_call, for_chain, for_agent, facts"


def row_of(approval: Approval) -> tuple[int | str | bytes, ...]:
    """An approval as a row of `COLUMNS`."""
    keys = approval.keys
    return (
        approval.id,
        approval.agent,
        approval.state.value,
        approval.reach.value,
        approval.expires_at,
        keys.call,
        keys.chain,
        keys.agent,
        orjson.dumps(_facts(approval)).decode(),
    )


def approval_of(row: Sequence[Any]) -> Approval:
    """The approval of a row of `COLUMNS`."""
    facts: dict[str, Any] = orjson.loads(row[8])
    return Approval(
        id=ApprovalId(row[0]),
        agent=AgentId(row[1]),
        state=State(row[2]),
        reach=Reach(row[3]),
        expires_at=row[4],
        keys=Keys(row[5], row[6], row[7]),
        organisation=OrganisationId(facts["organisation"]),
        subject=AgentId(facts["subject"]),
        chain=tuple([AgentId(actor) for actor in facts["chain"]]),
        grants=tuple([GrantId(grant) for grant in facts["grants"]]),
        transaction=facts["transaction"],
        call=CallId(facts["call"]),
        method=facts["method"],
        target=facts["target"],
        connector=facts["connector"],
        side_effect=facts["side_effect"],
        cost=MicroUSD(facts["cost"]),
        arguments=facts["arguments"],
        terms=tuple([Term(**term) for term in facts["terms"]]),
        policy=facts["policy"],
        requested_at=facts["requested_at"],
        task=facts["task"],
        purpose=facts["purpose"],
        taint=tuple(facts["taint"]),
        provenance=facts["provenance"],
        trust=facts["trust"],
        votes=tuple([_vote(**vote) for vote in facts["votes"]]),
        decided_by=facts["decided_by"],
        reason=facts["reason"],
    )


def _facts(approval: Approval) -> dict[str, Any]:
    return {
        "organisation": approval.organisation,
        "subject": approval.subject,
        "chain": approval.chain,
        "grants": approval.grants,
        "transaction": approval.transaction,
        "call": approval.call,
        "method": approval.method,
        "target": approval.target,
        "connector": approval.connector,
        "side_effect": approval.side_effect,
        "cost": approval.cost,
        "arguments": approval.arguments,
        "terms": approval.terms,
        "policy": approval.policy,
        "requested_at": approval.requested_at,
        "task": approval.task,
        "purpose": approval.purpose,
        "taint": approval.taint,
        "provenance": approval.provenance,
        "trust": approval.trust,
        "votes": approval.votes,
        "decided_by": approval.decided_by,
        "reason": approval.reason,
    }


def _vote(*, terms: list[str], reach: str, **rest: Any) -> Vote:
    return Vote(terms=tuple(terms), reach=Reach(reach), **rest)
