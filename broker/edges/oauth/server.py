"""May this client have a token, and for what? The grants, on authlib's core (RFC 6749).

The core is synchronous: all lookups are done before it is asked, so that it runs on the event loop
without I/O. Clients have authenticated before it sees them.
"""
# The published stubs of authlib leave parameters open and bind what a framework is meant to override.
# pyright: reportUnknownMemberType=false, reportIncompatibleMethodOverride=false
# pyright: reportIncompatibleVariableOverride=false

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, cast

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import AuthorizationServer as AuthlibServer
from authlib.oauth2.rfc6749 import ClientMixin, OAuth2Request
from authlib.oauth2.rfc6749.errors import InsecureTransportError
from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload

from broker.edges.oauth.endpoint import Answer
from broker.edges.oauth.form import Form
from broker.errors import ConfigurationError
from broker.identity.interface import Evidence
from broker.identity.tokens import DEFAULT_SCOPES, AccessToken, AccessTokens, IssuedToken
from broker.model import Agent, Json
from broker.settings import Settings


@dataclass(frozen=True, slots=True)
class Granted(Answer):
    """An answer with a token in it."""

    token: IssuedToken


class AuthorizationServer:
    """Decides token requests of clients that have authenticated.

    Args:
        settings: issuer and resource.
        tokens: mints the access tokens.

    Raises:
        ConfigurationError: the public URL is neither https nor loopback (RFC 6749 §3.2).
    """

    def __init__(self, settings: Settings, tokens: AccessTokens) -> None:
        self.token_url = f"{settings.issuer}/token"
        self._core = _Core(tokens, settings.resource)
        self._core.register_grant(_ClientCredentials)
        try:
            InsecureTransportError.check(self.token_url)
        except InsecureTransportError:
            raise ConfigurationError(
                f"server.public_url: secrets would cross the network in the clear to `{settings.public_url}`",
                hint="use an https:// URL",
            ) from None

    def answer(self, form: Form, agent: Agent, evidence: Evidence, bound_to: str | None = None) -> Answer:
        """The answer to a token request of an authenticated client. Does no I/O.

        Args:
            form: the request.
            agent: the client.
            evidence: how the client has shown who it is: the token ends with the credential in it.
            bound_to: thumbprint of the key that the client has proved, if any: the token is bound to it.
        """
        request = _Request(self.token_url, form, agent, evidence, bound_to)
        status, body = cast("tuple[int, Json]", self._core.create_token_response(request))
        return Granted(status, body, request.issued) if request.issued else Answer(status, body)


class _Request(OAuth2Request):
    """A token request as authlib's core reads it."""

    def __init__(self, url: str, form: Form, agent: Agent, evidence: Evidence, bound_to: str | None) -> None:
        super().__init__("POST", url)
        self.payload = BasicOAuth2Payload({name: values[0] for name, values in form.values.items()})
        self.client = _Client()
        self.agent = agent
        self.asked = form
        self.bound_to = bound_to
        self.evidence = evidence
        self.issued: IssuedToken | None = None


class _Client(ClientMixin):
    """An agent's client has no configuration of its own; what an agent may do is policy."""

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == _ClientCredentials.GRANT_TYPE


class _Core(AuthlibServer):
    def __init__(self, tokens: AccessTokens, resource: str) -> None:
        # With scopes_supported set, authlib would answer invalid_scope instead of granting less.
        super().__init__(scopes_supported=None)
        self.tokens = tokens
        self.resource = resource

    def create_oauth2_request(self, request: OAuth2Request) -> OAuth2Request:
        return request

    def authenticate_client(self, request: _Request, *_: Any) -> ClientMixin:
        return cast("_Client", request.client)

    def send_signal(self, *_: Any, **__: Any) -> None:
        """Nobody observes the core: the broker has a log of its own."""

    def handle_response(self, status: int, body: Json, *_: Any) -> tuple[int, Json]:
        return status, body


class _ClientCredentials(ClientCredentialsGrant):
    """RFC 6749 §4.4, for one resource (RFC 8707)."""

    request: _Request
    server: _Core

    def validate_token_request(self) -> None:
        super().validate_token_request()
        if any(resource != self.server.resource for resource in self.request.asked.all("resource")):
            description = f"tokens are issued for {self.server.resource} only"
            raise OAuth2Error(error="invalid_target", description=description)

    def create_token_response(self) -> tuple[int, Json, Collection[tuple[str, str]]]:
        """Mint the token. The method of the base class would write it to the log."""
        request = self.request
        token = request.issued = self.server.tokens.mint(
            request.agent,
            granted(request.asked.one("scope")),
            request.bound_to,
            credential=request.evidence.credential,
            vouched=request.evidence.vouched,
        )
        body: Json = {
            "access_token": token.compact,
            "token_type": token_type(token.claims),
            "expires_in": token.lifetime_s,
            "scope": token.scope,
        }
        return 200, body, self.TOKEN_RESPONSE_HEADER


def token_type(claims: AccessToken) -> str:
    """How a token is to be presented (RFC 6749 §7.1)."""
    return "DPoP" if claims.bound_to else "Bearer"


def granted(requested: str | None) -> frozenset[str]:
    """The scopes a client gets: what it asks for as far as that exists, else the default (RFC 6749 §3.3).

    Asking for too much is no error: clients ask for whatever they find in some document.
    """
    return DEFAULT_SCOPES.intersection((requested or "").split()) or DEFAULT_SCOPES
