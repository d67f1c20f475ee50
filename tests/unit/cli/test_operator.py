"""Operators are made, seen and ended on the machine of the broker, and nowhere else."""

import json
import stat
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest


def me(deployment, token: str) -> dict:
    headers = {"Authorization": f"Bearer {token}"}
    request = Request(f"{deployment.url}/admin/api/me", headers=headers)  # noqa: S310 - a loopback URL of ours
    with urlopen(request, timeout=10) as answer:  # noqa: S310
        return json.load(answer)


def listed(deployment) -> dict:
    return {row["operator"]: row for row in deployment.json("operator", "list")}


def test_a_new_operator_gets_in_with_the_token_that_is_shown_once(deployment):
    added = deployment.json("operator", "add", "op-1", "--right", "read", "--right", "agents")
    who = me(deployment, added["token"])
    assert (who["id"], who["rights"]) == ("op-1", ["agents", "read"])
    row = listed(deployment)["op-1"]
    assert (row["status"], row["rights"]) == ("active", ["agents", "read"])
    assert added["token"] not in json.dumps(listed(deployment))


def test_a_token_in_a_file_is_read_by_its_owner_alone_and_not_printed(deployment):
    added = deployment.json("operator", "add", "op-2", "--right", "read", "--token-file", "op-2.token")
    file = deployment.folder / "op-2.token"
    assert "token" not in added
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert me(deployment, file.read_text().strip())["id"] == "op-2"


def test_a_renewed_token_replaces_the_old_one_and_a_revoked_operator_is_out_for_good(deployment):
    old = deployment.json("operator", "add", "op-3", "--right", "read", "--expires", "1h")["token"]
    new = deployment.json("operator", "renew", "op-3")["token"]
    assert me(deployment, new)["id"] == "op-3"
    with pytest.raises(HTTPError, match="401"):
        me(deployment, old)
    assert deployment.json("operator", "revoke", "op-3", "--reason", "left") == {
        "operator": "op-3",
        "changed": True,
    }
    with pytest.raises(HTTPError, match="401"):
        me(deployment, new)
    assert deployment.json("operator", "revoke", "op-3")["changed"] is False
    assert listed(deployment)["op-3"]["status"] == "revoked"
    assert deployment.run("operator", "renew", "op-3").returncode == 2
    assert deployment.run("operator", "add", "op-3", "--right", "read").returncode == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["add", "op-4", "--right", "everything"], "there is no right `everything`"),
        (["add", "Op 4", "--right", "read"], "cannot be a name"),
        (["add", "op-4", "--right", "read", "--expires", "0"], "a token cannot live for `0`"),
        (["add", "op-4", "--right", "read", "--expires", "367d"], "hint: at most 366d"),
        (["add", "op-4"], "Missing option '--right'"),
    ],
    ids=range(5),
)
def test_what_cannot_be_an_operator_is_not_added(deployment, words, said):
    done = deployment.run("operator", *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "op-4" not in listed(deployment)


def test_nobody_cannot_be_revoked(deployment):
    done = deployment.run("operator", "revoke", "nobody-here")
    assert (done.returncode, "there is no operator `nobody-here`" in done.stderr) == (5, True)
