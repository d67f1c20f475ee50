"""Does this chain of delegation still stand? From one hop to the live records of everybody in it.

Tokens only name a hop. What it may do is read from the grants and the agents, on every call: a hop
that was revoked, or an actor that was suspended, ends everything below it at once.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from broker.errors import Because, Denied
from broker.identity.interface import AgentStore, GrantStore
from broker.limits import ended
from broker.model import Agent, AgentStatus, CallId, Clock, Grant, GrantId, Principal

KEPT = 10_000
"""How many chains are remembered; about 1 KB each."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A chain that stood at `version`, for a principal that acted on its own."""

    version: int
    own: Principal
    principal: Principal
    calls: tuple[tuple[Grant, CallId], ...]
    """The calls that have to be open, by the hop that needs it."""


class Chains:
    """Puts a principal into the chain that it acts under.

    Args:
        agents: the live records.
        grants: the hops.
        clock: Unix time in seconds.
        capacity: how many chains are remembered; the least recently used go first.
    """

    def __init__(self, agents: AgentStore, grants: GrantStore, clock: Clock, *, capacity: int = KEPT) -> None:
        self._agents = agents
        self._grants = grants
        self._clock = clock
        self._capacity = capacity
        self._known: OrderedDict[tuple[str, GrantId], _Known] = OrderedDict()

    async def under(self, own: Principal, grant_id: GrantId, scopes: frozenset[str]) -> Principal:
        """The principal that acts under a hop that was granted to it.

        Args:
            own: who asks, authenticated, on its own; what it results in expires with it.
            grant_id: the newest hop.
            scopes: those of the token that names the hop.

        Raises:
            Denied: the hop is somebody else's, or the chain does not stand; says which hop and why.
        """
        key = (own.token_id, grant_id)
        version = await self._grants.version()
        known = self._known.get(key)
        if known is None or known.version != version or known.own is not own:
            known = await self._resolve(own, grant_id, scopes, version)
            self._keep(key, known)
        if known.principal.expires_at <= self._clock():
            raise ended(_first_expired(known.principal.grants), "has expired")
        for grant, call in known.calls:
            if not await self._grants.is_open(call):
                raise ended(grant, "ended with the call that it was for")
        return known.principal

    async def _resolve(
        self, own: Principal, grant_id: GrantId, scopes: frozenset[str], version: int
    ) -> _Known:
        chain = tuple(await self._grants.chain(grant_id))
        if not chain or chain[0].to != own.agent.id:
            raise foreign_delegation()
        for grant in chain:
            if grant.revoked_at is not None:
                raise ended(grant, "has been revoked")
        principal = replace(
            own,
            subject=chain[-1].subject,
            actors=(own.agent, *[await self._actor(grant) for grant in chain]),
            scopes=own.scopes & scopes,
            transaction=chain[0].transaction,
            expires_at=min(own.expires_at, *[await self._end(grant) for grant in chain]),
            grants=chain,
        )
        calls = tuple([(grant, grant.call) for grant in chain if grant.call is not None])
        return _Known(version, own, principal, calls)

    async def _actor(self, grant: Grant) -> Agent:
        """The live record of who granted a hop."""
        agent = await self._agents.agent(grant.by)
        if agent is None:
            raise ended(grant, f"ended when `{grant.by}` was removed")
        if agent.status is not AgentStatus.ACTIVE:
            raise ended(grant, f"does not hold while `{grant.by}` is {agent.status}")
        if agent.organisation != grant.organisation:
            raise ended(grant, f"ended when `{grant.by}` left the organisation")
        return agent

    async def _end(self, grant: Grant) -> int:
        """When a hop ends by itself: in its time, or with the credential that it was granted with."""
        if grant.credential is None:
            return grant.expires_at
        end = await self._agents.credential_end(grant.by, grant.credential)
        if end is None:
            raise ended(grant, f"ended with the credential of `{grant.by}` that it was granted with")
        return min(grant.expires_at, end)

    def _keep(self, key: tuple[str, GrantId], known: _Known) -> None:
        self._known[key] = known
        self._known.move_to_end(key)
        if len(self._known) > self._capacity:
            self._known.popitem(last=False)


def foreign_delegation() -> Denied:
    """The refusal of a delegation that is not one to who presents it: it does not say whose it is."""
    text = "it was not given to the agent that presents it"
    return Denied(
        "this delegation is not yours to use",
        because=(Because("delegation/holder", text),),
        hint="ask whoever delegates to you to name your client id",
    )


def _first_expired(chain: Sequence[Grant]) -> Grant:
    return min(chain, key=lambda grant: grant.expires_at)
