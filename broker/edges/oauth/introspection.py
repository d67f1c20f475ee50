"""Does this token of mine still hold, and what for? The introspection endpoint (RFC 7662)."""

from broker.edges.http import JsonResponse
from broker.edges.oauth.endpoint import Answer, Asked, Refusals, json_response
from broker.edges.oauth.server import token_type
from broker.errors import Unauthenticated
from broker.identity.authenticator import TokenAuthenticator
from broker.identity.interface import TokenLog
from broker.model import Json, Principal
from broker.settings import Settings


class IntrospectionEndpoint:
    """Answers `/oauth/introspect`, to clients about their own access tokens.

    Somebody else's token, a revoked or expired one, and what is no token are one answer: inactive.

    Args:
        settings: issuer and resource.
        identity: judges tokens just as for a call.
        log: where it is recorded that a client has asked.
        refusals: answers what is refused.
    """

    def __init__(
        self, settings: Settings, identity: TokenAuthenticator, log: TokenLog, refusals: Refusals
    ) -> None:
        self._settings = settings
        self._identity = identity
        self._log = log
        self._refusals = refusals

    async def serve(self, asked: Asked) -> JsonResponse:
        """Answer a client that has authenticated."""
        token = asked.form.one("token")
        if token is None:
            body = {"error": "invalid_request", "error_description": "token is missing"}
            return self._refusals.response(asked.agent, Answer(400, body), asked.address)
        try:
            principal, claims = await self._identity.stands_for(token)
        except Unauthenticated:
            return json_response(200, {"active": False})  # there is no token to write about
        own = principal.agent.id == asked.agent.id
        await self._log.token_introspected(asked.agent, token_id=claims.id, active=own)
        if not own:
            return json_response(200, {"active": False})
        bound = {"cnf": {"jkt": claims.bound_to}} if claims.bound_to else {}
        return json_response(200, self._facts(principal, token_type(claims)) | bound)

    def _facts(self, principal: Principal, kind: str) -> Json:
        return {
            "active": True,
            "token_type": kind,
            "iss": self._settings.issuer,
            "aud": self._settings.resource,
            "sub": principal.subject,
            "client_id": principal.agent.id,
            "scope": " ".join(sorted(principal.scopes)),
            "exp": int(principal.expires_at),
            "jti": principal.token_id,
            "txn": principal.transaction,
        }
