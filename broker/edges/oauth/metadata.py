"""What do clients have to know? The discovery documents."""

from broker.edges.oauth.form import AUTH_METHODS
from broker.identity.jwks import ALGORITHMS
from broker.identity.tokens import DEFAULT_SCOPES
from broker.limits import DETAILS_TYPE
from broker.model import Json
from broker.settings import Settings


def authorization_server(settings: Settings) -> Json:
    """Metadata of the authorization server (RFC 8414 §2).

    `response_types_supported`, `authorization_endpoint` and S256 belong to grants that do not exist
    here yet; clients of MCP 2.3 ignore metadata without them.
    """
    issuer = settings.issuer
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "jwks_uri": f"{issuer}/.well-known/jwks.json",
        "scopes_supported": sorted(DEFAULT_SCOPES),
        "response_types_supported": ["code"],
        "grant_types_supported": ["client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange"],
        "authorization_details_types_supported": [DETAILS_TYPE],
        "token_endpoint_auth_methods_supported": list(AUTH_METHODS),
        "token_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "dpop_signing_alg_values_supported": list(ALGORITHMS),
        "revocation_endpoint": f"{issuer}/revoke",
        "revocation_endpoint_auth_methods_supported": list(AUTH_METHODS),
        "introspection_endpoint": f"{issuer}/introspect",
        "introspection_endpoint_auth_methods_supported": list(AUTH_METHODS),
        "code_challenge_methods_supported": ["S256"],
        "client_id_metadata_document_supported": False,
        "protected_resources": [settings.resource],
    }


def protected_resource(settings: Settings) -> Json:
    """Metadata of the MCP endpoint as a protected resource (RFC 9728 §2)."""
    return {
        "resource": settings.resource,
        "authorization_servers": [settings.issuer],
        "scopes_supported": sorted(DEFAULT_SCOPES),
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": list(ALGORITHMS),
        "resource_name": settings.deployment,
    }
