"""What must be durable together when authority is handed on or taken back: the grant and its record."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from broker.audit.interface import Entry, Event, Facts
from broker.identity.delegation import Delegations, Wish
from broker.identity.interface import GrantStore
from broker.identity.tokens import IssuedToken
from broker.model import AgentId, Call, Grant, GrantId, OrganisationId, Principal, Target


@dataclass(frozen=True, slots=True)
class GrantFilter:
    """Which hops, newest first; empty fields do not restrict.

    `agent` delegates or is delegated to; `standing_at` leaves out what is revoked or has expired by then
    (Unix seconds); `before` is time and id of the last of the page before.
    """

    agent: AgentId | None = None
    organisation: OrganisationId | None = None
    standing_at: int | None = None
    before: tuple[int, GrantId] | None = None
    limit: int | None = None


class GrantKeeper(GrantStore, Protocol):
    """What this needs from a backend. Each method is one transaction and one promise:
    when it returns, everything in it is durable; when it raises, nothing of it happened.

    Raises (all methods):
        StorageUnavailable: nothing can be written now.
    """

    async def find(self, where: GrantFilter) -> Sequence[Grant]:
        """The hops that are wanted, newest first."""
        ...

    async def subtree(self, grant_id: GrantId) -> Sequence[Grant]:
        """A hop and all below it, by depth, revoked or not; empty if there is no such hop."""
        ...

    async def delegate(self, grant: Grant, entry: Entry) -> None:
        """Add a hop *and* record it.

        Raises:
            Denied: the hop above it has been revoked.
        """
        ...

    async def revoke(self, grant_id: GrantId, entry: Callable[[Grant, Sequence[GrantId]], Entry]) -> int:
        """Revoke a hop and all below it *and* record which; returns how many stood until now.

        Raises:
            UnknownTarget: there is no such hop.
        """
        ...


class Grants:
    """Hands authority on and takes it back, and writes down that and who did it."""

    def __init__(self, store: GrantKeeper) -> None:
        self._store = store

    async def delegate(self, grant: Grant, token_id: str) -> None:
        """Record a hop before its token is handed out.

        Raises:
            Denied: the hop above it has been revoked.
            StorageUnavailable: it cannot be recorded, so it is not handed out.
        """
        facts: Facts = {
            "grant": grant.id,
            "parent": grant.parent,
            "actor": {"agent": grant.by, "subject": grant.subject},
            "to": grant.to,
            "depth": grant.depth,
            "max_depth": grant.max_depth,
            "cause": {"task": grant.transaction, "call": grant.call},
            "task": grant.task,
            "purpose": grant.purpose,
            "expires_at": grant.expires_at,
            "tools": None if grant.limits is None else [limit.match for limit in grant.limits],
            "cap": grant.cap_micro_usd,
            "max_calls": grant.max_calls,
            "token": token_id,
        }
        entry = Entry(grant.organisation, Event.DELEGATION_CREATED, facts, agent=grant.by)
        await self._store.delegate(grant, entry)

    async def revoke(self, grant_id: GrantId, *, by: str, reason: str = "") -> int:
        """Revoke a hop and everything that was delegated below it; `by` is who did it.

        Returns:
            How many hops stood until now; where none did, nothing is recorded.

        Raises:
            UnknownTarget: there is no such hop.
        """

        def entry(grant: Grant, fallen: Sequence[GrantId]) -> Entry:
            facts: Facts = {"grant": grant.id, "fallen": list(fallen[:500]), "by": by, "reason": reason}
            return Entry(grant.organisation, Event.DELEGATION_REVOKED, facts, agent=AgentId(grant.to))

        return await self._store.revoke(grant_id, entry)


class Delegator:
    """Hands authority on: plans a hop, then records it and gives its token.

    Args:
        delegations: decides what may be handed on, and mints.
        grants: where hops are recorded.
    """

    def __init__(self, delegations: Delegations, grants: Grants) -> None:
        self._delegations = delegations
        self._grants = grants

    async def plan(self, by: Principal, wish: Wish) -> Grant:
        """The hop that was asked for.

        Raises:
            Denied: `by` may not hand on that much.
        """
        return await self._delegations.plan(by, wish)

    async def plan_for(self, by: Principal, target: Target, call: Call) -> Grant | None:
        """The hop that a call makes whose target is an agent; None if it is not.

        A caller that may not delegate to an agent may not call it: the agent would act for it all the
        same, and on its own authority.

        Raises:
            Denied: `by` may not delegate to that agent.
        """
        if target.agent is None:
            return None
        return await self._delegations.plan(by, Wish(target.agent, call=call.id))

    async def hand_over(
        self, by: Principal, grant: Grant, parent: str, scopes: frozenset[str]
    ) -> IssuedToken:
        """The delegation token of a hop that was planned, once the hop is recorded.

        Args:
            by: who delegates.
            grant: the hop.
            parent: the token that `by` acts with.
            scopes: those of the token.

        Raises:
            Denied: the hop above has been revoked meanwhile.
        """
        token = self._delegations.token(by, grant, scopes, parent)
        await self._grants.delegate(grant, token.claims.id)
        return token

    def redeemed(self, holder: Principal, parent: str) -> IssuedToken:
        """An access token of `holder` for the chain that it acts under."""
        return self._delegations.redeemed(holder, parent)
