"""A manifest, handed in by an operator."""

import json
import time

import rfc8785

from broker.identity.attestation import TYPE
from tests.unit.identity.signing import EC, ED, public, signed


def hand_in(deployment, name, *, agent=None, key=ED, **claims):
    whole = {
        "agent": agent or name,
        "version": "1.4.0",
        "model": "sonnet",
        "model_version": "5",
        "owner": "dana",
        "prompt_sha256": "a" * 64,
        "tools_sha256": "b" * 64,
        "code_sha256": "c" * 64,
        "not_after": int(time.time()) + 1000,
    } | claims
    header = json.dumps({"alg": "EdDSA", "typ": TYPE})
    (deployment.folder / f"{name}.jws").write_text(
        signed("EdDSA", ED, header, rfc8785.dumps(whole).decode()) + "\n"
    )
    (deployment.folder / "key.jwk").write_text(json.dumps(public(key)))
    return deployment.run("agent", "attest", name, f"{name}.jws", "--key", "key.jwk", "--json")


def test_a_signed_manifest_is_shown_and_recorded(deployment):
    deployment.json("agent", "add", "att-1", "--role", "reader", "--owner", "dana")
    assert deployment.json("agent", "show", "att-1")["attestation"] == "A1"
    taken = json.loads(hand_in(deployment, "att-1").stdout)
    assert taken["attestation"] == "A2"
    shown = deployment.json("agent", "show", "att-1")
    assert (shown["attestation"], shown["model"], shown["manifest"]) == ("A2", "sonnet", taken["digest"])
    last = deployment.json("agent", "history", "att-1")[-1]
    assert last["after"]["manifest"]["kid"] == taken["kid"]


def test_a_contradicted_manifest_takes_the_level_away(deployment):
    deployment.json("agent", "add", "att-2", "--role", "reader", "--owner", "dana")
    hand_in(deployment, "att-2")
    deployment.json("agent", "set", "att-2", "--model", "opus")
    assert deployment.json("agent", "show", "att-2")["attestation"] == "A0"


def test_a_manifest_that_does_not_count_changes_nothing(deployment):
    deployment.json("agent", "add", "att-3", "--role", "reader", "--owner", "dana")
    for done in (
        hand_in(deployment, "att-3", key=EC),
        hand_in(deployment, "att-3", agent="att-1"),
        hand_in(deployment, "att-3", owner="eve"),
        hand_in(deployment, "att-3", not_after=1),
    ):
        assert done.returncode == 2
        assert json.loads(done.stdout)["error"]["code"] == "invalid_request"
    assert len(deployment.json("agent", "history", "att-3")) == 1


def test_a_private_key_is_sent_back(deployment):
    deployment.json("agent", "add", "att-4", "--role", "reader", "--owner", "dana")
    hand_in(deployment, "att-4")
    (deployment.folder / "key.jwk").write_text(json.dumps(ED.as_dict(private=True)))
    done = deployment.run("agent", "attest", "att-4", "att-4.jws", "--key", "key.jwk")
    assert done.returncode == 2
    assert "this is a private key" in done.stderr
