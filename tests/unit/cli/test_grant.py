"""Delegations are listed, shown in their tree, and ended from any hop down."""

import time
from dataclasses import replace

import anyio
import pytest

from broker.grants import Grants
from broker.model import AgentId, Grant, GrantId, MicroUSD, OrganisationId, ToolLimit
from broker.storage.sqlite import open_store

NOW = int(time.time())
TOP = Grant(
    id=GrantId("a1b2"),
    parent=None,
    organisation=OrganisationId("default"),
    subject=AgentId("gina"),
    by=AgentId("gina"),
    to=AgentId("gus"),
    depth=1,
    max_depth=4,
    transaction="txn",
    expires_at=NOW + 3600,
    created_at=NOW,
    task="invoices",
    limits=(ToolLimit("echo__*"),),
    cap_micro_usd=MicroUSD(20_000),
    max_calls=3,
)
BELOW = replace(
    TOP,
    id=GrantId("c3d4"),
    parent=TOP.id,
    by=AgentId("gus"),
    to=AgentId("gwen"),
    depth=2,
    created_at=NOW + 1,
    task=None,
    limits=None,
    cap_micro_usd=None,
    max_calls=None,
)
EXPIRED = replace(TOP, id=GrantId("e5f6"), to=AgentId("greg"), expires_at=NOW - 1)


@pytest.fixture(scope="module")
def delegated(deployment):
    async def delegate() -> None:
        path = deployment.folder / ".broker" / "broker.db"
        async with open_store(path, deployment="broker.local", serve=False) as store:
            for grant in (TOP, BELOW, EXPIRED):
                await Grants(store.grants).delegate(grant, "token")

    anyio.run(delegate)
    return deployment


def test_delegations_are_shown_revoked_with_all_below_and_still_told_of(delegated):
    listed = delegated.json("grant", "list", "--agent", "gus")
    assert [(row["grant"], row["status"]) for row in listed] == [("c3d4", "stands"), ("a1b2", "stands")]
    shown = delegated.json("grant", "show", "c3d4")
    assert ([g["grant"] for g in shown["above"]], shown["below"]) == (["a1b2"], [])
    assert shown["above"][0]["limits"] == [{"match": "echo__*", "arguments": {}}]
    assert delegated.run("grant", "show", "a1b2").stdout.splitlines() == [
        "* gina → gus  stands  (tools echo__*; at most 0.02 USD; 3 calls)  task “invoices”  a1b2",
        "    gus → gwen  stands  c3d4",
    ]
    assert delegated.json("grant", "revoke", "a1b2", "--reason", "over") == {"grant": "a1b2", "revoked": 2}
    assert "revoked already" in delegated.run("grant", "revoke", "a1b2").stdout
    assert delegated.json("grant", "list", "--agent", "gus") == []
    ended = delegated.json("grant", "list", "--agent", "gus", "--all")
    assert [row["status"] for row in ended] == ["revoked", "revoked"]


def test_what_has_expired_does_not_stand(delegated):
    assert delegated.json("grant", "list", "--agent", "greg") == []
    (row,) = delegated.json("grant", "list", "--agent", "greg", "--all", "--last", "1")
    assert (row["grant"], row["status"]) == ("e5f6", "expired")


@pytest.mark.parametrize("verb", ["show", "revoke"])
def test_a_delegation_that_is_not_there_is_said_to_be_so(deployment, verb):
    done = deployment.run("grant", verb, "nothing")
    assert (done.returncode, "there is no delegation" in done.stderr) == (5, True)
