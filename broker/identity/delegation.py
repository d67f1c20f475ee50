"""May this authority be handed on, and as what? Plans a hop of delegation and mints its token (RFC 8693).

Nothing is ever widened: a hop that asks for more than the hop above it leaves open is refused, with
the reason. What cannot be compared counts as more.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from broker.errors import Because, Denied
from broker.identity.interface import AgentStore
from broker.identity.tokens import MAX_TOKEN_CHARS, AccessTokens, IssuedToken, Kind
from broker.limits import Limits, widened
from broker.model import Agent, AgentId, AgentStatus, CallId, Clock, Grant, GrantId, MicroUSD, Principal

DEFAULT_DEPTH = 4
"""How deep a chain may become unless its first hop says less."""
MOST_DEPTH = 8
CALL_LIFETIME_S = 60
"""How long a delegation that comes with a call lives at most, in seconds, even if the call stays open."""

SCOPE, TOOLS = "scope", "tools"
"""Checks that OAuth has error codes of its own for."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What an agent asks to hand on. None: as much as it has itself. Times in seconds."""

    to: AgentId
    scopes: frozenset[str] | None = None
    limits: Limits | None = None
    lifetime_s: int | None = None
    max_depth: int | None = None
    cap_micro_usd: MicroUSD | None = None
    max_calls: int | None = None
    task: str | None = None
    purpose: str | None = None
    call: CallId | None = None


class MayDelegate(Protocol):
    """What policy says about one agent delegating to another."""

    def __call__(self, by: Agent, to: Agent) -> bool:
        """Whether some role of `by` may delegate to `to`."""
        ...


class Delegations:
    """Plans and mints. The hop is recorded between the two, by who asked for it.

    Args:
        tokens: mints.
        agents: the live records.
        may_delegate: what the policies say now.
        clock: Unix time in seconds.
        new_id: makes grant ids.
    """

    def __init__(
        self,
        tokens: AccessTokens,
        agents: AgentStore,
        may_delegate: MayDelegate,
        clock: Clock,
        new_id: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        self._tokens = tokens
        self._agents = agents
        self._may_delegate = may_delegate
        self._clock = clock
        self._new_id = new_id

    async def plan(self, by: Principal, wish: Wish) -> Grant:
        """The hop that was asked for, if `by` may hand on that much.

        Args:
            by: who delegates, in its whole chain, as it was just authenticated.
            wish: what it asks to hand on.

        Raises:
            Denied: it may not; `because` names the check.
        """
        to = await self._delegatee(by, wish.to)
        self._check_policy(by, to)
        depth, max_depth = _depth(by, wish)
        _check_scopes(by, wish)
        _check_limits(by, wish)
        _check_amounts(by, wish)
        return Grant(
            id=GrantId(self._new_id()),
            parent=by.grants[0].id if by.grants else None,
            organisation=by.organisation,
            subject=by.subject,
            by=by.agent.id,
            to=to.id,
            depth=depth,
            max_depth=max_depth,
            transaction=by.transaction,
            expires_at=self._expiry(by, wish),
            created_at=int(self._clock()),
            task=wish.task,
            purpose=wish.purpose,
            call=wish.call,
            limits=wish.limits,
            cap_micro_usd=wish.cap_micro_usd,
            max_calls=wish.max_calls,
            credential=by.credential,
        )

    def token(self, by: Principal, grant: Grant, scopes: frozenset[str], parent: str) -> IssuedToken:
        """The delegation token of a hop that was planned; it is handed out after the hop was recorded.

        Args:
            by: who delegates.
            grant: the hop.
            scopes: those of the token.
            parent: the token that it follows from.

        Raises:
            Denied: with so many limits it would be larger than any token that is read.
        """
        token = self._tokens.mint_delegated(Kind.DELEGATION, (grant, *by.grants), scopes, parent=parent)
        if len(token.compact) > MAX_TOKEN_CHARS:
            raise _refused(TOOLS, f"the token would have more than {MAX_TOKEN_CHARS} characters, name less")
        return token

    def redeemed(self, holder: Principal, parent: str, bound_to: str | None = None) -> IssuedToken:
        """An access token of `holder` for the chain it acts under, bound to a key if one is given."""
        return self._tokens.mint_delegated(
            Kind.ACCESS,
            holder.grants,
            holder.scopes,
            parent=parent,
            credential=holder.credential,
            bound_to=bound_to,
            vouched=holder.vouched,
        )

    async def _delegatee(self, by: Principal, name: AgentId) -> Agent:
        agent = await self._agents.agent(name)
        if agent is None or agent.organisation != by.organisation:
            raise _refused("delegatee", f"there is no agent {name} in your organisation")
        if agent.status is not AgentStatus.ACTIVE:
            raise _refused("delegatee", f"{name} is {agent.status}")
        if any(actor.id == name for actor in by.actors):
            raise _refused("cycle", f"{name} is in the chain already")
        return agent

    def _check_policy(self, by: Principal, to: Agent) -> None:
        if not self._may_delegate(by.agent, to):
            raise _refused("policy", f"no role of {by.agent.id} may delegate to {to.id} (may_delegate_to)")

    def _expiry(self, by: Principal, wish: Wish) -> int:
        now = int(self._clock())
        if by.expires_at <= now:
            raise _refused("expiry", "your own authority has expired")
        if wish.lifetime_s is None:
            return by.expires_at if wish.call is None else min(by.expires_at, now + CALL_LIFETIME_S)
        if wish.lifetime_s <= 0 or now + wish.lifetime_s > by.expires_at:
            left = by.expires_at - now
            raise _refused("expiry", f"your own authority ends in {left} s, ask for 1 to {left}")
        return now + wish.lifetime_s


def _depth(by: Principal, wish: Wish) -> tuple[int, int]:
    depth = len(by.grants) + 1
    bound = by.grants[0].max_depth if by.grants else MOST_DEPTH
    if depth > bound:
        raise _refused("depth", f"the chain may not become deeper than {bound}")
    if wish.max_depth is None:
        return depth, bound if by.grants else DEFAULT_DEPTH
    if not depth <= wish.max_depth <= bound:
        raise _refused("max_depth", f"max_depth is {depth} to {bound} here")
    return depth, wish.max_depth


def _check_scopes(by: Principal, wish: Wish) -> None:
    if wish.scopes is not None and not wish.scopes <= by.scopes:
        beyond = " ".join(sorted(wish.scopes - by.scopes))
        raise _refused(SCOPE, f"your own token does not have the scope {beyond}")


def _check_limits(by: Principal, wish: Wish) -> None:
    if wish.limits is None:
        return
    beyond = widened(wish.limits, by.grants)
    if beyond is not None:
        raise _refused(
            TOOLS, f"you were not given all that {beyond.match} would hand on, or that cannot be told"
        )


def _check_amounts(by: Principal, wish: Wish) -> None:
    for above in by.grants:
        cap, calls = above.cap_micro_usd, above.max_calls
        if wish.cap_micro_usd is not None and cap is not None and wish.cap_micro_usd > cap:
            raise _refused("budget", f"you were given {cap} micro-USD yourself")
        if wish.max_calls is not None and calls is not None and wish.max_calls > calls:
            raise _refused("calls", f"you were given {calls} calls yourself")


def _refused(check: str, reason: str) -> Denied:
    return Denied(reason, because=(Because(f"delegation/{check}", "a delegation never widens anything"),))
