"""Somebody with a token of an issuer that is trusted, or nearly: workloads that want to be an agent."""

import json
from contextlib import asynccontextmanager

import httpx2
import pytest
from joserfc.jwk import ECKey
from pydantic import ValidationError

from broker.errors import ConfigurationError
from broker.identity.assertions import ASSERTION_TYPE
from broker.identity.federation import Federation
from broker.identity.published_keys import PublishedKeys
from broker.model import AgentStatus
from broker.settings import FederationSettings, Settings
from tests.unit.edges.serving import Broker, broker_for
from tests.unit.identity.memory import NOW, ManualClock, MemorySource
from tests.unit.identity.signing import EC, RSA, Signer, public, signed

CLUSTER, CI = "https://kubernetes.default.svc", "spiffe://ci.example"
GRANT = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE}
WORKLOAD = {"iss": CLUSTER, "sub": "system:serviceaccount:agents:researcher", "env": "prod"}


def federation(issuers, folder):
    clock = ManualClock()
    published = PublishedKeys(MemorySource(), clock)
    return Federation(issuers, folder, "https://broker.example/oauth", clock, published=published)


class Office:
    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.signer = Signer("unused", broker.settings.issuer, RSA, "RS256")
        self.asked = 0

    def token(self, header=None, without="", signer=None, **claims) -> str:
        return (signer or self.signer).assertion(header, WORKLOAD | claims, without)

    async def ask(self, token: str, **more: str) -> int:
        self.asked += 1
        transport = httpx2.ASGITransport(self.broker.app, client=(f"192.0.2.{self.asked}", 1))
        async with httpx2.AsyncClient(transport=transport, base_url=self.broker.url) as client:
            answered = await client.post("/oauth/token", data=GRANT | {"client_assertion": token} | more)
        return answered.status_code

    @property
    def acted(self) -> list[str]:
        return [agent for agent, _ in self.broker.log.issued]


@asynccontextmanager
async def office(folder, **more):
    (folder / "cluster.json").write_text(
        json.dumps({"keys": [public(ECKey.generate_key("P-384")), public(RSA) | {"kid": "c1"}]})
    )
    (folder / "ci.json").write_text(json.dumps({"keys": [public(EC) | {"use": "jwt-svid"}]}))
    agents = {"researcher": {"sub": WORKLOAD["sub"]}, "writer": {"sub": "w", "env": "prod"}}
    federation = {
        "cluster": {"issuer": CLUSTER, "jwks": folder / "cluster.json", "agents": agents} | more,
        "ci": {"issuer": CI, "jwks": folder / "ci.json", "agents": {"intern": {"sub": f"{CI}/intern"}}},
    }
    broker = await broker_for(Settings.model_validate({"federation": federation}))
    for name in ("researcher", "writer", "intern"):
        broker.agents.enrol(name)
    yield Office(broker)


async def test_a_workload_is_the_agent_that_is_written_down_for_it_as_often_as_it_asks(tmp_path):
    async with office(tmp_path) as o:
        token = o.token({"kid": "c1", "x5t": "AA"})
        assert [await o.ask(token) for _ in range(3)] == [200] * 3
        assert await o.ask(token, client_id="researcher") == 200
        svid = Signer("x", o.broker.settings.issuer).assertion(
            {"typ": "JOSE"}, {"iss": CI, "sub": f"{CI}/intern"}, "jti"
        )
        assert await o.ask(svid) == 200
        assert o.acted == ["researcher"] * 4 + ["intern"]
        evidence = [(e.method, e.credential, e.issuer) for e in o.broker.log.evidence]
        assert evidence == [("workload_token", None, CLUSTER)] * 4 + [("workload_token", None, CI)]


async def test_a_workload_that_is_not_written_down_is_nobody(tmp_path):
    async with office(tmp_path) as o:
        for claims in (
            {"sub": "system:serviceaccount:agents:other"},
            {"sub": "system:serviceaccount:agents:researcher2"},
            {"sub": "researcher"},
            {"sub": "w", "env": "test"},
            {"sub": "w", "env": ["prod"]},
        ):
            assert await o.ask(o.token(**claims)) == 401
        assert await o.ask(o.token(sub="w", without="env")) == 401
        assert await o.ask(o.token(sub="w")) == 200
        assert o.acted == ["writer"]


async def test_a_token_that_fits_two_agents_fits_none(tmp_path):
    two = {"researcher": {"sub": WORKLOAD["sub"]}, "writer": {"env": "prod"}}
    async with office(tmp_path, agents=two) as o:
        assert await o.ask(o.token()) == 401
        assert await o.ask(o.token(), client_id="researcher") == 401


async def test_a_workload_cannot_ask_for_another_agent(tmp_path):
    async with office(tmp_path) as o:
        assert await o.ask(o.token(), client_id="writer") == 401


async def test_an_issuer_speaks_for_its_own_workloads_with_its_own_keys_only(tmp_path):
    async with office(tmp_path) as o:
        issuer = o.broker.settings.issuer
        ci, stranger = Signer("x", issuer), Signer("x", issuer, ECKey.generate_key("P-256"))
        assert await o.ask(o.token(signer=ci)) == 401
        assert await o.ask(o.token(signer=stranger)) == 401
        assert await o.ask(o.token(iss=CI, sub=f"{CI}/intern")) == 401
        assert await o.ask(o.token(iss="https://evil.example")) == 401
        assert await o.ask(o.token(iss=CLUSTER + "/")) == 401
        assert o.acted == []


async def test_neither_an_own_key_nor_a_federated_one_signs_for_the_other_side(tmp_path):
    async with office(tmp_path) as o:
        own = ECKey.generate_key("P-256")
        o.broker.agents.register("researcher", public(own))
        forged = Signer("x", o.broker.settings.issuer, own)
        assert await o.ask(o.token(signer=forged)) == 401
        assert await o.ask(o.token(iss="researcher", sub="researcher")) == 401


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "https://other.example"},
        {"aud": ["http://127.0.0.1:8321/oauth", "https://other.example"]},
        {"aud": None},
        {"exp": NOW - 30},
        {"exp": NOW + 86400 + 1},
        {"exp": "never"},
        {"exp": 1e400},
        {"iat": NOW + 31},
        {"nbf": NOW + 31},
    ],
)
async def test_a_token_for_somebody_else_or_not_for_now_is_refused(tmp_path, claims):
    async with office(tmp_path) as o:
        assert await o.ask(o.token(**claims)) == 401
        assert await o.ask(o.token()) == 200


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "HS256"},
        {"jwk": public(RSA)},
        {"jku": "https://x"},
        {"typ": "at+jwt"},
        {"kid": "c2"},
    ],
)
async def test_the_header_counts_as_little_as_for_own_assertions(tmp_path, header):
    async with office(tmp_path) as o:
        assert await o.ask(o.token(header)) == 401


async def test_names_that_occur_twice_are_refused(tmp_path):
    async with office(tmp_path) as o:
        claims = json.dumps(o.signer.claims() | WORKLOAD)
        twice = f'{{"sub":"w",{claims[1:]}'
        assert await o.ask(signed("RS256", RSA, '{"alg":"RS256"}', twice)) == 401


async def test_an_own_audience_may_be_set_and_is_then_the_only_one(tmp_path):
    async with office(tmp_path, audience="agents.example") as o:
        assert await o.ask(o.token()) == 401
        assert await o.ask(o.token(aud="agents.example")) == 200


async def test_a_suspended_agent_is_refused_whoever_vouches_for_it(tmp_path):
    async with office(tmp_path) as o:
        o.broker.agents.set_status("researcher", AgentStatus.SUSPENDED)
        assert await o.ask(o.token()) == 401


async def test_new_keys_of_an_issuer_are_taken_into_use_and_a_damaged_file_is_not(tmp_path):
    async with office(tmp_path) as o:
        fresh = ECKey.generate_key("P-256")
        renewed = Signer("x", o.broker.settings.issuer, fresh)
        assert await o.ask(o.token(signer=renewed)) == 401
        (tmp_path / "cluster.json").write_text(json.dumps({"keys": [public(fresh)]}))
        assert await o.ask(o.token(signer=renewed)) == 200
        assert await o.ask(o.token()) == 401
        (tmp_path / "cluster.json").write_text("{")
        assert await o.ask(o.token(signer=renewed)) == 200
        (tmp_path / "cluster.json").unlink()
        assert await o.ask(o.token(signer=renewed)) == 200


@pytest.mark.parametrize("content", [None, "", "{}", '{"keys":[]}', '{"keys":[{"kty":"oct","k":"AA"}]}'])
def test_a_key_set_that_cannot_be_used_stops_the_start(tmp_path, content):
    if content is not None:
        (tmp_path / "jwks.json").write_text(content)
    section = FederationSettings(issuer=CLUSTER, jwks="jwks.json", agents={"a": {"sub": "b"}})
    with pytest.raises(ConfigurationError, match="no key set of an issuer"):
        federation({"cluster": section}, tmp_path)


def test_an_issuer_is_configured_once(tmp_path):
    (tmp_path / "jwks.json").write_text(json.dumps(public(EC)))
    section = FederationSettings(issuer=CLUSTER, jwks="jwks.json", agents={"a": {"sub": "b"}})
    with pytest.raises(ConfigurationError, match="twice"):
        federation({"a": section, "b": section}, tmp_path)


def test_an_agent_without_any_claim_would_be_everybody_and_is_not_accepted():
    with pytest.raises(ValidationError, match="at least 1 item"):
        FederationSettings(issuer=CLUSTER, jwks="jwks.json", agents={"a": {}})
