"""A manifest, handed in by an operator."""

import json
import time

import rfc8785

from broker.identity.attestation import TYPE
from tests.unit.identity.signing import EC, ED, public, signed


def hand_in(deployment, name, *, agent=None, key=ED, verb=(), **claims):
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
    return deployment.run("agent", "attest", name, f"{name}.jws", "--key", "key.jwk", "--json", *verb)


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


def test_a_new_manifest_says_what_it_changes_and_a_check_changes_nothing(deployment):
    deployment.json("agent", "add", "att-5", "--role", "reader", "--owner", "dana")
    first = json.loads(hand_in(deployment, "att-5").stdout)
    assert {one["what"]: one["baseline"] for one in first["differences"]}["version"] is None
    until = int(time.time()) + 500
    changed = {"version": "1.5.0", "prompt_sha256": "e" * 64, "not_after": until}
    checked = hand_in(deployment, "att-5", verb=["--check"], **changed)
    assert checked.returncode == 1
    found = {
        one["what"]: (one["baseline"], one["manifest"]) for one in json.loads(checked.stdout)["differences"]
    }
    assert found.keys() == {"version", "prompt_sha256", "not_after", "digest"}
    assert found["version"] == ("1.4.0", "1.5.0")
    assert deployment.json("agent", "show", "att-5")["manifest"] == first["digest"]
    taken = json.loads(hand_in(deployment, "att-5", **changed).stdout)
    assert (taken["taken"], len(taken["differences"])) == (True, 4)
    again = hand_in(deployment, "att-5", verb=["--check"], **changed)
    assert (again.returncode, json.loads(again.stdout)["differences"]) == (0, [])


def test_without_a_manifest_it_says_how_an_agent_stands_to_its_baseline(deployment):
    deployment.json("agent", "add", "att-6", "--role", "reader", "--owner", "dana")
    assert deployment.json("agent", "attest", "att-6")["digest"] is None
    hand_in(deployment, "att-6")
    deployment.json("agent", "set", "att-6", "--model", "opus")
    assert deployment.run("agent", "attest", "att-6").stdout.splitlines()[0] == (
        "att-6 is at level A0: its record says model `opus`, its manifest `sonnet`"
    )


def test_a_manifest_without_the_key_of_its_signer_is_not_looked_at(deployment):
    deployment.json("agent", "add", "att-7", "--role", "reader", "--owner", "dana")
    hand_in(deployment, "att-7")
    done = deployment.run("agent", "attest", "att-7", "att-7.jws")
    assert (done.returncode, "give the public key: --key FILE" in done.stderr) == (2, True)
