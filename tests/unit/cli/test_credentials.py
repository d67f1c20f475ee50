"""Secrets, keys of agents and keys of the broker, from the command line beside a running broker."""

import json

import pytest
from joserfc.jwk import ECKey, RSAKey

from broker.edges.cli.durations import seconds
from broker.errors import InvalidRequest

KEY = ECKey.generate_key("P-256")


def token(deployment, name, secret):
    done = deployment.run(
        "token", "--url", deployment.url, "--client-id", name, env={"BROKER_CLIENT_SECRET": secret}
    )
    return done.returncode


def test_after_a_rotation_both_secrets_work_and_without_grace_only_the_new_one(deployment):
    first = deployment.json("agent", "add", "rot-1", "--role", "reader")["client_secret"]
    second = deployment.json("agent", "rotate", "rot-1", "--grace", "1h")["client_secret"]
    assert len({first, second}) == 2
    assert [token(deployment, "rot-1", secret) for secret in (first, second)] == [0, 0]
    third = deployment.json("agent", "rotate", "rot-1", "--grace", "0")["client_secret"]
    assert [token(deployment, "rot-1", secret) for secret in (first, second, third)] == [4, 4, 0]


def test_a_rotation_says_once_what_the_secret_is_and_until_when_the_old_ones_work(deployment):
    deployment.json("agent", "add", "rot-2", "--role", "reader")
    done = deployment.run("agent", "rotate", "rot-2")
    assert "client secret  bk_" in done.stdout
    assert "not shown again" in done.stderr
    assert "older secrets are refused from" in done.stderr


def test_a_rotated_secret_can_go_to_a_file_that_only_its_owner_reads(deployment, tmp_path):
    deployment.json("agent", "add", "rot-3", "--role", "reader")
    file = tmp_path / "secret"
    done = deployment.run("agent", "rotate", "rot-3", "--secret-file", str(file))
    assert "bk_" not in done.stdout + done.stderr
    assert file.stat().st_mode & 0o777 == 0o600
    assert token(deployment, "rot-3", file.read_text().strip()) == 0
    again = deployment.run("agent", "rotate", "rot-3", "--secret-file", str(file))
    assert (again.returncode, "exists already" in again.stderr) == (2, True)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("agent", "rotate", "nobody"), 5),
        (("agent", "rotate", "olga", "--grace", "soon"), 2),
        (("agent", "key", "list", "nobody"), 5),
        (("agent", "key", "remove", "olga", "x"), 5),
        (("agent", "key", "add", "olga", "--jwk", "/nonexistent"), 2),
        (("agent", "key", "add", "olga"), 2),
        (("agent", "key", "add", "olga", "--jwk", "-", "--jwks-uri", "https://a.example/jwks"), 2),
        (("agent", "key", "add", "olga", "--jwks-uri", "http://a.example/jwks"), 2),
        (("agent", "key", "add", "olga", "--jwks-uri", "https://10.0.0.1/jwks"), 2),
        (("agent", "key", "add", "nobody", "--jwks-uri", "https://a.example/jwks"), 5),
        (("agent", "key", "remove", "olga", "https://a.example/jwks"), 5),
    ],
)
def test_what_cannot_be_done_ends_with_its_code_and_a_sentence(deployment, words, code):
    done = deployment.run(*words)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.strip()


def test_keys_of_an_agent_are_added_from_a_file_or_a_pipe_listed_and_removed(deployment, tmp_path):
    deployment.json("agent", "add", "key-1", "--role", "reader")
    file = tmp_path / "key.jwk"
    file.write_text(json.dumps(KEY.as_dict(private=False)))
    assert deployment.json("agent", "key", "add", "key-1", "--jwk", str(file))["kids"] == [KEY.thumbprint()]
    rsa = RSAKey.generate_key(2048)
    both = json.dumps({"keys": [rsa.as_dict(private=False)]})
    assert deployment.run("agent", "key", "add", "key-1", "--jwk", "-", given=both).returncode == 0
    listed = {key["kid"]: key["algorithms"] for key in deployment.json("agent", "key", "list", "key-1")}
    assert listed == {KEY.thumbprint(): ["ES256"], rsa.thumbprint(): ["PS256", "RS256"]}
    deployment.json("agent", "key", "remove", "key-1", KEY.thumbprint())
    assert [key["kid"] for key in deployment.json("agent", "key", "list", "key-1")] == [rsa.thumbprint()]


@pytest.mark.parametrize("start", ["-", "--", "-h"])
def test_a_key_whose_thumbprint_looks_like_an_option_is_removed_like_any_other(deployment, start):
    kid = start + "A" * (43 - len(start))
    for args in ((kid,), ("--json", kid), (kid, "--json"), ("--", kid)):
        done = deployment.run("agent", "key", "remove", "nobody", *args)
        assert done.returncode == 5, done.stderr
        assert kid in done.stderr + done.stdout


def test_where_an_agent_publishes_its_keys_is_noted_listed_and_removed(deployment):
    url = "https://agent.example/jwks.json"
    deployment.json("agent", "add", "key-2", "--role", "reader")
    assert deployment.json("agent", "key", "add", "key-2", "--jwks-uri", url)["jwks_uri"] == url
    assert [key["kid"] for key in deployment.json("agent", "key", "list", "key-2")] == [url]
    deployment.json("agent", "key", "remove", "key-2", url)
    assert deployment.json("agent", "key", "list", "key-2") == []


def test_a_private_key_is_refused_and_not_repeated(deployment):
    private = KEY.as_dict(private=True)
    done = deployment.run("agent", "key", "add", "olga", "--jwk", "-", given=json.dumps(private))
    assert (done.returncode, done.stdout) == (2, "")
    assert "private key" in done.stderr
    assert private["d"] not in done.stderr


def test_signing_keys_are_rotated_beside_a_running_broker_and_its_tokens_stay_good(deployment):
    before = deployment.json("keys", "list")
    assert [key["state"] for key in before] == ["next", "active"]
    secret = deployment.json("agent", "add", "sign-1", "--role", "reader")["client_secret"]
    assert token(deployment, "sign-1", secret) == 0
    after = deployment.json("keys", "rotate")
    assert [key["state"] for key in after] == ["next", "active", "retiring"]
    assert after[1]["kid"] == before[0]["kid"]
    assert after[2]["kid"] == before[1]["kid"]
    assert token(deployment, "sign-1", secret) == 0


@pytest.mark.parametrize(
    ("text", "length"), [("0", 0), ("90s", 90), ("30m", 1800), ("24h", 86400), ("7d", 604800), ("5", 5)]
)
def test_a_duration_is_a_number_and_a_unit(text, length):
    assert seconds(text) == length


@pytest.mark.parametrize("text", ["", "h", "1.5h", "-1h", "1 h", "1w", "1h30m", "9" * 10])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(InvalidRequest, match="is not a duration"):
        seconds(text)
