"""Somebody who has stolen a token that is bound to a key, or a proof, or both."""

import base64
import json
import time
from contextlib import asynccontextmanager, closing
from hashlib import sha256

import apsw
import httpx2
import pytest
from joserfc.jwk import ECKey

from broker.app import running
from broker.identity.clients import digest
from broker.identity.compact import read
from broker.model import Agent, AgentId, OrganisationId
from broker.settings import Settings
from tests.unit.identity.signing import EC, ED, OF, RSA, public, signed

SECRET = "bk_secret"
HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "thief", "version": "1"},
    },
}
ACCEPT = {"accept": "application/json, text/event-stream"}


class World:
    def __init__(self, settings: Settings, client: httpx2.AsyncClient) -> None:
        self.token_url = f"{settings.issuer}/token"
        self.resource = settings.resource
        self.client = client
        self.made = 0

    def proof(self, key=EC, algorithm="ES256", *, header=None, claims=None, without=(), token=None) -> str:
        """A proof for the resource, or with no token for the token endpoint."""
        self.made += 1
        top = {"typ": "dpop+jwt", "alg": algorithm, "jwk": public(key)} | (header or {})
        url = self.token_url if token is None else self.resource
        said = {"jti": f"proof-{self.made}", "htm": "POST", "htu": url, "iat": int(time.time())}
        if token is not None:
            said["ath"] = base64.urlsafe_b64encode(sha256(token.encode()).digest()).rstrip(b"=").decode()
        said |= claims or {}
        drop = lambda facts: {k: v for k, v in facts.items() if k not in without}  # noqa: E731
        return signed(algorithm, key, json.dumps(drop(top)), json.dumps(drop(said)))

    async def ask(self, *proofs: str) -> httpx2.Response:
        headers = [("dpop", proof) for proof in proofs]
        form = {"grant_type": "client_credentials"}
        return await self.client.post("/oauth/token", data=form, auth=("researcher", SECRET), headers=headers)

    async def token(self, key=EC, algorithm="ES256") -> str:
        return (await self.ask(self.proof(key, algorithm))).json()["access_token"]

    async def use(self, token: str, *proofs: str, scheme: str = "DPoP") -> httpx2.Response:
        headers = [*ACCEPT.items(), ("authorization", f"{scheme} {token}")]
        headers += [("dpop", proof) for proof in proofs]
        return await self.client.post("/mcp", json=HELLO, headers=headers)


@asynccontextmanager
async def world(folder):
    settings = Settings(state_dir=folder / "state")
    async with running(settings) as app:
        agent = Agent(AgentId("researcher"), OrganisationId("acme"), frozenset({"reader"}))
        await app.journal.enrol(agent, digest(SECRET), by="dana")
        transport = httpx2.ASGITransport(app.asgi)
        async with httpx2.AsyncClient(transport=transport, base_url=settings.public_url) as client:
            yield World(settings, client)


@pytest.mark.parametrize("algorithm", OF)
async def test_who_has_the_key_may_use_the_token_with_a_new_proof_each_time(tmp_path, algorithm):
    async with world(tmp_path) as w:
        key = OF[algorithm]
        answered = (await w.ask(w.proof(key, algorithm))).json()
        assert answered["token_type"] == "DPoP"
        token = answered["access_token"]
        assert read(token).claims["cnf"] == {"jkt": key.thumbprint()}
        for _ in range(3):
            assert (await w.use(token, w.proof(key, algorithm, token=token))).status_code == 200


async def test_a_client_without_a_proof_gets_a_bearer_token_as_ever(tmp_path):
    async with world(tmp_path) as w:
        answered = (await w.ask()).json()
        assert answered["token_type"] == "Bearer"
        assert (await w.use(answered["access_token"], scheme="Bearer")).status_code == 200


async def test_a_bound_token_is_worth_nothing_as_a_bearer_token(tmp_path):
    async with world(tmp_path) as w:
        token = await w.token()
        for proofs in ((), (w.proof(token=token),)):
            refused = await w.use(token, *proofs, scheme="Bearer")
            assert refused.status_code == 401
            assert 'error="invalid_token"' in refused.headers["www-authenticate"]
        assert (await w.use(token)).status_code == 401


async def test_a_bearer_token_is_not_made_better_by_a_proof(tmp_path):
    async with world(tmp_path) as w:
        token = (await w.ask()).json()["access_token"]
        assert (await w.use(token, w.proof(token=token))).status_code == 401


async def test_a_proof_is_good_once_at_either_endpoint(tmp_path):
    async with world(tmp_path) as w:
        first = w.proof()
        token = (await w.ask(first)).json()["access_token"]
        again = await w.ask(first)
        assert (again.status_code, again.json()["error"]) == (400, "invalid_dpop_proof")
        proof = w.proof(token=token)
        assert [(await w.use(token, proof)).status_code for _ in range(2)] == [200, 401]


async def test_the_proof_of_another_key_does_not_help(tmp_path):
    async with world(tmp_path) as w:
        token, own = await w.token(), ECKey.generate_key("P-256")
        for proof in (
            w.proof(own, token=token),
            w.proof(own, token=token, header={"jwk": public(EC)}),
            w.proof(ED, "Ed25519", token=token),
            w.proof(RSA, "RS256", token=token),
        ):
            refused = await w.use(token, proof)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"].startswith('DPoP error="invalid_token"')
        assert (await w.use(token, w.proof(token=token))).status_code == 200


async def test_a_proof_for_another_request_does_not_help(tmp_path):
    async with world(tmp_path) as w:
        token, other = await w.token(), await w.token()
        for claims in (
            {"htm": "GET"},
            {"htm": "post"},
            {"htu": w.token_url},
            {"htu": w.resource + "/"},
            {"htu": "https://other.example/mcp"},
            {"htu": w.resource.replace("http:", "https:")},
            {"ath": "AAAA"},
        ):
            assert (await w.use(token, w.proof(token=token, claims=claims))).status_code == 401
        assert (await w.use(token, w.proof(token=other))).status_code == 401
        assert (await w.use(token, w.proof())).status_code == 401


async def test_query_and_fragment_of_the_address_are_not_compared(tmp_path):
    async with world(tmp_path) as w:
        token = await w.token()
        for htu in (f"{w.resource}?a=b", f"{w.resource}#x", w.resource.replace("http:", "HTTP:")):
            assert (await w.use(token, w.proof(token=token, claims={"htu": htu}))).status_code == 200


@pytest.mark.parametrize("age", [-3600, -61 - 5, 31 + 5, 3600])
async def test_a_proof_that_was_not_made_just_now_is_refused(tmp_path, age):
    async with world(tmp_path) as w:
        token = await w.token()
        proof = w.proof(token=token, claims={"iat": int(time.time()) + age})
        assert (await w.use(token, proof)).status_code == 401
        assert (await w.ask(w.proof(claims={"iat": int(time.time()) + age}))).status_code == 400


@pytest.mark.parametrize("missing", ["jti", "htm", "htu", "iat", "ath", "typ", "alg", "jwk"])
async def test_a_proof_that_lacks_something_is_refused(tmp_path, missing):
    async with world(tmp_path) as w:
        token = await w.token()
        assert (await w.use(token, w.proof(token=token, without=(missing,)))).status_code == 401


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "JWT"},
        {"typ": "at+jwt"},
        {"alg": "none"},
        {"alg": "HS256"},
        {"alg": "RS256"},
        {"jwk": EC.as_dict(private=True)},
        {"jwk": {"kty": "oct", "k": "AAAA"}},
        {"jwk": None},
        {"jwk": [1]},
        {"kid": "x"},
        {"jku": "https://evil.example"},
        {"crit": ["exp"]},
    ],
)
async def test_what_is_not_the_header_of_a_proof_is_refused(tmp_path, header):
    async with world(tmp_path) as w:
        token = await w.token()
        assert (await w.use(token, w.proof(token=token, header=header))).status_code == 401
        assert (await w.ask(w.proof(header=header))).json()["error"] == "invalid_dpop_proof"


async def test_proofs_of_strangers_do_not_fill_the_store(tmp_path):
    async with world(tmp_path) as w:
        token, own = await w.token(), ECKey.generate_key("P-256")
        with closing(apsw.Connection(str(tmp_path / "state" / "broker.db"))) as database:
            count = "select count(*) from used_once"
            before = database.execute(count).get
            for stolen in (token, "a.b.c"):
                assert (await w.use(stolen, w.proof(own, token=stolen))).status_code == 401
            assert database.execute(count).get == before
            assert (await w.use(token, w.proof(token=token))).status_code == 200
            assert database.execute(count).get == before + 1


async def test_two_proofs_are_none(tmp_path):
    async with world(tmp_path) as w:
        token = await w.token()
        assert (await w.use(token, w.proof(token=token), w.proof(token=token))).status_code == 401
        assert (await w.ask(w.proof(), w.proof())).json()["error"] == "invalid_dpop_proof"


async def test_a_bound_token_is_not_exchanged_for_one_without_a_key(tmp_path):
    async with world(tmp_path) as w:
        token = await w.token()
        refused = await w.client.post(
            "/oauth/token",
            data={
                "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
                "subject_token": token,
                "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
                "requested_actor": "researcher",
            },
            auth=("researcher", SECRET),
        )
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_request")
        assert "proof" in refused.json()["error_description"]


async def test_a_bound_token_is_exchanged_with_a_proof_of_its_own_key_only(tmp_path):
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "requested_actor": "nobody",
    }
    async with world(tmp_path) as w:
        form["subject_token"] = await w.token()
        told = []
        for key in (ECKey.generate_key("P-256"), EC):
            headers, who = {"dpop": w.proof(key)}, ("researcher", SECRET)
            refused = await w.client.post("/oauth/token", data=form, auth=who, headers=headers)
            told.append(refused.json()["error_description"])
    assert "proof of the key that it is bound to" in told[0]
    assert told[1] == "there is no agent nobody in your organisation", "only the right key gets that far"


async def test_its_client_learns_that_a_token_is_bound(tmp_path):
    async with world(tmp_path) as w:
        token = await w.token()
        facts = (
            await w.client.post("/oauth/introspect", data={"token": token}, auth=("researcher", SECRET))
        ).json()
        assert (facts["active"], facts["token_type"], facts["cnf"]) == (
            True,
            "DPoP",
            {"jkt": EC.thumbprint()},
        )


@pytest.mark.parametrize("scheme", ["Bearer", "DPoP"])
async def test_a_bound_token_asks_no_model_without_a_proof_for_that_very_address(tmp_path, scheme):
    async with world(tmp_path) as w:
        token = await w.token()
        body = {"model": "absent", "messages": []}

        async def ask(*proofs, **headers):
            told = [("authorization", f"{scheme} {token}"), *(("dpop", proof) for proof in proofs)]
            return await w.client.post("/v1/chat/completions", json=body, headers=[*told, *headers.items()])

        here = {"htu": w.resource.removesuffix("/mcp") + "/v1/chat/completions"}
        assert (await ask()).status_code == 401
        assert (await ask(w.proof(token=token))).status_code == 401  # made for /mcp
        assert (await ask(w.proof(key=ED, algorithm="EdDSA", token=token, claims=here))).status_code == 401
        good = w.proof(token=token, claims=here)
        let_in = await ask(good)
        assert let_in.status_code == (404 if scheme == "DPoP" else 401)  # 404: no such model
        assert (await ask(good)).status_code == 401  # a proof serves once
        stolen = await w.client.post("/v1/chat/completions", json=body, headers={"x-api-key": token})
        assert stolen.status_code == 401
