"""Unmodified clients against a real server: what they do is the specification that counts."""

import time

import httpx2
import pytest
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from mcp.client.auth.extensions.client_credentials import (
    ClientCredentialsOAuthProvider,
    PrivateKeyJWTOAuthProvider,
    SignedJWTParameters,
)
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken

from tests.unit.edges.serving import Broker, live_broker
from tests.unit.identity.signing import EC, ED, RSA, public


class Storage:
    tokens: OAuthToken | None = None
    client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


def provider(broker: Broker, secret: str, method: str, storage: Storage) -> ClientCredentialsOAuthProvider:
    return ClientCredentialsOAuthProvider(
        server_url=broker.settings.resource,
        storage=storage,
        client_id="researcher",
        client_secret=secret,
        token_endpoint_auth_method=method,
        issuer=broker.settings.issuer,
    )


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
async def test_an_mcp_client_finds_its_way_from_a_401_to_a_token_by_discovery(method):
    async with live_broker() as broker:
        storage = Storage()
        auth = provider(broker, broker.agents.enrol("researcher"), method, storage)
        async with httpx2.AsyncClient(auth=auth) as client:
            answered = await client.post(broker.settings.resource, json={})
        assert answered.json()["agent"] == "researcher"
        assert broker.paths == [
            "/mcp",
            "/.well-known/oauth-protected-resource/mcp",
            "/.well-known/oauth-authorization-server/oauth",
            "/oauth/token",
            "/mcp",
        ]
        assert storage.tokens is not None
        assert storage.tokens.scope == "mcp:tools"
        assert broker.log.issued == [("researcher", answered.json()["token"])]


async def test_an_mcp_client_gets_a_new_token_by_itself_when_the_old_one_has_expired():
    async with live_broker() as broker:
        auth = provider(broker, broker.agents.enrol("researcher"), "client_secret_basic", Storage())
        async with httpx2.AsyncClient(auth=auth) as client:
            first = await client.post(broker.settings.resource, json={})
            broker.clock.now += 700
            second = await client.post(broker.settings.resource, json={})
        assert (first.status_code, second.status_code) == (200, 200)
        assert first.json()["token"] != second.json()["token"]


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
async def test_an_authlib_client_gets_a_token_and_uses_it(method):
    async with live_broker() as broker:
        secret = broker.agents.enrol("researcher")
        async with AsyncOAuth2Client("researcher", secret, token_endpoint_auth_method=method) as client:
            token = await client.fetch_token(
                f"{broker.settings.issuer}/token", grant_type="client_credentials", scope="mcp:tools openid"
            )
            answered = await client.post(broker.settings.resource, json={})
        assert answered.json()["agent"] == "researcher"
        assert (token["token_type"], token["expires_in"], token["scope"]) == ("Bearer", 600, "mcp:tools")


@pytest.mark.parametrize(
    ("key", "more"),
    [(RSA, {}), (EC, {"signing_algorithm": "ES256"}), (ED, {"signing_algorithm": "EdDSA"})],
    ids=["as it comes: RS256", "ES256", "EdDSA"],
)
async def test_an_mcp_client_with_a_key_needs_no_secret(key, more):
    async with live_broker() as broker:
        broker.clock.now = time.time()
        broker.agents.enrol("researcher")
        broker.agents.register("researcher", public(key))
        private = key.as_pem(private=True).decode()
        parameters = SignedJWTParameters(
            issuer="researcher", subject="researcher", signing_key=private, **more
        )
        auth = PrivateKeyJWTOAuthProvider(
            server_url=broker.settings.resource,
            storage=Storage(),
            client_id="researcher",
            assertion_provider=parameters.create_assertion_provider(),
            issuer=broker.settings.issuer,
        )
        async with httpx2.AsyncClient(auth=auth) as client:
            first = await client.post(broker.settings.resource, json={})
        assert first.json()["agent"] == "researcher"
        assert [name for name, _ in broker.log.issued] == ["researcher"]


async def test_an_authlib_client_with_a_key_gets_a_token_if_it_signs_for_five_minutes():
    async with live_broker() as broker:
        broker.agents.enrol("researcher")
        broker.agents.register("researcher", public(EC))
        now = int(broker.clock.now)
        method = PrivateKeyJWT(alg="ES256", claims={"iat": now, "exp": now + 300, "jti": "one"})
        async with AsyncOAuth2Client(
            "researcher", EC, token_endpoint_auth_method="private_key_jwt"
        ) as client:
            client.register_client_auth_method(method)
            token = await client.fetch_token(
                f"{broker.settings.issuer}/token", grant_type="client_credentials"
            )
        assert (token["token_type"], token["scope"]) == ("Bearer", "mcp:tools")
