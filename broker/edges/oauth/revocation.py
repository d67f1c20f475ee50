"""Can a token be taken back? The revocation endpoint (RFC 7009)."""

from collections.abc import Sequence
from contextlib import suppress

from broker.credentials import Credentials
from broker.edges.http import JsonResponse
from broker.edges.oauth.endpoint import Answer, Asked, Refusals, json_response
from broker.errors import Unauthenticated, UnknownTarget
from broker.grants import Grants
from broker.identity.interface import GrantStore
from broker.identity.tokens import AccessToken, AccessTokens, Kind
from broker.model import Agent, GrantId


class Revoker:
    """Revokes tokens for those who may.

    A token may be revoked by the client it was issued to, and by everybody up its chain. Where it
    stands for a delegation, that ends with it; so does whatever was delegated with it.

    Args:
        chains: who stands above a token.
        credentials: revokes tokens.
        grants: revokes delegations.
    """

    def __init__(self, chains: GrantStore, credentials: Credentials, grants: Grants) -> None:
        self._chains = chains
        self._credentials = credentials
        self._grants = grants

    async def may(self, agent: Agent, claims: AccessToken) -> bool:
        """Whether an agent may revoke a token."""
        if agent.id == claims.client:
            return True
        if claims.grant is None:
            return False
        return any(agent.id in {hop.by, hop.subject} for hop in await self._chains.chain(claims.grant))

    async def revoke(self, agent: Agent, claims: AccessToken) -> None:
        """Refuse a token, and what it stands for, from now on."""
        await self._credentials.revoke_token(
            claims.id, claims.expires_at, organisation=agent.organisation, of=claims.client, by=agent.id
        )
        for grant in await self._handed_on(claims):
            # A hop that was never recorded was never handed out: there is nothing to end.
            with suppress(UnknownTarget):
                await self._grants.revoke(grant, by=agent.id, reason="token revoked")

    async def _handed_on(self, claims: AccessToken) -> Sequence[GrantId]:
        """The hop that a token stands for; for an agent's own token, every first hop of its transaction."""
        if claims.grant is not None:
            return [claims.grant]
        return [hop.id for hop in await self._chains.roots(claims.transaction)]


class RevocationEndpoint:
    """Answers `/oauth/revoke`.

    Args:
        tokens: reads tokens.
        revoker: revokes them.
        refusals: answers what is refused.
    """

    def __init__(self, tokens: AccessTokens, revoker: Revoker, refusals: Refusals) -> None:
        self._tokens = tokens
        self._revoker = revoker
        self._refusals = refusals

    async def serve(self, asked: Asked) -> JsonResponse:
        """Answer a client that has authenticated: 200 also for what is no token (RFC 7009 §2.2)."""
        presented = asked.form.one("token")
        if presented is None:
            return self._refused(asked, "invalid_request", "token is missing")
        claims = self._read(presented)
        if claims is None:
            return json_response(200, {})
        if not await self._revoker.may(asked.agent, claims):
            told = "only its client and those up its chain may revoke a token"
            return self._refused(asked, "unauthorized_client", told)
        await self._revoker.revoke(asked.agent, claims)
        return json_response(200, {})

    def _read(self, token: str) -> AccessToken | None:
        """What a token of ours says; None for anything else, and for what has expired."""
        for kind in Kind:
            try:
                return self._tokens.verify(token, kind)
            except Unauthenticated:
                continue
        return None

    def _refused(self, asked: Asked, error: str, description: str) -> JsonResponse:
        answer = Answer(400, {"error": error, "error_description": description})
        return self._refusals.response(asked.agent, answer, asked.address)
