"""What a client says of itself is written down as said, and nothing comes of it."""

import orjson
import pytest

from broker.edges.cli.records import story
from broker.edges.records import call_records
from tests.agency import Agency, Member, agency, told
from tests.unit.edges.house import envelope, modern

CLIENT = "io.modelcontextprotocol/clientInfo"


async def called(at: Agency, ada: Member, info: object, **meta: object) -> dict[str, object]:
    """The claims in the intent of a call with such a `clientInfo`, and what `broker calls show` says."""
    own = envelope(**{CLIENT: info, **{f"io.toolbroker/{key}": value for key, value in meta.items()}})
    params = {"name": "notes__find", "arguments": {}}
    body, headers = modern("tools/call", params, token=await ada.token(), meta=own)
    answer = (await at.http.post("/mcp", content=orjson.dumps(body), headers=headers)).json()
    records = await call_records(at.app.store.log, told(answer)["id"])
    shown = [text for what, text in story(records) if what == "claims"]
    claims = records[0].body.get("claims", {})
    assert shown == [f"to be {name} {text}  (not verified)" for name, text in claims.items()]
    assert records[0].body["actor"]["agent"] == "ada"
    return claims


async def test_the_program_and_the_copy_that_a_call_says_it_comes_from_are_in_its_intent_and_shown():
    async with agency() as at:
        ada = await at.enrol("ada")
        info = {"name": "desk", "version": "1.2", "title": "no matter"}
        assert await called(at, ada, info, agent_instance_id="pod-7") == {
            "client": "desk 1.2",
            "instance": "pod-7",
        }


@pytest.mark.parametrize(
    ("info", "instance", "claims"),
    [
        ({"name": "x" * 500, "version": "1"}, "y" * 500, {"client": "x" * 128, "instance": "y" * 128}),
        ({"name": "d\x1b[2J\u202eé"}, "a\nb", {"client": "d?[2J??", "instance": "a?b"}),
        ({"name": 7, "version": None}, 7, {}),
        ("desk", "", {}),
        ({"name": "operator"}, {"agent": "bo"}, {"client": "operator"}),
    ],
    ids=["long", "not printable", "no text", "empty", "of another type"],
)
async def test_however_it_is_said_it_is_short_and_in_characters_that_do_nothing(info, instance, claims):
    async with agency() as at:
        assert await called(at, await at.enrol("ada"), info, agent_instance_id=instance) == claims


async def test_a_session_says_it_once_and_no_request_of_it_says_otherwise():
    async with agency() as at:
        ada = await at.enrol("ada")
        sent = {
            "authorization": f"Bearer {await ada.token()}",
            "accept": "application/json, text/event-stream",
            "content-type": "application/json",
        }
        info = {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "old", "version": "3"},
        }
        begun = await at.http.post(
            "/mcp",
            json={"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": info},
            headers=sent,
        )
        sent |= {"mcp-session-id": begun.headers["mcp-session-id"], "mcp-protocol-version": "2025-06-18"}
        params = {"name": "notes__find", "arguments": {}, "_meta": {CLIENT: {"name": "new"}}}
        await at.http.post(
            "/mcp", json={"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params}, headers=sent
        )
        assert (await at.records("call.intent"))[-1]["claims"] == {"client": "old 3"}
