"""The token endpoint (RFC 6749 §3.2): from a request of a client to a recorded token or a refusal."""

import re

from broker.edges.http import JsonResponse
from broker.edges.oauth import exchange
from broker.edges.oauth.endpoint import Answer, Asked, Objection, Refusals, json_response
from broker.edges.oauth.form import OAuthRefusal, header_values
from broker.edges.oauth.server import AuthorizationServer, Granted
from broker.errors import InvalidRequest
from broker.identity.baselines import Baselines
from broker.identity.dpop import Proofs
from broker.identity.interface import Issue, TokenLog

GRANT_TYPE = re.compile(r"[A-Za-z0-9._:/-]{1,200}")
"""A name or a URI (RFC 6749 appendix A.10)."""


class TokenEndpoint:
    """Answers `/oauth/token`.

    Args:
        server: decides what an authenticated client gets.
        exchange: decides what it may hand on or take up.
        proofs: checks what binds a token to a key.
        log: where issued tokens are recorded.
        refusals: answers what is refused.
        baselines: objects to agents that are not what was attested.
    """

    def __init__(
        self,
        server: AuthorizationServer,
        exchange: exchange.TokenExchange,
        proofs: Proofs,
        log: TokenLog,
        refusals: Refusals,
        *,
        baselines: Baselines,
    ) -> None:
        self._server = server
        self._url = server.token_url
        self._proofs = proofs
        self._exchange = exchange
        self._baselines = baselines
        self._log = log
        self._refusals = refusals

    async def serve(self, asked: Asked) -> JsonResponse:
        """Answer a client that has authenticated.

        Raises:
            Objection: it is not what was attested.
        """
        if why := await self._baselines.objection(asked.agent, asked.form.one("client_assertion")):
            raise Objection(why)
        grant_type = asked.form.one("grant_type") or ""
        if not GRANT_TYPE.fullmatch(grant_type):
            return self._refused(asked, _no_grant_type())
        proved = await self._proved(asked)
        if grant_type == exchange.GRANT_TYPE:
            answer = await self._exchange.answer(asked.form, asked.agent, asked.evidence, proved)
        else:
            answer = self._server.answer(asked.form, asked.agent, asked.evidence, proved)
        if isinstance(answer, exchange.Delegated):
            return json_response(answer.status, answer.body)
        if not isinstance(answer, Granted):
            return self._refused(asked, answer)
        return await self._issue(asked, answer)

    async def _proved(self, asked: Asked) -> str | None:
        """The key that the client has proved to have, if it has sent a proof (RFC 9449 §5)."""
        proofs = header_values(asked.scope, b"dpop")
        if not proofs:
            return None
        if len(proofs) > 1:
            raise _no_proof()
        try:
            proof = self._proofs.read(proofs[0], method="POST", url=self._url)
            await self._proofs.use(proof)
        except InvalidRequest:
            raise _no_proof() from None
        return proof.thumbprint

    async def _issue(self, asked: Asked, answer: Granted) -> JsonResponse:
        """Hand a token out, after it has been recorded."""
        token = answer.token
        issue = Issue(
            id=token.claims.id,
            transaction=token.claims.transaction,
            scope=token.scope,
            expires_at=token.claims.expires_at,
            key=token.claims.key,
            bound=token.claims.bound_to is not None,
        )
        await self._log.token_issued(asked.agent, issue, asked.evidence, address=asked.address)
        return json_response(answer.status, answer.body)

    def _refused(self, asked: Asked, answer: Answer) -> JsonResponse:
        return self._refusals.response(asked.agent, answer, asked.address)


def _no_grant_type() -> Answer:
    return Answer(
        400, {"error": "invalid_request", "error_description": "grant_type is missing or malformed"}
    )


def _no_proof() -> OAuthRefusal:
    return OAuthRefusal("invalid_dpop_proof", "the DPoP header is no proof for this request")
