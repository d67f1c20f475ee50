"""Taking tokens back, and asking whether they hold, at a whole broker with its state in a file."""

import shutil
import time
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import orjson
import pytest

from broker.app import App, office, running
from broker.audit.interface import Filter
from broker.errors import Unauthenticated
from broker.identity.assertions import ASSERTION_TYPE
from broker.identity.clients import digest
from broker.identity.compact import read
from broker.identity.jwks import read_key
from broker.identity.token_keys import new_token_key
from broker.model import Agent, AgentId, OrganisationId
from broker.policy.load import shipped_policies
from broker.settings import Settings
from tests.e2e.waiting import until
from tests.unit.identity.signing import EC, Signer, public

SECRET = "bk_secret"
LEAD = 'role: lead\nallow:\n  - tools: ["*"]\nmay_delegate_to: [intern]\n'
GRANT = {"grant_type": "client_credentials"}


@asynccontextmanager
async def whole(folder: Path):
    policies = folder / "policies"
    shutil.copytree(shipped_policies(), policies)
    (policies / "roles" / "lead.yaml").write_text(LEAD)
    settings = Settings(state_dir=folder / "state", policies_dir=policies)
    async with running(settings) as app:
        for name in ("researcher", "intern"):
            agent = Agent(AgentId(name), OrganisationId("acme"), frozenset({"reader"}))
            await app.journal.enrol(agent, digest(SECRET), by="dana")
        transport = httpx2.ASGITransport(app.asgi)
        async with httpx2.AsyncClient(transport=transport, base_url=settings.public_url) as client:
            yield app, client


async def token(client: httpx2.AsyncClient, name: str = "researcher") -> str:
    answered = await client.post("/oauth/token", data=GRANT, auth=(name, SECRET))
    return answered.json()["access_token"]


async def ask(client: httpx2.AsyncClient, what: str, form: dict, name: str = "researcher") -> httpx2.Response:
    return await client.post(f"/oauth/{what}", data=form, auth=(name, SECRET))


async def events(app: App, log: str = "acme") -> list[dict]:
    return [orjson.loads(r.body) async for r in app.store.log.records(log, Filter())]


async def test_a_revoked_token_is_refused_on_the_very_next_call_although_it_was_just_accepted(tmp_path):
    async with whole(tmp_path) as (app, client):
        held, other = await token(client), await token(client)
        assert (await app.pipeline.identity.authenticate(held)).agent.id == "researcher"
        answered = await ask(client, "revoke", {"token": held, "token_type_hint": "access_token"})
        assert (answered.status_code, answered.json()) == (200, {})
        with pytest.raises(Unauthenticated, match="the token was revoked"):
            await app.pipeline.identity.authenticate(held)
        assert (await app.pipeline.identity.authenticate(other)).agent.id == "researcher"


async def test_a_token_that_another_process_revokes_is_refused_on_the_very_next_call(tmp_path):
    async with whole(tmp_path) as (app, client), office(app.settings) as elsewhere:
        held = await token(client)
        principal = await app.pipeline.identity.authenticate(held)
        await elsewhere.credentials.revoke_token(
            principal.token_id,
            int(principal.expires_at),
            organisation=principal.organisation,
            of=principal.agent.id,
            by=principal.agent.id,
        )
        with pytest.raises(Unauthenticated, match="the token was revoked"):
            await app.pipeline.identity.authenticate(held)


async def test_a_revocation_is_recorded_once(tmp_path):
    async with whole(tmp_path) as (app, client):
        held = await token(client)
        for _ in range(3):
            assert (await ask(client, "revoke", {"token": held})).status_code == 200
        revoked = [e for e in await events(app) if e["type"] == "auth.token_revoked"]
        issued = [e for e in await events(app) if e["type"] == "auth.token_issued"]
    assert [(e["agent"], e["token"], e["by"]) for e in revoked] == [
        ("researcher", issued[0]["token"], "researcher")
    ]


async def test_the_record_of_a_token_names_how_its_client_has_shown_who_it_is(tmp_path):
    async with whole(tmp_path) as (app, client):
        await token(client)
        await client.post("/oauth/token", data=GRANT | {"client_id": "researcher", "client_secret": SECRET})
        key = read_key(public(EC)).stored(0)
        await app.credentials.add_key(AgentId("researcher"), key, by="dana")
        signer = Signer("researcher", app.settings.issuer, now=int(time.time()))
        form = GRANT | {"client_assertion_type": ASSERTION_TYPE, "client_assertion": signer.assertion()}
        await client.post("/oauth/token", data=form)
        issued = [e for e in await events(app) if e["type"] == "auth.token_issued"]
        (secret,) = await app.store.agents.secrets(AgentId("researcher"))
    assert [(e["method"], e["credential"]) for e in issued] == [
        ("client_secret_basic", secret.id),
        ("client_secret_post", secret.id),
        ("private_key_jwt", key.id),
    ]
    assert {e["signed_by"] for e in issued} == {app.keys.tokens.active.kid}
    assert {(e["issuer"], e["bound"]) for e in issued} == {(None, False)}
    assert SECRET not in str(issued)
    assert digest(SECRET).hex() not in str(issued)


async def test_it_is_recorded_who_asks_about_which_token_and_what_it_is_told(tmp_path):
    async with whole(tmp_path) as (app, client):
        held = await token(client)
        await ask(client, "introspect", {"token": held})
        await ask(client, "introspect", {"token": held}, "intern")
        await ask(client, "introspect", {"token": "x"})
        (issued,) = [e for e in await events(app) if e["type"] == "auth.token_issued"]
        asked = [e for e in await events(app) if e["type"] == "auth.token_introspected"]
    assert [(e["agent"], e["token"], e["active"]) for e in asked] == [
        ("researcher", issued["token"], True),
        ("intern", issued["token"], False),
    ]


@pytest.mark.parametrize("unknown", ["x", "a.b.c", "e30.e30.e30", "bk_secret", "x" * 20_000])
async def test_what_is_no_token_is_revoked_already(tmp_path, unknown):
    async with whole(tmp_path) as (app, client):
        assert (await ask(client, "revoke", {"token": unknown})).status_code == 200
        assert (await ask(client, "introspect", {"token": unknown})).json() == {"active": False}
        assert "auth.token_revoked" not in {e["type"] for e in await events(app, "system")}


async def test_the_token_of_another_client_is_neither_revoked_nor_explained(tmp_path):
    async with whole(tmp_path) as (app, client):
        held = await token(client)
        refused = await ask(client, "revoke", {"token": held}, "intern")
        assert (refused.status_code, refused.json()["error"]) == (400, "unauthorized_client")
        assert (await ask(client, "introspect", {"token": held}, "intern")).json() == {"active": False}
        assert (await app.pipeline.identity.authenticate(held)).agent.id == "researcher"


async def test_a_client_learns_what_its_own_token_is_for_until_it_is_revoked(tmp_path):
    async with whole(tmp_path) as (app, client):
        held = await token(client)
        answered = await ask(client, "introspect", {"token": held})
        assert answered.headers["cache-control"] == "no-store"
        facts = answered.json()
        assert (facts["active"], facts["client_id"], facts["sub"], facts["scope"]) == (
            True,
            "researcher",
            "researcher",
            "mcp:tools",
        )
        assert (facts["iss"], facts["aud"]) == (app.settings.issuer, app.settings.resource)
        await ask(client, "revoke", {"token": held})
        assert (await ask(client, "introspect", {"token": held})).json() == {"active": False}


@pytest.mark.parametrize("what", ["revoke", "introspect"])
async def test_only_clients_may_ask_and_they_have_to_ask_about_something(tmp_path, what):
    async with whole(tmp_path) as (app, client):
        held = await token(client)
        stranger = await client.post(f"/oauth/{what}", data={"token": held})
        wrong = await client.post(f"/oauth/{what}", data={"token": held}, auth=("researcher", "bk_x"))
        bearer = await client.post(
            f"/oauth/{what}", data={"token": held}, headers={"authorization": f"Bearer {held}"}
        )
        assert [r.status_code for r in (stranger, wrong, bearer)] == [401] * 3
        assert {r.json()["error"] for r in (stranger, wrong, bearer)} == {"invalid_client"}
        empty = await ask(client, what, {})
        assert (empty.status_code, empty.json()["error"]) == (400, "invalid_request")
        assert (await client.get(f"/oauth/{what}")).status_code == 405
        assert (await app.pipeline.identity.authenticate(held)).agent.id == "researcher"


async def test_an_agent_that_is_rotated_keeps_working_with_both_secrets(tmp_path):
    async with whole(tmp_path) as (app, client):
        now = 1_000_000
        await app.credentials.rotate_secret(
            AgentId("researcher"), digest("bk_new"), now=now, until=2**40, by="dana"
        )
        for secret in (SECRET, "bk_new"):
            answered = await client.post("/oauth/token", data=GRANT, auth=("researcher", secret))
            assert answered.status_code == 200
        await app.credentials.rotate_secret(
            AgentId("researcher"), digest("bk_newer"), now=now, until=now, by="dana"
        )
        answers = [
            (await client.post("/oauth/token", data=GRANT, auth=("researcher", s))).status_code
            for s in (SECRET, "bk_new", "bk_newer")
        ]
        assert answers == [401, 401, 200]


async def test_a_running_broker_takes_a_new_signing_key_into_use_within_a_second(tmp_path):
    async with whole(tmp_path) as (app, client), office(app.settings) as elsewhere:
        old = await token(client)
        (published,) = [k for k in await published_kids(client) if k != app.keys.tokens.active.kid]
        now = int(time.time())
        await elsewhere.credentials.rotate_key(new_token_key(now), now=now, until=now + 3605, by="dana")
        await until(lambda: app.keys.tokens.active.kid == published, within_s=1)
        new = await token(client)
        assert kid(new) == published != kid(old)
        assert len(await published_kids(client)) == 3
        for held in (old, new):
            assert (await app.pipeline.identity.authenticate(held)).agent.id == "researcher"
        recorded = [e for e in await events(app, "system") if e["type"] == "keys.rotated"]
        assert [(e["use"], e["by"]) for e in recorded] == [("tokens", "dana")]


async def test_a_dropped_signing_key_ends_every_token_it_signed_even_those_just_accepted(tmp_path):
    async with whole(tmp_path) as (app, client), office(app.settings) as elsewhere:
        old = await token(client)
        assert (await app.pipeline.identity.authenticate(old)).agent.id == "researcher"
        now = int(time.time())
        await elsewhere.credentials.rotate_key(new_token_key(now), now=now, until=now, by="dana")
        await until(lambda: app.keys.tokens.active.kid != kid(old), within_s=1)
        assert kid(old) not in await published_kids(client)
        with pytest.raises(Unauthenticated, match="not a token of this broker"):
            await app.pipeline.identity.authenticate(old)
        assert (await app.pipeline.identity.authenticate(await token(client))).agent.id == "researcher"


async def published_kids(client: httpx2.AsyncClient) -> list[str]:
    return [key["kid"] for key in (await client.get("/oauth/.well-known/jwks.json")).json()["keys"]]


def kid(token: str) -> str:
    return read(token).header["kid"]


EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS, JWT = "urn:ietf:params:oauth:token-type:access_token", "urn:ietf:params:oauth:token-type:jwt"


async def handed_on(client: httpx2.AsyncClient, app: App) -> str:
    """The access token of `intern` that stands for what `lead` let it do."""
    for name, role in (("lead", "lead"), ("bystander", "lead")):
        agent = Agent(AgentId(name), OrganisationId("acme"), frozenset({role}))
        await app.journal.enrol(agent, digest(SECRET), by="dana")
    own = {"grant_type": EXCHANGE, "subject_token": await token(client, "lead"), "requested_actor": "intern"}
    delegated = await ask(client, "token", own | {"subject_token_type": ACCESS}, "lead")
    assert delegated.status_code == 200, delegated.text
    taken = {"grant_type": EXCHANGE, "subject_token": delegated.json()["access_token"]}
    return (await ask(client, "token", taken | {"subject_token_type": JWT}, "intern")).json()["access_token"]


@pytest.mark.parametrize("by", ["lead", "intern"])
async def test_who_delegated_and_who_holds_it_may_revoke_what_was_delegated(tmp_path, by):
    async with whole(tmp_path) as (app, client):
        held = await handed_on(client, app)
        principal = await app.pipeline.identity.authenticate(held)
        assert [actor.id for actor in principal.actors] == ["intern", "lead"]
        refused = await ask(client, "revoke", {"token": held}, "bystander")
        assert (refused.status_code, refused.json()["error"]) == (400, "unauthorized_client")
        assert (await app.pipeline.identity.authenticate(held)).agent.id == "intern"
        assert (await ask(client, "revoke", {"token": held}, by)).status_code == 200
        with pytest.raises(Unauthenticated):
            await app.pipeline.identity.authenticate(held)
        hop = await app.store.grants.grant(principal.grants[0].id)
        assert hop is not None
        assert hop.revoked_at is not None
        types = [e["type"] for e in await events(app)]
        assert {"auth.token_revoked", "delegation.revoked"} <= set(types)
