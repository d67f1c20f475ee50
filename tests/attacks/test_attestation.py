"""Manifests that must not count: forged, altered, borrowed, ended, or written in two ways."""

import base64
import hashlib
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx2
import orjson
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from broker.audit.interface import Filter
from broker.client import Broker
from broker.errors import InvalidRequest, Unauthenticated
from broker.identity.assertions import ASSERTION_TYPE
from broker.identity.attestation import LONGEST_S, TYPE, attested, level_of, verified_manifest
from broker.identity.clients import digest as secret_digest
from broker.identity.clients import new_secret
from broker.identity.jwks import read_key
from broker.model import Agent, AgentId, Attestation, OrganisationId, new_call_id
from broker.policy.load import shipped_policies
from broker.settings import TokenSettings
from tests.agency import Agency, Member, agency, why
from tests.unit.identity.signing import EC, ED, RSA, encode, public, signed, with_secret

NOW = 1_800_000_000
KEYS = {"ES256": EC, "Ed25519": ED, "EdDSA": ED, "RS256": RSA, "PS256": RSA}
CLAIMS = {
    "agent": "researcher",
    "version": "1.4.0",
    "model": "sonnet",
    "model_version": "5",
    "owner": "dana",
    "prompt_sha256": "a" * 64,
    "tools_sha256": "b" * 64,
    "code_sha256": "c" * 64,
    "not_after": NOW + 1000,
}
RESEARCHER = Agent(AgentId("researcher"), OrganisationId("acme"), frozenset())


def jws(claims=CLAIMS, *, algorithm="ES256", key=None, text=None, **header) -> str:
    top = {"alg": algorithm, "typ": TYPE, **header}
    body = rfc8785.dumps(claims).decode() if text is None else text
    return signed(algorithm, key or KEYS[algorithm], json.dumps(top), body)


def taken(compact: str, key=EC, now: float = NOW):
    return verified_manifest(compact, read_key(public(key)), now)


def refused(compact: str, match: str, key=EC, now: float = NOW) -> None:
    with pytest.raises(InvalidRequest, match=match):
        taken(compact, key, now)


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_manifest_that_its_owner_signed_counts(algorithm):
    manifest = taken(jws(algorithm=algorithm), KEYS[algorithm])
    agent = attested(RESEARCHER, manifest)
    assert (agent.model, agent.model_version, agent.owner) == ("sonnet", "5", "dana")
    assert level_of(agent, NOW) == (Attestation.SIGNED, "")


def test_without_a_signature():
    head = encode(json.dumps({"alg": "none", "typ": TYPE}).encode())
    refused(f"{head}.{encode(rfc8785.dumps(CLAIMS))}.AA", "alg has to be")


def test_with_the_public_key_as_a_shared_secret():
    pem = json.dumps(public(EC)).encode()
    refused(with_secret(pem, CLAIMS), "its header has to hold|alg has to be")


def test_signed_by_somebody_else():
    refused(jws(algorithm="Ed25519"), "not signed with this key")
    refused(jws(algorithm="ES256", key=type(EC).generate_key("P-256")), "not signed with this key")


def test_with_another_algorithm_of_the_same_key_than_it_is_pinned_to():
    key = read_key(public(RSA) | {"alg": "PS256"})
    with pytest.raises(InvalidRequest, match="not signed with this key"):
        verified_manifest(jws(algorithm="RS256"), key, NOW)


def test_with_one_claim_altered_after_signing():
    head, body, signature = jws().split(".")
    altered = base64.urlsafe_b64decode(body + "==").replace(b"sonnet", b"opusss")
    refused(f"{head}.{encode(altered)}.{signature}", "not signed with this key")


@pytest.mark.parametrize(
    "header",
    [
        {"jwk": public(EC)},
        {"jku": "https://evil.example/keys"},
        {"x5c": ["AA"]},
        {"crit": ["b64"], "b64": False},
        {"typ": "JWT"},
        {"typ": "client-authentication+jwt"},
        {"typ": "at+jwt"},
    ],
)
def test_with_a_header_that_brings_its_own_key_or_says_it_is_something_else(header):
    refused(jws(**header), "its header has to hold")


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(CLAIMS),
        json.dumps(CLAIMS, separators=(",", ":")),
        rfc8785.dumps(CLAIMS).decode().replace("sonnet", "\\u0073onnet"),
        rfc8785.dumps(CLAIMS).decode() + " ",
    ],
)
def test_written_in_another_way_than_the_canonical_one(text):
    refused(jws(text=text), "not canonical JSON")


def test_with_a_claim_given_twice():
    refused(jws(text=rfc8785.dumps(CLAIMS).decode().replace("{", '{"agent":"planner",', 1)), "occurs twice")


@pytest.mark.parametrize("claim", CLAIMS)
def test_with_a_claim_left_out_or_of_another_type(claim):
    refused(jws({k: v for k, v in CLAIMS.items() if k != claim}), "missing or unknown")
    for odd in (None, True, [], {}, "", 1.5, "x" * 300):
        refused(jws(CLAIMS | {claim: odd}), "is not a")


def test_with_a_claim_that_nobody_knows():
    refused(jws(CLAIMS | {"admin": True}), "missing or unknown: admin")


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1e400", "-1e400", "1e3", "18000000000000000000000"])
def test_with_an_end_that_no_clock_reaches(text):
    body = rfc8785.dumps(CLAIMS).decode().replace(str(CLAIMS["not_after"]), text)
    refused(jws(text=body), "does not count")


@pytest.mark.parametrize("not_after", [NOW, NOW - 1, 0, -1, NOW + LONGEST_S + 1])
def test_that_has_ended_or_lasts_too_long(not_after):
    refused(jws(CLAIMS | {"not_after": not_after}), "not_after")


@pytest.mark.parametrize("digest", ["A" * 64, "a" * 63, "g" * 64, "a" * 64 + "\n"])
def test_with_a_digest_that_is_none(digest):
    refused(jws(CLAIMS | {"prompt_sha256": digest}), "SHA-256")


def test_with_half_a_character():
    body = rfc8785.dumps(CLAIMS).decode().replace("sonnet", "\\ud800")
    refused(jws(text=body), "does not count")


def test_of_another_agent():
    with pytest.raises(InvalidRequest, match="manifest of `planner`"):
        attested(RESEARCHER, taken(jws(CLAIMS | {"agent": "planner"})))


def test_that_says_another_model_than_the_record():
    opus = Agent(AgentId("researcher"), OrganisationId("acme"), frozenset(), model="opus")
    with pytest.raises(InvalidRequest, match="record says model `opus`, its manifest `sonnet`"):
        attested(opus, taken(jws()))


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_made_of_noise(noise):
    refused(noise.decode("latin-1"), "does not count")


@given(
    st.dictionaries(
        st.sampled_from(sorted(CLAIMS)), st.text(max_size=20) | st.integers(-(2**53) + 1, 2**53 - 1)
    )
)
def test_canonical_here_is_canonical_everywhere(some):
    claims = CLAIMS | some
    try:
        body = rfc8785.dumps(claims).decode()
    except (UnicodeEncodeError, rfc8785.CanonicalizationError):
        return
    said = ""
    try:
        taken(jws(text=body))
    except InvalidRequest as error:
        said = error.message
    assert "canonical" not in said


@asynccontextmanager
async def attested_agency(
    files: Mapping[str, str] | None = None, **tokens: Any
) -> AsyncGenerator[tuple[Agency, Callable[..., Awaitable[Any]], str]]:
    """A broker with `ada`, who signs with a key and has a manifest; how she asks for a token; its digest."""
    async with agency(files, tokens=TokenSettings(**tokens)) as at:
        await at.enrol("ada", "lead")
        await at.app.credentials.add_key(AgentId("ada"), read_key(public(ED)).stored(1), by="test")
        digest = await rebase(at, int(time.time()) + 1000)

        async def ask(**claims: Any) -> Any:
            now = int(time.time())
            whole = {
                "iss": "ada",
                "sub": "ada",
                "aud": at.app.settings.issuer,
                "iat": now,
                "exp": now + 60,
                "jti": new_call_id(),
            }
            form = {
                "grant_type": "client_credentials",
                "client_assertion_type": ASSERTION_TYPE,
                "client_assertion": signed(
                    "EdDSA", ED, json.dumps({"alg": "EdDSA"}), json.dumps(whole | claims)
                ),
            }
            return await at.http.post("/oauth/token", data=form)

        yield at, ask, digest


async def rebase(at: Agency, not_after: int, **claims: Any) -> str:
    """Give `ada` a manifest; its digest."""
    whole = CLAIMS | {"agent": "ada", "not_after": not_after} | claims
    manifest = verified_manifest(jws(whole), read_key(public(EC)), time.time())
    await at.app.journal.change_agent(AgentId("ada"), lambda agent: attested(agent, manifest), by="dana")
    return manifest.digest


async def level(at: Agency) -> tuple[Attestation, str | None]:
    agent = await at.app.store.agents.agent(AgentId("ada"))
    return agent.attestation, agent.drift


LIES = {
    "another manifest": {"manifest_sha256": "f" * 64},
    "another model": {"agent_model": "opus"},
    "another version of the model": {"agent_model_version": "4"},
    "no text": {"manifest_sha256": ["a"]},
    "nothing": {"manifest_sha256": None},
    "the digest in capitals": {"manifest_sha256": "CAPITALS"},
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
async def test_an_agent_that_says_it_is_something_else_than_was_signed_gets_no_token(lie):
    async with attested_agency() as (at, ask, digest):
        said = {"manifest_sha256": digest, "agent_model": "sonnet", "agent_model_version": "5"}
        assert (await ask(**said)).status_code == 200
        if lie == LIES["the digest in capitals"]:
            lie = {"manifest_sha256": digest.upper()}
        refused, stranger = await ask(**said | lie), await ask(aud="https://elsewhere.example")
        assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
        assert (refused.content, dict(refused.headers)) == (stranger.content, dict(stranger.headers))
        records = await at.records("auth.token_refused")
        assert [record.get("reason", "") != "" for record in records] == [True, False]
        assert next(iter(lie)) in records[0]["reason"]
        assert (await level(at))[0] is Attestation.SIGNED


async def test_where_it_is_narrowed_the_level_falls_and_stays_down_until_an_operator_has_looked():
    async with attested_agency(manifest_mismatch="narrow") as (at, ask, digest):
        assert (await ask(manifest_sha256=digest)).status_code == 200
        assert await level(at) == (Attestation.SIGNED, None)
        token = (await ask(agent_model="opus")).json()["access_token"]
        assert (
            await at.app.pipeline.identity.authenticate(token)
        ).agent.attestation is Attestation.SELF_DECLARED
        assert await level(at) == (
            Attestation.SELF_DECLARED,
            "it says agent_model `opus`, its manifest `sonnet`",
        )
        await ask(agent_model="opus")
        await ask(manifest_sha256=digest)
        assert (await level(at))[0] is Attestation.SELF_DECLARED
        history = [
            orjson.loads(r.body) async for r in at.app.store.log.records("system", Filter(agent="ada"))
        ]
        assert [record["by"] for record in history if record["type"] == "agent.changed"].count("broker") == 1
        await rebase(at, int(time.time()) + 2000)
        assert await level(at) == (Attestation.SIGNED, None)


async def test_an_ended_manifest_is_worth_nothing_to_the_agent_that_names_it():
    async with attested_agency() as (at, ask, digest):
        ended = int(time.time()) - 1
        await at.app.journal.change_agent(
            AgentId("ada"),
            lambda agent: replace(agent, manifest=replace(agent.manifest, not_after=ended)),
            by="dana",
        )
        assert (await ask(manifest_sha256=digest)).status_code == 401
        assert (await at.records("auth.token_refused"))[0]["reason"] == "its manifest has ended"


async def test_where_it_is_required_nothing_gets_a_token_that_does_not_name_its_manifest():
    async with attested_agency(manifest_required=True) as (at, ask, digest):
        form = {"grant_type": "client_credentials"}
        secret = new_secret()
        now = int(time.time())
        await at.app.credentials.rotate_secret(
            AgentId("ada"), secret_digest(secret), now=now, until=now, by="test"
        )
        assert (await ask(manifest_sha256=digest)).status_code == 200
        assert (await ask()).status_code == 401
        assert (await ask(agent_model="sonnet")).status_code == 401
        assert (await at.http.post("/oauth/token", data=form, auth=("ada", secret))).status_code == 401
        reasons = {record["reason"] for record in await at.records("auth.token_refused")}
        assert reasons == {"it does not say which manifest it runs under"}
        bo = await at.enrol("bo")
        assert (await bo.form(**form)).status_code == 200


async def test_a_stranger_cannot_make_an_agent_drift():
    async with attested_agency(manifest_mismatch="narrow") as (at, ask, _):
        assert (await ask(agent_model="opus", aud="https://elsewhere.example")).status_code == 401
        assert (await ask(agent_model="opus", iss="bo", sub="bo")).status_code == 401
        assert await level(at) == (Attestation.SIGNED, None)


async def test_a_client_with_a_manifest_says_so_by_itself_and_one_with_an_old_one_is_found_out():
    async with attested_agency(manifest_required=True) as (at, _, digest):
        before = jws(CLAIMS | {"agent": "ada", "not_after": int(time.time()) + 500})
        assert digest != hashlib.sha256(before.encode()).hexdigest()
        transport = httpx2.ASGITransport(at.app.asgi)
        key = ED.as_dict(private=True)
        url = at.app.settings.public_url
        async with Broker(url, client_id="ada", private_key=key, manifest=before, transport=transport) as old:
            with pytest.raises(Unauthenticated):
                await old.token()
        now = jws(CLAIMS | {"agent": "ada", "not_after": int(time.time()) + 700})
        manifest = verified_manifest(now, read_key(public(EC)), time.time())
        await at.app.journal.change_agent(AgentId("ada"), lambda agent: attested(agent, manifest), by="dana")
        async with Broker(
            url, client_id="ada", private_key=key, manifest=now, transport=httpx2.ASGITransport(at.app.asgi)
        ) as new:
            assert await new.token()


BY_LEVEL = {
    "roles/lead.yaml": """role: lead
allow:
  - tools: [notes__find]
  - tools: [notes__add]
    when: attestation >= 1
"""
}
BY_DEFAULT = {"rules/defaults.cedar": (shipped_policies() / "rules" / "defaults.cedar").read_text()}


@pytest.mark.parametrize(
    ("files", "rule"),
    [(BY_DEFAULT, "defaults/contradicted-agents-only-read"), (BY_LEVEL, "default")],
    ids=["a rule that is on from the start", "a role that asks for a level"],
)
async def test_an_agent_that_drifts_loses_what_it_might_do_until_an_operator_has_looked(files, rule):
    async with attested_agency(files, manifest_mismatch="narrow") as (at, ask, digest):
        ada = Member(at, "ada", "unused")
        before = (await ask(manifest_sha256=digest)).json()["access_token"]
        assert why(await ada.call("notes__add", {"text": "a"}, token=before)) == ""
        drifted = (await ask(agent_model="opus")).json()["access_token"]
        for token in (before, drifted):
            assert why(await ada.call("notes__add", {"text": "b"}, token=token)) == rule
            assert why(await ada.call("notes__find", {"text": "a"}, token=token)) == ""
        denied = (await at.records("call.denied"))[-1]
        assert denied["decision"]["situation"]["actors"] == [{"roles": ["lead"], "level": 0}]
        await rebase(at, int(time.time()) + 2000)
        assert why(await ada.call("notes__add", {"text": "c"}, token=before)) == ""
