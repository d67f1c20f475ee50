"""Level A3 is for who was vouched for when it asked for its token: nobody else gets there, and nothing keeps it there."""

import json
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from broker.errors import Unauthenticated
from broker.identity.assertions import ASSERTION_TYPE
from broker.identity.attestation import attested, standing, verified_manifest
from broker.identity.authenticator import access_tokens
from broker.identity.jwks import read_key
from broker.identity.tokens import AccessTokens, Kind
from broker.model import Agent, AgentId, AgentStatus, Attestation, OrganisationId
from broker.settings import FederationSettings
from tests.agency import EXCHANGE, JWT, Agency, Member, agency, why
from tests.attacks.test_attestation import CLAIMS, jws
from tests.unit.identity.signing import EC, RSA, public, signed

CLUSTER = "https://kubernetes.default.svc"
RULE = """@id("vouched-only")
@reason("writing needs an agent that was vouched for")
forbid (principal, action == Action::"call", resource)
when { resource.side_effect == "writes" && context.attestation < 3 };
"""


@dataclass
class Cluster:
    """A platform that vouches for `ada`, and the broker that believes it."""

    at: Agency
    ada: Member

    async def form(self, **more: str) -> dict[str, Any]:
        """What `ada` gets at the token endpoint with what the platform has given it."""
        now = int(time.time())
        claims = {"iss": CLUSTER, "sub": "ada-workload", "aud": self.at.app.settings.issuer}
        token = signed(
            "RS256", RSA, json.dumps({"alg": "RS256"}), json.dumps(claims | {"iat": now, "exp": now + 600})
        )
        form = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": token}
        answer = await self.at.http.post(
            "/oauth/token", data={"grant_type": "client_credentials"} | form | more
        )
        return answer.json() | {"status": answer.status_code}

    async def token(self) -> str:
        return (await self.form())["access_token"]

    async def refusal(self, token: str, **how: Any) -> str:
        """The rule that refuses `ada` to write with a token; empty if none does."""
        return why(await self.ada.call("notes__add", {"text": "a"}, token=token, **how))

    async def change(self, **facts: Any) -> None:
        """What an operator does to its record."""
        await self.at.app.journal.change_agent(AgentId("ada"), lambda ada: replace(ada, **facts), by="dana")

    async def attest(self, not_after: int) -> None:
        whole = CLAIMS | {"agent": "ada", "not_after": not_after}
        manifest = verified_manifest(jws(whole), read_key(public(EC)), time.time())
        await self.at.app.journal.change_agent(AgentId("ada"), lambda ada: attested(ada, manifest), by="dana")


@asynccontextmanager
async def cluster(folder: Path) -> AsyncGenerator[Cluster]:
    keys = folder / "cluster.json"
    keys.write_text(json.dumps({"keys": [public(RSA)]}))
    issuer = FederationSettings(issuer=CLUSTER, jwks=keys, agents={"ada": {"sub": "ada-workload"}})
    async with agency({"rules/vouched.cedar": RULE}, federation={"cluster": issuer}) as at:
        yield Cluster(at, await at.enrol("ada", "lead"))


async def test_a_workload_that_its_platform_vouches_for_is_at_a3_and_its_calls_say_so(tmp_path):
    async with cluster(tmp_path) as c:
        assert await c.refusal(await c.token()) == ""
        assert (await c.at.records("auth.token_issued"))[-1]["issuer"] == CLUSTER
        intent = (await c.at.records("call.intent"))[-1]
        assert intent["decision"]["situation"]["actors"] == [{"roles": ["lead"], "level": 3}]


async def test_who_shows_a_secret_of_the_same_agent_is_not_at_a3(tmp_path):
    async with cluster(tmp_path) as c:
        assert await c.refusal(await c.ada.token()) == "vouched-only"
        assert await c.refusal(await c.token()) == ""
        assert await c.refusal(await c.ada.token()) == "vouched-only"


async def test_a_manifest_that_has_ended_or_is_contradicted_outweighs_the_platform_at_once(tmp_path):
    async with cluster(tmp_path) as c:
        token = await c.token()
        await c.attest(int(time.time()) + 1000)
        assert await c.refusal(token) == ""
        await c.change(model="something else")
        assert await c.refusal(token) == "vouched-only"
        await c.change(model=CLAIMS["model"])
        assert await c.refusal(token) == ""
        await c.change(drift="it was seen to be something else")
        for told in (token, await c.token()):
            assert await c.refusal(told) == "vouched-only"
        await c.attest(int(time.time()) + 2000)
        assert await c.refusal(token) == ""
        manifest = (await c.at.app.store.agents.agent(AgentId("ada"))).manifest
        await c.change(manifest=replace(manifest, not_after=int(time.time()) - 1))
        assert await c.refusal(token) == "vouched-only"


async def test_a_suspended_agent_that_is_vouched_for_is_refused_like_any_other(tmp_path):
    async with cluster(tmp_path) as c:
        token = await c.token()
        await c.at.set_status("ada", AgentStatus.SUSPENDED)
        refused = await c.ada.request("tools/list", {}, token=token)
        assert refused.status_code == 401
        assert (await c.form())["error"] == "invalid_client"


async def test_being_vouched_for_is_neither_handed_on_nor_taken_from_who_acts_for_another(tmp_path):
    async with cluster(tmp_path) as c:
        bo = await c.at.enrol("bo", "worker")
        vouched = await c.token()
        handed = (
            await c.form(
                grant_type=EXCHANGE,
                subject_token=vouched,
                subject_token_type="urn:ietf:params:oauth:token-type:access_token",
                requested_actor="bo",
            )
        )["access_token"]
        assert why(await bo.call("notes__add", {"text": "b"}, delegation=handed)) == "vouched-only"
        given = await bo.delegate("ada")
        assert await c.refusal(vouched, delegation=given) == "vouched-only"
        taken = await c.form(grant_type=EXCHANGE, subject_token=given, subject_token_type=JWT)
        assert await c.refusal(taken["access_token"]) == "vouched-only"
        levels = [
            [actor["level"] for actor in record["decision"]["situation"]["actors"]]
            for record in await c.at.records("call.denied")
        ]
        assert levels == [[1, 1], [3, 1], [3, 1]]


@pytest.mark.parametrize("claim", [False, 1, "true", None, {}], ids=repr)
async def test_a_token_that_says_in_any_other_way_that_its_client_is_vouched_for_is_none(
    tmp_path, claim, monkeypatch
):
    async with cluster(tmp_path) as c:
        tokens = access_tokens(c.at.app.settings, c.at.app.keys, time.time)
        wire = AccessTokens._wire
        monkeypatch.setattr(
            AccessTokens, "_wire", lambda self, claims: wire(self, claims) | {"vouched": claim}
        )
        ada = await c.at.app.store.agents.agent(AgentId("ada"))
        forged = tokens.mint(ada, frozenset({"mcp:tools"})).compact
        with pytest.raises(Unauthenticated):
            tokens.verify(forged, Kind.ACCESS)


@pytest.mark.parametrize("level", [Attestation.SELF_DECLARED, Attestation.REGISTERED, Attestation.SIGNED])
def test_nobody_is_raised_who_was_not_vouched_for_and_nobody_is_that_is_contradicted(level):
    agent = Agent(AgentId("ada"), OrganisationId("acme"), frozenset(), attestation=level)
    assert standing(agent, vouched=False) is agent
    raised = standing(agent, vouched=True).attestation
    assert raised is (level if level is Attestation.SELF_DECLARED else Attestation.VOUCHED)
