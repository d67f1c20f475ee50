import base64
from contextlib import asynccontextmanager

import httpx2
import orjson
import pytest
from joserfc import jws
from joserfc.jwk import ECKey

from broker.edges.oauth import routes
from broker.errors import ConfigurationError, StorageUnavailable
from broker.settings import ServerSettings, Settings, TokenSettings
from tests.unit.edges.serving import Broker, broker_for
from tests.unit.identity.memory import MemoryReplays

GRANT = {"grant_type": "client_credentials"}


@asynccontextmanager
async def office(**settings):
    broker = await broker_for(Settings(**settings))
    broker.log.secret = broker.agents.enrol("researcher")
    transport = httpx2.ASGITransport(broker.app, client=("192.0.2.1", 1))
    async with httpx2.AsyncClient(transport=transport, base_url=broker.url) as client:
        yield broker, client


def basic(broker: Broker) -> httpx2.BasicAuth:
    return httpx2.BasicAuth("researcher", broker.log.secret)


async def test_a_token_comes_with_its_lifetime_and_scope_and_is_not_to_be_stored():
    async with office(tokens=TokenSettings(lifetime_s=120)) as (broker, client):
        answered = await client.post("/oauth/token", data=GRANT, auth=basic(broker))
    body = answered.json()
    assert set(body) == {"access_token", "token_type", "expires_in", "scope"}
    assert (body["token_type"], body["expires_in"], body["scope"]) == ("Bearer", 120, "mcp:tools")
    assert answered.headers["cache-control"] == "no-store"
    assert answered.headers["content-type"] == "application/json"


async def test_the_published_keys_verify_the_token():
    async with office() as (broker, client):
        token = (await client.post("/oauth/token", data=GRANT, auth=basic(broker))).json()["access_token"]
        keys = (await client.get("/oauth/.well-known/jwks.json")).json()["keys"]
        published = next(key for key in keys if key["kid"] == broker.keys.tokens.active.kid)
    verified = jws.deserialize_compact(token, ECKey.import_key(published), algorithms=["ES256"])
    assert orjson.loads(verified.payload)["client_id"] == "researcher"


async def test_a_client_may_repeat_its_own_name_beside_basic_credentials():
    async with office() as (broker, client):
        for data in (GRANT, {**GRANT, "client_id": "researcher"}):
            assert (await client.post("/oauth/token", data=data, auth=basic(broker))).status_code == 200


async def test_form_encoded_basic_credentials_are_decoded():
    async with office() as (broker, client):
        broker.agents.records["re searcher"] = broker.agents.records["researcher"]
        broker.agents.stored_secrets["re searcher"] = broker.agents.stored_secrets["researcher"]
        for spelling in ("re+searcher", "re%20searcher"):
            pair = base64.b64encode(f"{spelling}:{broker.log.secret}".encode()).decode()
            answered = await client.post(
                "/oauth/token", data=GRANT, headers={"authorization": f"bAsIc {pair}"}
            )
            assert answered.status_code == 200


@pytest.mark.parametrize("asked", ["mcp:tools", "mcp:tools admin", "admin", "", "mcp:tools mcp:tools"])
async def test_asking_for_too_much_gives_what_there_is_and_never_invalid_scope(asked):
    async with office() as (broker, client):
        answered = await client.post("/oauth/token", data={**GRANT, "scope": asked}, auth=basic(broker))
    assert (answered.status_code, answered.json()["scope"]) == (200, "mcp:tools")


async def test_the_right_resource_may_be_named_and_even_repeated():
    async with office() as (broker, client):
        for resource in (broker.settings.resource, [broker.settings.resource] * 2, ""):
            data = {**GRANT, "resource": resource}
            assert (await client.post("/oauth/token", data=data, auth=basic(broker))).status_code == 200


async def test_a_wrong_resource_is_an_invalid_target_and_recorded():
    async with office() as (broker, client):
        for resource in (
            "https://other.example/mcp",
            [broker.settings.resource, "https://other.example/mcp"],
        ):
            answered = await client.post(
                "/oauth/token", data={**GRANT, "resource": resource}, auth=basic(broker)
            )
            assert (answered.status_code, answered.json()["error"]) == (400, "invalid_target")
            assert broker.settings.resource in answered.json()["error_description"]
        assert broker.log.refused == [("researcher", "invalid_target")] * 2
        assert broker.log.issued == []


async def test_a_grant_that_does_not_exist_is_refused_and_a_malformed_one_is_not_echoed():
    async with office() as (broker, client):
        unknown = await client.post("/oauth/token", data={"grant_type": "password"}, auth=basic(broker))
        odd = await client.post("/oauth/token", data={"grant_type": 'x"\\\n\u00e9'}, auth=basic(broker))
        missing = await client.post("/oauth/token", data={"scope": "mcp:tools"}, auth=basic(broker))
    assert unknown.json()["error"] == "unsupported_grant_type"
    assert odd.json() == missing.json()
    assert missing.json()["error"] == "invalid_request"
    assert {r.status_code for r in (unknown, odd, missing)} == {400}


async def test_every_token_and_every_refusal_of_a_known_client_is_recorded_and_strangers_are_not():
    async with office() as (broker, client):
        await client.post("/oauth/token", data=GRANT, auth=basic(broker))
        await client.post("/oauth/token", data=GRANT, auth=("researcher", "bk_wrong"))
        await client.post("/oauth/token", data=GRANT, auth=("stranger", "bk_wrong"))
    assert [agent for agent, _ in broker.log.issued] == ["researcher"]
    assert broker.log.refused == [("researcher", "invalid_client")]


async def test_a_token_that_cannot_be_recorded_is_not_handed_out():
    async with office() as (broker, client):

        async def down(*_, **__):
            raise StorageUnavailable("the log cannot be written")

        broker.log.token_issued = down
        answered = await client.post("/oauth/token", data=GRANT, auth=basic(broker))
        assert (answered.status_code, answered.json()["error"]) == (503, "temporarily_unavailable")
        assert "access_token" not in answered.text
        broker.log.token_refused = down
        assert (await client.post("/oauth/token", data=GRANT, auth=("researcher", "x"))).status_code == 401


async def test_the_server_metadata_names_what_clients_of_mcp_insist_on():
    async with office() as (broker, client):
        documents = [
            (await client.get(path)).json()
            for path in (
                "/.well-known/oauth-authorization-server/oauth",
                "/.well-known/oauth-authorization-server",
                "/oauth/.well-known/oauth-authorization-server",
            )
        ]
    first = documents[0]
    assert documents == [first] * 3
    assert first["issuer"] == f"{broker.url}/oauth"
    assert first["token_endpoint"] == f"{broker.url}/oauth/token"
    assert first["response_types_supported"] == ["code"]
    assert first["code_challenge_methods_supported"] == ["S256"]
    assert first["token_endpoint_auth_methods_supported"] == [
        "private_key_jwt",
        "client_secret_basic",
        "client_secret_post",
    ]
    assert first["token_endpoint_auth_signing_alg_values_supported"] == [
        "ES256",
        "Ed25519",
        "EdDSA",
        "RS256",
        "PS256",
    ]
    assert "registration_endpoint" not in first


async def test_every_address_in_the_server_metadata_answers():
    async with office() as (_, client):
        metadata = (await client.get("/.well-known/oauth-authorization-server/oauth")).json()
        keys = await client.get(metadata["jwks_uri"])
        authorize = await client.get(metadata["authorization_endpoint"], params={"response_type": "code"})
        token = await client.post(metadata["token_endpoint"], data=GRANT)
    assert (keys.status_code, keys.headers["cache-control"]) == (200, "public, max-age=300")
    assert (authorize.status_code, authorize.json()["error"]) == (400, "unsupported_response_type")
    assert "location" not in authorize.headers
    assert token.status_code == 401


async def test_the_resource_metadata_points_to_the_server_from_both_places():
    async with office() as (broker, client):
        inserted = await client.get("/.well-known/oauth-protected-resource/mcp")
        root = await client.get("/.well-known/oauth-protected-resource")
    assert inserted.json() == root.json()
    assert inserted.json()["resource"] == broker.settings.resource
    assert inserted.json()["authorization_servers"] == [broker.settings.issuer]
    assert inserted.json()["scopes_supported"] == ["mcp:tools"]


async def test_documents_are_read_only():
    async with office() as (_, client):
        assert (await client.post("/oauth/.well-known/jwks.json")).status_code == 405
        assert (await client.head("/oauth/.well-known/jwks.json")).status_code == 200


async def test_a_public_url_that_would_send_secrets_in_the_clear_stops_the_start():
    broker = await broker_for(Settings())
    exposed = Settings(server=ServerSettings(public_url="http://broker.example"))
    with pytest.raises(ConfigurationError, match="in the clear"):
        routes(
            exposed,
            keys=broker.keys,
            agents=broker.agents,
            replays=MemoryReplays(),
            federation=None,
            published=None,
            exchange=None,
            log=broker.log,
            identity=None,
            revoker=None,
        )
