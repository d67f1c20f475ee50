"""What can operators do with delegations? See who acts for whom, and end it from any hop down."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from broker.edges.admin.cursors import Cursors
from broker.edges.admin.operation import AnyOperation, Asked, Operation
from broker.edges.admin.shapes import (
    Because,
    Name,
    NoQuery,
    Nothing,
    Page,
    PagedQuery,
    Shape,
    Time,
    time_of,
    time_or_none,
)
from broker.errors import UnknownTarget
from broker.grants import GrantFilter, GrantKeeper, Grants
from broker.identity.operators import Right
from broker.identity.seals import Sealer
from broker.model import AgentId, Clock, Grant, GrantId, OrganisationId


class Limit(Shape):
    """One thing that a hop leaves open."""

    match: str = Field(description="names of targets; * stands for any text")
    arguments: dict[str, dict[str, Any]] = Field(description="conditions on arguments, by name")


class GrantFacts(Shape):
    """One hop of a delegation: `by` lets `to` act within part of its own authority."""

    id: str
    parent: str | None
    organisation: str
    subject: str
    by: str
    to: str
    depth: int
    max_depth: int
    transaction: str
    task: str | None
    purpose: str | None
    call: str | None = Field(description="the open call that it serves; it ends with it")
    limits: list[Limit] | None = Field(description="null: no limits of its own")
    cap_micro_usd: int | None
    max_calls: int | None
    created_at: Time
    expires_at: Time
    revoked_at: Time | None
    stands: bool = Field(
        description="neither revoked nor expired; hops and agents above may still have fallen"
    )


class GrantTree(Shape):
    """A hop with those it follows from and those that follow from it."""

    above: list[GrantFacts] = Field(description="from the first hop down to the one right above")
    grant: GrantFacts
    below: list[GrantFacts] = Field(description="all that follow, by depth; `parent` puts them together")


class RevokedGrants(Shape):
    """What a revocation has ended."""

    grant: str
    revoked: int = Field(description="how many hops stood until now, this one included")


class GrantsQuery(PagedQuery):
    """Which hops."""

    agent: Name | None = Field(default=None, description="only hops by or to this agent")
    organisation: Name | None = Field(default=None, description="only hops of this organisation")
    standing: Literal["yes", "all"] = Field(default="yes", description="`all` lists what has ended, too")


class GrantTrees:
    """Delegations, to operators.

    Args:
        store: what there is.
        grants: revokes, and records it.
        sealer: seals cursors.
        clock: Unix time in seconds.
    """

    def __init__(self, store: GrantKeeper, grants: Grants, sealer: Sealer, clock: Clock) -> None:
        self._store = store
        self._grants = grants
        self._pages = Cursors(sealer, "grants")
        self._clock = clock

    def operations(self) -> Sequence[AnyOperation]:
        """All that can be asked."""
        one = "/grants/{grant}"
        return [
            Operation("GET", "/grants", Right.READ, self.list, Page[GrantFacts], query=GrantsQuery),
            Operation("GET", one, Right.READ, self.show, GrantTree),
            Operation("POST", f"{one}/revoke", Right.AGENTS, self.revoke, RevokedGrants, body=Because),
        ]

    async def list(self, asked: Asked[GrantsQuery, Nothing]) -> Page[GrantFacts]:
        """Hops of delegations, newest first."""
        query, at = asked.query, self._pages.read(asked)
        where = GrantFilter(
            agent=None if query.agent is None else AgentId(query.agent),
            organisation=None if query.organisation is None else OrganisationId(query.organisation),
            standing_at=int(self._clock()) if query.standing == "yes" else None,
            before=None if at is None else (at["created_at"], GrantId(at["id"])),
            limit=query.limit + 1,
        )
        found = list(await self._store.find(where))
        shown = found[: query.limit]
        end = {"created_at": shown[-1].created_at, "id": shown[-1].id} if len(found) > query.limit else None
        return Page(
            items=[self._facts(grant) for grant in shown],
            next=None if end is None else self._pages.make(asked, end),
        )

    async def show(self, asked: Asked[NoQuery, Nothing]) -> GrantTree:
        """A hop, the hops above it, and the whole tree below it."""
        chain = await self._store.chain(GrantId(asked.path["grant"]))
        if not chain:
            raise UnknownTarget(
                f"there is no delegation `{asked.path['grant']}`", hint="GET /admin/api/grants lists all"
            )
        grant, *above = chain
        below = [hop for hop in await self._store.subtree(grant.id) if hop.id != grant.id]
        return GrantTree(
            above=[self._facts(hop) for hop in reversed(above)],
            grant=self._facts(grant),
            below=[self._facts(hop) for hop in below],
        )

    async def revoke(self, asked: Asked[NoQuery, Because]) -> RevokedGrants:
        """End a hop and everything below it: the next call is refused, calls in flight are cancelled."""
        grant = GrantId(asked.path["grant"])
        ended = await self._grants.revoke(grant, by=asked.operator.by, reason=asked.body.reason)
        return RevokedGrants(grant=grant, revoked=ended)

    def _facts(self, grant: Grant) -> GrantFacts:
        limits = grant.limits
        return GrantFacts(
            id=grant.id,
            parent=grant.parent,
            organisation=grant.organisation,
            subject=grant.subject,
            by=grant.by,
            to=grant.to,
            depth=grant.depth,
            max_depth=grant.max_depth,
            transaction=grant.transaction,
            task=grant.task,
            purpose=grant.purpose,
            call=grant.call,
            limits=None
            if limits is None
            else [Limit(match=one.match, arguments=dict(one.arguments)) for one in limits],
            cap_micro_usd=grant.cap_micro_usd,
            max_calls=grant.max_calls,
            created_at=time_of(grant.created_at),
            expires_at=time_of(grant.expires_at),
            revoked_at=time_or_none(grant.revoked_at),
            stands=grant.revoked_at is None and self._clock() < grant.expires_at,
        )
