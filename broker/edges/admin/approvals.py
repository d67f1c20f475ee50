"""What can operators do about calls that wait for a human? See them, agree, say no, take it back."""

import json
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from broker.approvals.interface import OPEN, Approval, ApprovalId, Reach, State
from broker.approvals.judgement import Act
from broker.approvals.people import Human
from broker.consents import Consents
from broker.edges.admin.cursors import Cursors
from broker.edges.admin.operation import AnyOperation, Asked, Operation
from broker.edges.admin.shapes import (
    Line,
    Name,
    NoQuery,
    Nothing,
    Page,
    PagedQuery,
    Shape,
    Time,
    Whole,
    time_of,
)
from broker.identity.operators import Right
from broker.identity.seals import Sealer
from broker.model import Clock

LONGEST_S = 366 * 86_400


class TermFacts(Shape):
    """What one rule asks for."""

    rule: str
    text: str
    approver: str = Field(description="the role that is asked")
    people: int = Field(description="how many different people have to agree")
    not_owner: bool = Field(description="nobody who owns an agent of the chain may")
    agreed: list[str]


class ApprovalFacts(Shape):
    """One question to a human, and how it stands."""

    approval: str
    state: State
    reach: Reach = Field(description="which calls it is good for")
    organisation: str
    agent: str
    subject: str
    chain: list[str] = Field(description="all actors, newest first")
    grants: list[str]
    transaction: str
    call: str = Field(description="the call that asked first")
    method: str
    target: str
    connector: str
    side_effect: str
    cost_micro_usd: int = Field(description="the worst case of one call")
    task: str | None
    purpose: str | None
    taint: list[str] = Field(description="labels of what the transaction has read")
    provenance: dict[str, str] = Field(description="where arguments were first seen, by name")
    trust: int
    terms: list[TermFacts]
    arguments_hmac: str = Field(description="keyed hash of the final arguments, as the log has it")
    requested_at: Time
    expires_at: Time = Field(description="when the present state ends")
    decided_by: str | None = Field(description="who denied it or took it back")
    reason: str


class FinalArguments(Shape):
    """What will be sent."""

    approval: str
    params: str | None = Field(
        description="the final parameters as JSON text: many programs read large numbers in JSON wrongly;"
        " null: it is pending no more"
    )


class Agreement(Shape):
    """To what somebody agrees."""

    reach: Literal["call", "chain", "agent"] = Field(
        default="call",
        description="`call`: this one; `chain`: of this chain to this target in this transaction;"
        " `agent`: of this chain to this target in any transaction",
    )
    holds_s: Whole | None = Field(
        default=None,
        ge=1,
        le=LONGEST_S,
        description="for how long, in seconds; needed for, and only for, what reaches further than one call",
    )
    reason: Line = Field(default="", description="goes into the log")


class Objection(Shape):
    """Why somebody says no or takes it back."""

    reason: Line = Field(default="", description="goes into the log, and with a denial to the agent")


class ApprovalsQuery(PagedQuery):
    """Which approvals."""

    agent: Name | None = Field(default=None, description="only what this agent has asked for")
    open: Literal["yes", "all"] = Field(default="yes", description="`all` lists what is over, too")


class Approvals:
    """Calls that wait for a human, to operators. Whether somebody may decide on one of them, its terms say.

    Args:
        consents: asks and writes down.
        sealer: seals cursors.
        clock: Unix time in seconds.
    """

    def __init__(self, consents: Consents, sealer: Sealer, clock: Clock) -> None:
        self._consents = consents
        self._pages = Cursors(sealer, "approvals")
        self._clock = clock

    def operations(self) -> Sequence[AnyOperation]:
        """All that can be asked."""
        one, may = "/approvals/{approval}", Right.APPROVALS
        return [
            Operation("GET", "/approvals", Right.READ, self.list, Page[ApprovalFacts], query=ApprovalsQuery),
            Operation("GET", one, Right.READ, self.show, ApprovalFacts),
            Operation("GET", f"{one}/arguments", may, self.arguments, FinalArguments),
            Operation("POST", f"{one}/approve", may, self.approve, ApprovalFacts, body=Agreement),
            Operation("POST", f"{one}/deny", may, self.deny, ApprovalFacts, body=Objection),
            Operation("POST", f"{one}/revoke", may, self.revoke, ApprovalFacts, body=Objection),
        ]

    async def list(self, asked: Asked[ApprovalsQuery, Nothing]) -> Page[ApprovalFacts]:
        """What waits for an answer and what was agreed to and still holds, oldest first."""
        query, at = asked.query, self._pages.read(asked)
        begin = None if at is None else (at["requested_at"], at["id"])
        found = await self._consents.listed(OPEN if query.open == "yes" else tuple(State))
        places = sorted((one.requested_at, one.id) for one in found)
        mine = {one.id: one for one in found if query.agent in {None, one.agent}}
        rest = [place for place in places if place[1] in mine and (begin is None or place > begin)]
        shown = rest[: query.limit]
        end = {"requested_at": shown[-1][0], "id": shown[-1][1]} if len(rest) > query.limit else None
        return Page(
            items=[_facts(mine[name]) for _, name in shown],
            next=None if end is None else self._pages.make(asked, end),
        )

    async def show(self, asked: Asked[NoQuery, Nothing]) -> ApprovalFacts:
        """One approval: who wants to do what, for whom, and why it is asked."""
        approval, _ = await self._consents.shown(_named(asked))
        return _facts(approval)

    async def arguments(self, asked: Asked[NoQuery, Nothing]) -> FinalArguments:
        """The arguments as they will be sent, while an answer is pending."""
        approval, params = await self._consents.shown(_named(asked))
        return FinalArguments(approval=approval.id, params=None if params is None else json.dumps(params))

    async def approve(self, asked: Asked[NoQuery, Agreement]) -> ApprovalFacts:
        """Agree: to this one call, or to more for a while. A call that waits goes on at once."""
        said = asked.body
        until = None if said.holds_s is None else int(self._clock()) + said.holds_s
        act = Act(_human(asked), Reach(said.reach), until, said.reason)
        return _facts(await self._consents.approve(_named(asked), act))

    async def deny(self, asked: Asked[NoQuery, Objection]) -> ApprovalFacts:
        """Say no. The agent is told why, and nobody is asked about the same call for a while."""
        act = Act(_human(asked), reason=asked.body.reason)
        return _facts(await self._consents.deny(_named(asked), act))

    async def revoke(self, asked: Asked[NoQuery, Objection]) -> ApprovalFacts:
        """Take back what was agreed to, or withdraw the question: no call begins on it any more."""
        act = Act(_human(asked), reason=asked.body.reason)
        return _facts(await self._consents.revoke(_named(asked), act))


def _named(asked: Asked[NoQuery, Shape]) -> ApprovalId:
    return ApprovalId(asked.path["approval"])


def _human(asked: Asked[NoQuery, Shape]) -> Human:
    return Human(asked.operator.by)


def _facts(approval: Approval) -> ApprovalFacts:
    return ApprovalFacts(
        approval=approval.id,
        state=approval.state,
        reach=approval.reach,
        organisation=approval.organisation,
        agent=approval.agent,
        subject=approval.subject,
        chain=list(approval.chain),
        grants=list(approval.grants),
        transaction=approval.transaction,
        call=approval.call,
        method=approval.method,
        target=approval.target,
        connector=approval.connector,
        side_effect=approval.side_effect,
        cost_micro_usd=approval.cost,
        task=approval.task,
        purpose=approval.purpose,
        taint=list(approval.taint),
        provenance=dict(approval.provenance),
        trust=approval.trust,
        terms=[
            TermFacts(
                rule=term.rule,
                text=term.text,
                approver=term.approver,
                people=term.people,
                not_owner=term.not_owner,
                agreed=sorted(approval.agreed(term)),
            )
            for term in approval.terms
        ],
        arguments_hmac=approval.arguments["hmac"],
        requested_at=time_of(approval.requested_at),
        expires_at=time_of(approval.expires_at),
        decided_by=approval.decided_by,
        reason=approval.reason,
    )
