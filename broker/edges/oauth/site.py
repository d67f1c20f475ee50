"""Where is what? The routes of the authorization server and its discovery documents."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from broker.edges.http import JsonResponse
from broker.edges.oauth.endpoint import ClientEndpoint, Refusals
from broker.edges.oauth.exchange import TokenExchange
from broker.edges.oauth.form import FORM_LIMIT_BYTES
from broker.edges.oauth.introspection import IntrospectionEndpoint
from broker.edges.oauth.metadata import authorization_server, protected_resource
from broker.edges.oauth.revocation import RevocationEndpoint, Revoker
from broker.edges.oauth.server import AuthorizationServer
from broker.edges.oauth.token import TokenEndpoint
from broker.identity.assertions import Assertions
from broker.identity.authenticator import TokenAuthenticator, access_tokens
from broker.identity.baselines import Baselines, DriftLog
from broker.identity.clients import Clients
from broker.identity.dpop import Proofs
from broker.identity.federation import Federation
from broker.identity.interface import AgentStore, ReplayStore, TokenLog
from broker.identity.keys import Keys
from broker.identity.token_keys import TokenKeys
from broker.model import Clock, Json
from broker.settings import Settings

DISCOVERY_MAX_AGE_S = 300
"""How long clients may keep keys and metadata: they ask again at every expiry of a token."""


class IdentityLog(TokenLog, DriftLog, Protocol):
    """Where it is recorded what became of requests for tokens."""


def routes(
    settings: Settings,
    *,
    keys: Keys,
    agents: AgentStore,
    replays: ReplayStore,
    federation: Federation,
    exchange: TokenExchange,
    log: IdentityLog,
    identity: TokenAuthenticator,
    revoker: Revoker,
    clock: Clock = time.time,
) -> Sequence[Route]:
    """The authorization server and its discovery documents.

    Args:
        settings: issuer, resource and lifetime of tokens.
        keys: the broker's own keys.
        agents: the clients.
        replays: which assertions were used before.
        federation: workloads that other issuers vouch for.
        exchange: hands authority on from agent to agent.
        log: where issued and refused tokens are recorded.
        identity: judges tokens, for introspection.
        revoker: revokes tokens.
        clock: Unix time in seconds.

    Raises:
        ConfigurationError: the public URL is neither https nor loopback.
    """
    tokens = access_tokens(settings, keys, clock)
    server = AuthorizationServer(settings, tokens)
    refusals = Refusals(log)
    clients = Clients(agents, _assertions(settings, agents, replays, clock), federation, clock)
    endpoint = partial(ClientEndpoint, settings, clients, refusals, FORM_LIMIT_BYTES)
    about_server = _document(authorization_server(settings))
    about_resource = _document(protected_resource(settings))
    return [
        Route(
            "/oauth/token",
            endpoint(
                TokenEndpoint(
                    server,
                    exchange,
                    Proofs(replays, clock),
                    log,
                    refusals,
                    baselines=Baselines(settings.tokens, log, clock),
                ).serve
            ),
        ),
        Route("/oauth/revoke", endpoint(RevocationEndpoint(tokens, revoker, refusals).serve)),
        Route("/oauth/introspect", endpoint(IntrospectionEndpoint(settings, identity, refusals).serve)),
        Route("/oauth/authorize", _no_interactive_grants(settings)),
        Route("/oauth/.well-known/jwks.json", _jwks(keys.tokens), methods=["GET"]),
        # RFC 8414 §3.1 inserts the path of the issuer; the others are where clients also look.
        Route("/.well-known/oauth-authorization-server/oauth", about_server, methods=["GET"]),
        Route("/.well-known/oauth-authorization-server", about_server, methods=["GET"]),
        Route("/oauth/.well-known/oauth-authorization-server", about_server, methods=["GET"]),
        Route("/.well-known/oauth-protected-resource/mcp", about_resource, methods=["GET"]),
        Route("/.well-known/oauth-protected-resource", about_resource, methods=["GET"]),
    ]


def _assertions(settings: Settings, agents: AgentStore, replays: ReplayStore, clock: Clock) -> Assertions:
    return Assertions(
        settings.issuer,
        f"{settings.issuer}/token",
        strict=settings.tokens.strict_audience,
        agents=agents,
        replays=replays,
        clock=clock,
    )


def _jwks(keys: TokenKeys) -> Callable[[Request], Response]:
    def published(_: Request) -> Response:
        return _document(keys.jwks())

    return published


def _document(content: Json) -> Response:
    """A response that may be kept for a while."""
    headers = {"cache-control": f"public, max-age={DISCOVERY_MAX_AGE_S}"}
    return Response(orjson.dumps(content), 200, headers, "application/json")


def _no_interactive_grants(settings: Settings) -> Response:
    """What `/oauth/authorize` answers. It exists because clients refuse metadata without it (RFC 8414 §2)."""
    description = f"agents get tokens with client_credentials at {settings.issuer}/token"
    return JsonResponse({"error": "unsupported_response_type", "error_description": description}, 400)
