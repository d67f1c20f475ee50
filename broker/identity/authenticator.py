"""Who is calling? From a bearer token to the live record of the agent behind it."""

import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from hashlib import sha256

from broker.errors import Because, Denied, Unauthenticated
from broker.identity.attestation import standing
from broker.identity.chains import Chains, foreign_delegation
from broker.identity.dpop import HeldToken
from broker.identity.interface import FOREVER, AgentStore, Evidence
from broker.identity.keys import Keys
from broker.identity.tokens import (
    LEEWAY_S,
    MAX_TOKEN_CHARS,
    AccessToken,
    AccessTokens,
    Kind,
    expired,
    foreign,
)
from broker.model import Agent, AgentStatus, Clock, Principal
from broker.settings import Settings

CACHED_TOKENS = 10_000
"""Tokens whose signature is not checked again; about 1 KB each."""


@dataclass(slots=True)
class _Known:
    """A token whose signature was checked, and the principal that it stood for at `version`."""

    claims: AccessToken
    agent: Agent
    principal: Principal
    version: int
    credential_ends: int
    """When the credential ends that it was issued for, in Unix seconds."""


class TokenAuthenticator:
    """Implements `Authenticator` for tokens of this broker.

    The signature of a token is checked once. Its expiry, and whether anything has changed that it stands
    on, is looked at on every call, so a suspended agent is refused although its token is still valid.

    Args:
        settings: issuer and resource that tokens must name.
        keys: the broker's own keys.
        agents: the live records.
        chains: puts a principal into the chain that it acts under.
        clock: Unix time in seconds.
        capacity: how many checked tokens are remembered; the least recently used go first.
    """

    def __init__(
        self,
        settings: Settings,
        keys: Keys,
        agents: AgentStore,
        chains: Chains,
        *,
        clock: Clock = time.time,
        capacity: int = CACHED_TOKENS,
    ) -> None:
        self._tokens = access_tokens(settings, keys, clock)
        self._agents = agents
        self._chains = chains
        self._clock = clock
        self._capacity = capacity
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._delegations: OrderedDict[bytes, AccessToken] = OrderedDict()
        self._generation = self._tokens.generation

    async def authenticate(self, token: str) -> Principal:
        """The principal a bearer token speaks for.

        Raises:
            Unauthenticated: not a valid token here, bound to a key that was not proved, or somebody
                in its chain may not act now.
        """
        principal, claims = await self.stands_for(token)
        if claims.bound_to != (token.thumbprint if isinstance(token, HeldToken) else None):
            raise _unproved()
        return principal

    async def stands_for(self, token: str) -> tuple[Principal, AccessToken]:
        """The principal of an access token, whoever presents it, and what the token says.

        Raises:
            Unauthenticated: not a valid token here, or somebody in its chain may not act now.
        """
        own, claims = await self._own(token)
        if claims.grant is None:
            return own, claims
        try:
            return await self._chains.under(own, claims.grant, claims.scopes), claims
        except Denied as error:
            raise Unauthenticated(error.message, hint=error.hint) from None

    async def delegated(self, own: Principal, delegation: str) -> Principal:
        """The same agent, acting under a delegation token that was given to it.

        Raises:
            Denied: the delegation is not one, not to this agent, or does not stand.
        """
        if own.grants:
            text = "its access token stands for one already"
            because = (Because("delegation/one", text),)
            raise Denied("a call is made under one delegation", because=because)
        claims = self._delegation(delegation)
        if claims.client != own.agent.id or claims.grant is None:
            raise foreign_delegation()
        return await self._chains.under(own, claims.grant, claims.scopes)

    async def subject(
        self, agent: Agent, evidence: Evidence, token: str, kind: Kind, thumbprint: str | None = None
    ) -> Principal:
        """What a token stands for that its own client presents: an access token, or a delegation to it.

        Args:
            agent: the client, authenticated by its own credentials.
            evidence: how.
            token: the subject token of a token exchange (RFC 8693 §2.1).
            kind: what it is said to be.
            thumbprint: the key that the client has proved, if any: a bound token needs that here too.

        Raises:
            Unauthenticated: not a valid access token. Denied: not this client's, or it does not stand.
        """
        if kind is Kind.DELEGATION:
            claims = self._delegation(token)
            own = replace(claims, credential=evidence.credential, vouched=evidence.vouched)
            return await self.delegated(_principal(own, agent), token)
        principal, claims = await self.stands_for(token)
        if principal.agent.id != agent.id:
            raise foreign_delegation()
        if claims.bound_to not in {None, thumbprint}:
            raise _unproved()
        return principal

    def _delegation(self, token: str) -> AccessToken:
        """What a delegation token says; its signature is checked once."""
        try:
            fingerprint = self._fingerprint(token)
            claims = self._delegations.get(fingerprint)
            if claims is None:
                claims = self._tokens.verify(token, Kind.DELEGATION)
                self._delegations[fingerprint] = claims
                if len(self._delegations) > self._capacity:
                    self._delegations.popitem(last=False)
        except Unauthenticated as error:
            because = (Because("delegation/token", "it was not issued here, or has expired"),)
            raise Denied(f"the delegation token: {error.message}", because=because) from None
        return claims

    async def _own(self, token: str) -> tuple[Principal, AccessToken]:
        """Who authenticates with an access token, apart from any delegation, and what the token says."""
        fingerprint = self._fingerprint(token)
        known = self._known.get(fingerprint)
        if known is None:
            return await self._first_seen(fingerprint, token)
        now = self._clock()
        if (late := now - known.claims.expires_at) >= LEEWAY_S:
            del self._known[fingerprint]
            raise expired(late)
        self._known.move_to_end(fingerprint)
        version = await self._agents.version()
        if known.version != version:
            agent = await self._active(known.claims)
            if known.agent is not agent:
                known.agent = agent
                known.principal = _principal(known.claims, agent)
            known.credential_ends = await self._credential_end(known.claims)
            known.version = version
        if now >= known.credential_ends:
            raise _credential_gone()
        return known.principal, known.claims

    async def _first_seen(self, fingerprint: bytes, token: str) -> tuple[Principal, AccessToken]:
        claims = self._tokens.verify(token)
        version = await self._agents.version()
        agent = await self._active(claims)
        principal = _principal(claims, agent)
        ends = await self._credential_end(claims)
        if self._clock() >= ends:
            raise _credential_gone()
        self._known[fingerprint] = _Known(claims, agent, principal, version, ends)
        if len(self._known) > self._capacity:
            self._known.popitem(last=False)
        return principal, claims

    def _fingerprint(self, token: str) -> bytes:
        """What a checked token is remembered by. After a change of keys nothing is."""
        if not token or len(token) > MAX_TOKEN_CHARS:
            raise foreign()
        if self._generation != self._tokens.generation:
            self._known.clear()
            self._delegations.clear()
            self._generation = self._tokens.generation
        return sha256(token.encode("utf-8", "surrogatepass")).digest()

    async def _active(self, claims: AccessToken) -> Agent:
        """The live record of a token's client, if it and the token may still be used."""
        agent = await self._agents.agent(claims.client)
        if agent is None:
            raise Unauthenticated(f"`{claims.client}` does not exist any more")
        if agent.status is not AgentStatus.ACTIVE:
            raise Unauthenticated(
                f"`{claims.client}` is {agent.status}", hint="ask an operator of the broker"
            )
        if await self._agents.revoked(claims.id):
            raise Unauthenticated("the token was revoked", hint="get a new one from the token endpoint")
        return agent

    async def _credential_end(self, claims: AccessToken) -> int:
        """When the credential ends that a token was issued for, in Unix seconds; 0 if it is gone."""
        if claims.credential is None:
            return FOREVER
        return await self._agents.credential_end(claims.client, claims.credential) or 0


def _unproved() -> Unauthenticated:
    return Unauthenticated(
        "not presented with a proof of the key that it is bound to",
        hint="a bound token comes with a DPoP proof of its key, any other as Bearer",
    )


def _credential_gone() -> Unauthenticated:
    return Unauthenticated(
        "the credential that it was issued for has ended", hint="get a new token with the present credential"
    )


def access_tokens(settings: Settings, keys: Keys, clock: Clock) -> AccessTokens:
    """The access tokens of this deployment."""
    return AccessTokens(
        keys.tokens,
        issuer=settings.issuer,
        resource=settings.resource,
        lifetime_s=settings.tokens.lifetime_s,
        clock=clock,
    )


def _principal(claims: AccessToken, agent: Agent) -> Principal:
    agent = standing(agent, vouched=claims.vouched)
    return Principal(
        agent=agent,
        subject=claims.subject,
        actors=(agent,),
        scopes=claims.scopes,
        token_id=claims.id,
        transaction=claims.transaction,
        expires_at=claims.expires_at,
        credential=claims.credential,
        key=claims.key,
        vouched=claims.vouched,
    )
