"""Manifests that must not count: forged, altered, borrowed, ended, or written in two ways."""

import base64
import json

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import InvalidRequest
from broker.identity.attestation import LONGEST_S, TYPE, attested, level_of, verified_manifest
from broker.identity.jwks import read_key
from broker.model import Agent, AgentId, Attestation, OrganisationId
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
