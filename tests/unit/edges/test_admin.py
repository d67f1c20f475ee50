"""What operators see and do, at a whole broker with its state in a file."""

import hashlib
import json
import time
from typing import Any

import anyio
import pytest
import rfc8785
from joserfc.jwk import ECKey, OKPKey

from broker.connector import Line
from broker.edges.admin.mistakes import checked
from broker.edges.admin.shapes import Because, NoQuery, PagedQuery
from broker.errors import InvalidRequest
from broker.identity.attestation import TYPE
from broker.identity.operators import Right
from tests.agency import JWT, told, why
from tests.staff import hire, staffed, system_records
from tests.unit.identity.signing import ED, public, signed


async def test_an_operator_is_told_who_they_are_and_who_else_there_is():
    async with staffed() as (at, olga):
        await hire(at, "dan", Right.READ)
        assert (await olga.get("/me"))["rights"] == sorted(Right)
        everybody = (await olga.get("/operators"))["items"]
        assert [(o["id"], o["rights"], o["revoked_at"]) for o in everybody] == [
            ("dan", ["read"], None),
            ("olga", sorted(Right), None),
        ]


async def test_an_agent_that_is_enrolled_over_http_gets_in_with_the_secret_of_the_answer():
    async with staffed() as (at, olga):
        new = {
            "id": "ada",
            "organisation": "acme",
            "roles": ["worker"],
            "team": "red",
            "attributes": {"stage": "test"},
            "cap_micro_usd": 5_000_000,
        }
        made = await olga.do("POST", "/agents", new)
        assert (made["client_id"], made["agent"]["owner"], made["agent"]["attestation"]) == (
            "ada",
            "olga",
            "A1",
        )
        form = {"grant_type": "client_credentials"}
        answer = await at.http.post("/oauth/token", data=form, auth=("ada", made["client_secret"]))
        assert answer.status_code == 200
        detail = await olga.get("/agents/ada")
        assert {name: detail[name] for name in new} == new
        assert (detail["last_seen"], detail["spent_micro_usd"]) == (None, 0)
        (record,) = await system_records(at, "agent.created")
        assert (record["agent"], record["by"]) == ("ada", "operator:olga")


async def test_an_id_is_taken_once():
    async with staffed() as (_, olga):
        new = {"id": "ada", "roles": ["worker"]}
        await olga.do("POST", "/agents", new)
        assert (await olga.refused("POST", "/agents", new))[:2] == (409, "conflict")


async def test_a_change_names_what_is_different_and_leaves_the_rest():
    async with staffed() as (at, olga):
        await at.enrol("ada")
        await olga.do("PATCH", "/agents/ada", {"team": "red", "purpose": "to read", "attributes": {"a": "b"}})
        changed = await olga.do("PATCH", "/agents/ada", {"team": None, "attributes": {}, "reason": "moved"})
        assert (changed["team"], changed["purpose"], changed["attributes"]) == (None, "to read", {})
        assert changed["roles"] == ["worker"]
        record = (await system_records(at, "agent.changed"))[-1]
        assert (record["by"], record["reason"]) == ("operator:olga", "moved")
        assert (record["before"], record["after"]) == (
            {"attributes": {"a": "b"}, "team": "red"},
            {"attributes": {}, "team": None},
        )


async def test_a_change_that_changes_nothing_is_not_recorded():
    async with staffed() as (at, olga):
        await at.enrol("ada")
        await olga.do("PATCH", "/agents/ada", {"reason": "x"})
        await olga.do("PATCH", "/agents/ada", {"roles": ["worker"]})
        assert await system_records(at, "agent.changed") == []


async def test_the_kill_switch_stops_an_agent_and_what_it_has_in_flight_and_can_be_pressed_twice():
    async with staffed() as (at, olga):
        ada, _ = await at.enrol("ada", "lead"), await at.enrol("researcher")
        begun, told_to_stop = anyio.Event(), anyio.Event()

        async def held(_: Line) -> None:
            begun.set()
            try:
                await anyio.sleep_forever()
            finally:
                told_to_stop.set()

        at.desk.act = held
        answers = []

        async def ask() -> None:
            answers.append(await ada.call("desk__ask"))

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask)
                await begun.wait()
                (flying,) = (await olga.get("/calls/open", agent="ada"))["items"]
                assert (flying["name"], flying["organisation"]) == ("desk__ask", "acme")
                for _ in range(2):
                    stopped = await olga.do("POST", "/agents/ada/suspend", {"reason": "rogue"})
                    assert stopped["status"] == "suspended"
                await told_to_stop.wait()
        assert "suspended while the call ran" in str(answers)
        assert (await olga.get("/calls/open"))["items"] == []
        assert (await ada.form(grant_type="client_credentials")).status_code == 401
        assert (await olga.do("POST", "/agents/ada/resume", {}))["status"] == "active"
        assert (await ada.form(grant_type="client_credentials")).status_code == 200
        assert len(await system_records(at, "agent.changed")) == 2


async def test_a_revoked_agent_stays_revoked():
    async with staffed() as (at, olga):
        await at.enrol("ada")
        await olga.do("POST", "/agents/ada/revoke", {})
        assert (await olga.refused("POST", "/agents/ada/resume", {}))[:2] == (409, "conflict")
        assert (await olga.do("POST", "/agents/ada/revoke", {}))["status"] == "revoked"


async def test_one_call_can_be_stopped_and_the_log_has_who_wanted_it():
    async with staffed() as (at, olga):
        ada, _ = await at.enrol("ada", "lead"), await at.enrol("researcher")
        begun = anyio.Event()

        async def held(_: Line) -> None:
            begun.set()
            await anyio.sleep_forever()

        at.desk.act = held
        answers = []

        async def ask() -> None:
            answers.append(await ada.call("desk__ask"))

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask)
                await begun.wait()
                call = (await olga.get("/calls/open"))["items"][0]["call"]
                assert await olga.do("POST", f"/calls/{call}/stop", {"reason": "loops"}) == {"call": call}
        assert "an operator stopped the call" in str(answers)
        assert (await olga.refused("POST", f"/calls/{call}/stop", {}))[:2] == (404, "unknown_target")
        (wanted,) = await at.records("call.stopped")
        assert (wanted["stopped"], wanted["by"], wanted["reason"]) == (call, "operator:olga", "loops")
        (ended,) = (await olga.get("/calls", organisation="acme"))["items"]
        assert (ended["call"], ended["outcome"]) == (call, "cancelled")
        assert "result" in await ada.call("notes__find")


async def test_a_rotated_secret_works_at_once_and_the_older_one_until_its_grace_is_over():
    async with staffed() as (at, olga):
        ada = await at.enrol("ada")
        form = {"grant_type": "client_credentials"}
        new = await olga.do("POST", "/agents/ada/secrets", {"grace_s": 60})
        for secret in (ada.secret, new["client_secret"]):
            assert (await at.http.post("/oauth/token", data=form, auth=("ada", secret))).status_code == 200
        await olga.do("POST", "/agents/ada/secrets", {"grace_s": 0})
        for secret in (ada.secret, new["client_secret"]):
            assert (await at.http.post("/oauth/token", data=form, auth=("ada", secret))).status_code == 401


async def test_keys_of_an_agent_are_added_listed_and_removed():
    async with staffed() as (at, olga):
        await at.enrol("ada")
        jwk = ECKey.generate_key("P-256").as_dict(private=False)
        added = await olga.do("POST", "/agents/ada/keys", {"jwk": {"kty": "EC", **_public(jwk)}})
        assert added["algorithms"] == ["ES256"]
        assert (await olga.get("/agents/ada/keys"))["items"] == [added]
        again = await olga.refused("POST", "/agents/ada/keys", {"jwk": {"kty": "EC", **_public(jwk)}})
        assert again[:2] == (409, "conflict")
        removed = await olga.do("DELETE", f"/agents/ada/keys/{added['kid']}")
        assert removed == {"agent": "ada", "kid": added["kid"]}
        assert (await olga.get("/agents/ada/keys"))["items"] == []
        assert (await olga.refused("DELETE", f"/agents/ada/keys/{added['kid']}"))[0] == 404


def _public(jwk: dict) -> dict:
    return {name: jwk[name] for name in ("crv", "x", "y") if name in jwk}


@pytest.mark.parametrize(
    "jwk",
    [
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "EC"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        {"kty": "OKP", "crv": "X25519", "x": "A" * 43},
        {"kty": "oct", "k": "AAAA"},
        {"kty": "EC", "crv": "P-256", "x": 7, "y": "AA"},
        {"kty": "EC", "crv": "P-256", "alg": {}, "x": "AA", "y": "AA"},
    ],
    ids=range(7),
)
async def test_what_is_no_public_key_is_refused(jwk: dict):
    async with staffed() as (at, olga):
        await at.enrol("ada")
        assert (await olga.refused("POST", "/agents/ada/keys", {"jwk": jwk}))[:2] == (400, "invalid_request")


async def test_a_private_key_is_refused_and_its_owner_told_to_keep_it():
    async with staffed() as (at, olga):
        await at.enrol("ada")
        jwk = dict(OKPKey.generate_key("Ed25519").as_dict(private=True))
        refused = await olga.refused("POST", "/agents/ada/keys", {"jwk": jwk})
        assert refused[0] == 400
        assert "private key: keep it" in refused[2]
        assert jwk["d"] not in refused[2]


async def test_the_history_of_an_agent_has_who_did_what_in_pages():
    async with staffed() as (at, olga):
        await at.enrol("ada")
        for status in ("suspend", "resume", "suspend"):
            await olga.do("POST", f"/agents/ada/{status}", {})
        seen, cursor = [], None
        while True:
            page = await olga.get(
                "/agents/ada/history", limit=1, **({} if cursor is None else {"cursor": cursor})
            )
            seen += [(item["record"]["type"], item["record"]["by"]) for item in page["items"]]
            cursor = page["next"]
            if cursor is None:
                break
        assert seen == [("agent.created", "test")] + [("agent.changed", "operator:olga")] * 3


async def test_every_agent_is_on_exactly_one_page():
    async with staffed() as (at, olga):
        names = [f"agent-{number}" for number in range(7)]
        for name in names:
            await at.enrol(name, organisation="acme" if name != "agent-3" else "other")
        await olga.do("POST", "/agents/agent-5/suspend", {})

        async def walk(**filters: str) -> list[str]:
            found: list[str] = []
            page = await olga.get("/agents", limit=2, **filters)
            while True:
                assert len(page["items"]) <= 2
                found += [agent["id"] for agent in page["items"]]
                if page["next"] is None:
                    return found
                page = await olga.get("/agents", limit=2, cursor=page["next"], **filters)

        assert await walk() == names
        assert await walk(organisation="acme") == [name for name in names if name != "agent-3"]
        assert await walk(organisation="acme", status="suspended") == ["agent-5"]


async def test_a_delegation_is_shown_in_its_tree_and_ended_from_any_hop_down():
    async with staffed() as (at, olga):
        ada, bo = await at.enrol("ada", "lead"), await at.enrol("bo")
        await at.enrol("cy")
        limits = '[{"type":"io.toolbroker/tools","tools":{"notes__*":{"year":{"constraint_type":"exact","value":1}}}}]'
        first = await ada.delegate("bo", authorization_details=limits, task="invoices")
        own = await bo.exchange(first, subject_token_type=JWT)
        held = own.json()["access_token"]
        await bo.delegate("cy", subject=held)
        top, deep = sorted((await olga.get("/grants"))["items"], key=lambda grant: grant["depth"])
        assert (top["by"], top["to"], top["task"], top["depth"]) == ("ada", "bo", "invoices", 1)
        assert top["limits"] == [
            {"match": "notes__*", "arguments": {"year": {"constraint_type": "exact", "value": 1}}}
        ]
        assert (deep["by"], deep["to"], deep["parent"], deep["stands"]) == ("bo", "cy", top["id"], True)
        tree = await olga.get(f"/grants/{deep['id']}")
        assert ([g["id"] for g in tree["above"]], tree["below"]) == ([top["id"]], [])
        assert [g["id"] for g in (await olga.get(f"/grants/{top['id']}"))["below"]] == [deep["id"]]
        assert [g["to"] for g in (await olga.get("/grants", agent="cy"))["items"]] == ["cy"]
        assert await olga.do("POST", f"/grants/{top['id']}/revoke", {"reason": "over"}) == {
            "grant": top["id"],
            "revoked": 2,
        }
        assert (await olga.do("POST", f"/grants/{top['id']}/revoke", {}))["revoked"] == 0
        assert (await olga.get("/grants"))["items"] == []
        assert [g["stands"] for g in (await olga.get("/grants", standing="all"))["items"]] == [False, False]
        assert "error" in await bo.call("notes__find", {"year": 1}, token=held)
        (record,) = await at.records("delegation.revoked")
        assert (record["by"], record["reason"]) == ("operator:olga", "over")


async def test_calls_are_listed_newest_first_shown_whole_and_put_into_trees():
    async with staffed() as (at, olga):
        ada = await at.enrol("ada", "reader")
        first = told(await ada.call("notes__find"))
        refused = await ada.call("notes__add", {"text": "x"})
        second = told(await ada.call("notes__find", parent_call=first["id"], token=await ada.token()))
        page = await olga.get("/calls", organisation="acme", limit=2)
        assert [call["outcome"] for call in page["items"]] == ["ok", "denied"]
        assert page["items"][0]["call"] == second["id"]
        rest = await olga.get("/calls", organisation="acme", limit=2, cursor=page["next"])
        assert ([call["call"] for call in rest["items"]], rest["items"][0]["cost_micro_usd"]) == (
            [first["id"]],
            100,
        )
        denied = await olga.get("/calls", organisation="acme", outcome="denied", agent="ada")
        assert [call["name"] for call in denied["items"]] == ["notes__add"]
        assert (await olga.get("/calls", organisation="acme", agent="bo"))["items"] == []
        whole = await olga.get(f"/calls/{first['id']}")
        assert [r["record"]["type"] for r in whole["records"]] == ["call.intent", "call.outcome"]
        tree = await olga.get(f"/calls/{first['id']}/tree")
        assert (tree["call"], tree["agent"], tree["outcome"]) == (first["id"], "ada", "ok")
        assert why(refused)


async def test_connectors_show_how_they_are_and_what_they_offer():
    async with staffed() as (_, olga):
        found = {c["name"]: c for c in (await olga.get("/connectors"))["items"]}
        assert sorted(found) == ["desk", "notes", "shelf"]
        assert (found["desk"]["agent"], found["desk"]["state"], found["desk"]["offers"]) == (
            "researcher",
            "ok",
            1,
        )
        notes = await olga.get("/connectors/notes")
        assert {t["name"]: (t["side_effect"], t["price_micro_usd"]) for t in notes["targets"]} == {
            "notes__add": ("writes", 100),
            "notes__find": ("reads", 100),
        }
        assert (await olga.refused("GET", "/connectors/nothing"))[0] == 404


async def test_signing_keys_rotate_once_however_often_the_request_is_repeated():
    async with staffed() as (at, olga):
        token = await (await at.enrol("ada")).token()
        before = (await olga.get("/keys"))["items"]
        assert [key["state"] for key in before] == ["next", "active"]
        kid = before[1]["kid"]
        after = (await olga.do("POST", "/keys/rotate", {"active": kid}))["items"]
        assert [key["state"] for key in after] == ["next", "active", "retiring"]
        assert (after[1]["kid"], after[2]["kid"]) == (before[0]["kid"], kid)
        assert (await olga.refused("POST", "/keys/rotate", {"active": kid}))[:2] == (409, "conflict")
        (record,) = await system_records(at, "keys.rotated")
        assert (record["by"], record["next"]) == ("operator:olga", after[0]["kid"])
        assert (await at.app.pipeline.identity.authenticate(token)).agent.id == "ada"


async def test_a_dropped_signing_key_takes_its_tokens_along():
    async with staffed() as (at, olga):
        ada = await at.enrol("ada")
        token = await ada.token()
        kid = (await olga.get("/keys"))["items"][1]["kid"]
        await olga.do("POST", "/keys/rotate", {"active": kid, "drop": True})
        assert (await ada.request("tools/list", {}, token=token)).status_code == 401
        assert (await ada.request("tools/list", {})).status_code == 200


async def test_the_document_describes_every_operation_with_its_right_and_its_shapes():
    async with staffed() as (_, olga):
        document = await olga.get("/openapi.json")
        assert document["openapi"] == "3.1.0"
        names: list[str] = []
        for path, methods in document["paths"].items():
            for method, described in methods.items():
                names.append(described["operationId"])
                assert described["summary"].endswith("."), path
                assert ("requestBody" in described) == (method in {"post", "patch"}), path
                assert {"400", "401", "403", "404"} < described["responses"].keys()
        assert len(names) == len(set(names))


async def test_an_operator_added_while_the_broker_runs_gets_in_at_once_and_a_clock_decides_when_no_more():
    async with staffed() as (at, _):
        brief = await hire(at, "brief", lives_s=3600)
        assert (await brief.get("/me"))["id"] == "brief"
        over = await hire(at, "over", created_at=int(time.time()) - 3600, lives_s=3600)
        assert (await over.refused("GET", "/me"))[0] == 401


@pytest.mark.parametrize(
    ("shape", "given", "message", "hint"),
    [
        (Because, {"reson": "x"}, "it: `reson` is unknown", "did you mean `reason`?"),
        (Because, {"x": 1}, "it: `x` is unknown", "known: `reason`"),
        (NoQuery, {"x": "1"}, "it: `x` is unknown", "nothing can be given here"),
        (Because, {"reason": "a\tb"}, "it: `reason` has to be one line of visible characters", None),
        (PagedQuery, {"limit": "1e3"}, "it: `limit` must be a whole number", None),
    ],
)
def test_a_mistake_says_what_is_wrong_and_what_was_meant(shape, given, message, hint):
    with pytest.raises(InvalidRequest) as refused:
        checked(shape, given, "it")
    assert (refused.value.message, refused.value.hint) == (message, hint)


def manifest_of(agent: str, key: OKPKey, **claims: Any) -> str:
    whole = {
        "agent": agent,
        "version": "1",
        "model": "sonnet",
        "model_version": "5",
        "owner": "dana",
        "prompt_sha256": "a" * 64,
        "tools_sha256": "b" * 64,
        "code_sha256": "c" * 64,
        "not_after": int(time.time()) + 1000,
    }
    header = json.dumps({"alg": "EdDSA", "typ": TYPE})
    return signed("EdDSA", key, header, rfc8785.dumps(whole | claims).decode())


async def test_a_new_baseline_is_compared_with_the_one_before_and_then_taken():
    async with staffed() as (at, olga):
        await at.enrol("ada", "lead")
        jwk = {name: public(ED)[name] for name in ("kty", "crv", "x")}
        first = {"manifest": manifest_of("ada", ED), "jwk": jwk}
        assert (await olga.do("POST", "/agents/ada/attestation", first))["attestation"] == "A2"
        second = {"manifest": manifest_of("ada", ED, version="2", prompt_sha256="e" * 64), "jwk": jwk}
        checked = await olga.do("POST", "/agents/ada/attestation", second | {"check_only": True})
        what = {one["what"]: (one["baseline"], one["now"]) for one in checked["differences"]}
        assert what["version"] == ("1", "2")
        assert what["prompt_sha256"] == ("a" * 64, "e" * 64)
        assert (await olga.get("/agents/ada"))["manifest"]["version"] == "1"
        taken = await olga.do("POST", "/agents/ada/attestation", second)
        assert (taken["taken"], taken["differences"]) == (True, checked["differences"])
        assert (await olga.get("/agents/ada"))["manifest"]["version"] == "2"
        assert (await system_records(at, "agent.changed"))[-1]["by"] == "operator:olga"
        other = {"manifest": manifest_of("bo", ED), "jwk": jwk}
        assert (await olga.refused("POST", "/agents/ada/attestation", other))[0] == 400
        forged = {"manifest": second["manifest"][:-4] + "AAAA", "jwk": jwk}
        assert (await olga.refused("POST", "/agents/ada/attestation", forged))[0] == 400


async def test_the_tools_that_an_agent_is_offered_are_compared_with_those_that_were_signed():
    async with staffed() as (at, olga):
        ada = await at.enrol("ada", "reader")
        listed = (await ada.request("tools/list", {})).json()["result"]["tools"]
        assert [tool["name"] for tool in listed] == ["notes__find"]
        names = [[tool["name"], tool["inputSchema"]] for tool in listed]
        digest = hashlib.sha256(rfc8785.dumps(names)).hexdigest()
        before = await olga.get("/agents/ada/attestation")
        assert (before["tools_offered"], before["tools_declared"], before["tools_differ"]) == (
            digest,
            None,
            False,
        )
        jwk = {name: public(ED)[name] for name in ("kty", "crv", "x")}
        body = {"manifest": manifest_of("ada", ED, tools_sha256=digest), "jwk": jwk}
        await olga.do("POST", "/agents/ada/attestation", body)
        assert (await olga.get("/agents/ada/attestation"))["tools_differ"] is False
        await olga.do("PATCH", "/agents/ada", {"roles": ["lead"]})
        now = await olga.get("/agents/ada/attestation")
        assert (now["tools_differ"], now["attestation"], now["drift"]) == (True, "A2", None)
