"""What other systems read of the log.

The schemas below hold what OCSF 1.9 requires of each class by its public documentation; the whole schema of
OCSF is not here.
"""

import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest

from broker.audit.feeds import cef
from broker.audit.feeds.formats import FORMATS, feed
from broker.audit.feeds.told import Told
from broker.audit.interface import CallFilter, Entry, Event, Filter, Outcome
from broker.storage.sqlite import open_store
from broker.storage.store import Store

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
FOUND = {
    "guard": "secrets",
    "stage": "result",
    "type": "private-key",
    "action": "block",
    "place": "$.text",
    "length": 40,
    "digest": "ab",
}
BASE = ["category_uid", "class_uid", "activity_id", "type_uid", "severity_id", "time", "metadata"]
NEEDED = {
    6003: ["actor", "api", "src_endpoint"],
    3002: ["user", "service"],
    2004: ["finding_info"],
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "time": {"type": "integer", "minimum": 0},
        "severity_id": {"enum": [0, 1, 2, 3, 4, 5, 6, 99]},
        "status_id": {"enum": [0, 1, 2, 3, 4, 5, 6, 99]},
        "metadata": {
            "type": "object",
            "required": ["product", "version"],
            "properties": {
                "product": {"type": "object", "required": ["vendor_name"]},
                "version": {"const": "1.9.0"},
            },
        },
        "actor": {"type": "object", "minProperties": 1},
        "api": {"type": "object", "required": ["operation"]},
        "src_endpoint": {"type": "object", "minProperties": 1},
        "user": {"type": "object", "required": ["uid"]},
        "finding_info": {"type": "object", "required": ["title", "uid"]},
    },
    "required": BASE,
    "allOf": [
        {
            "if": {"properties": {"class_uid": {"const": kind}}},
            "then": {"required": needed, "properties": {"category_uid": {"const": kind // 1000}}},
        }
        for kind, needed in NEEDED.items()
    ],
}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[Store]:
    async with open_store(
        tmp_path / "b.db", deployment="broker.test", serve=True, clock=lambda: 1_700_000_000.25
    ) as opened:
        append = opened.journal.append
        actor = {"agent": "ada", "subject": "ps_1", "chain": ["ada"], "token": "t"}
        facts = {
            "what": {
                "method": "tools/call",
                "name": "notes__add",
                "connector": "notes",
                "side_effect": "writes",
            },
            "actor": actor,
            "cause": {"root": "c1", "task": "x", "trace": TRACE},
            "decision": {"permitted": True, "rules": ["role/writer"], "policy": "sha256:1"},
        }
        await append(Entry("acme", Event.TOKEN_REFUSED, {"error": "invalid_client"}, agent="ada"))
        await append(Entry("acme", Event.CALL_INTENT, facts, "c1", "ada"))
        under = facts | {"cause": {"root": "c1", "task": "x", "parent": "c1"}}
        error = {"code": "denied", "because": ["rules/no|pipes=ok\\"]}
        await append(
            Entry("acme", Event.CALL_DENIED, under | {"outcome": "denied", "error": error}, "c2", "bo")
        )
        end = {"outcome": "blocked", "cost": 1200, "duration_us": 5, "findings": [FOUND]}
        await append(Entry("acme", Event.CALL_OUTCOME, end, "c1", "ada"))
        yield opened


async def lines(store: Store, kind: str, where: CallFilter = CallFilter()) -> list[bytes]:  # noqa: B008 - frozen
    return [line async for line in feed(store.log, await store.log.logs(), where, FORMATS[kind])]


async def test_every_ocsf_event_has_what_its_class_requires(store: Store):
    events = [json.loads(line) for line in await lines(store, "ocsf")]
    assert [event["class_uid"] for event in events] == [3002, 6003, 6003, 2004]
    for event in events:
        jsonschema.validate(event, SCHEMA)
        assert event["type_uid"] == event["class_uid"] * 100 + event["activity_id"]
        assert event["time"] == 1_700_000_000_250
    refused, denied, blocked, finding = events
    assert (refused["status_id"], refused["user"]["uid"]) == (2, "ada")
    assert (denied["status_code"], denied["activity_id"]) == ("denied", 3)
    assert denied["status_detail"] == "rules/no|pipes=ok\\"
    assert blocked["api"] == {
        "operation": "notes__add",
        "service": {"name": "notes"},
        "request": {"uid": "c1"},
    }
    assert finding["finding_info"]["title"] == "private-key in result"


async def test_an_ocsf_event_names_the_leaf_that_proves_it(store: Store):
    leaves = {r.seq: r.leaf.hex() async for r in store.log.records("acme")}
    for line in await lines(store, "ocsf"):
        event = json.loads(line)
        (proof,) = event["attestation_list"]
        assert proof["fingerprint"]["value"] == leaves[event["metadata"]["sequence"]]


async def test_calls_are_spans_in_the_trace_of_their_caller_below_their_verified_parent(store: Store):
    (line,) = await lines(store, "otlp")
    (resource,) = json.loads(line)["resourceSpans"]
    (scope,) = resource["scopeSpans"]
    child, top = scope["spans"]
    assert (top["traceId"], top["parentSpanId"]) == (TRACE[3:35], TRACE[36:52])
    assert child["parentSpanId"] == top["spanId"]
    assert top["startTimeUnixNano"] == top["endTimeUnixNano"] == "1700000000250000000"
    attributes = {one["key"]: next(iter(one["value"].values())) for one in top["attributes"]}
    assert attributes["gen_ai.operation.name"] == "execute_tool"
    assert attributes["gen_ai.tool.name"] == "notes__add"
    assert attributes["mcp.method.name"] == "tools/call"
    assert attributes["error.type"] == "blocked"
    assert attributes["io.toolbroker.cost_micro_usd"] == "1200"
    assert top["status"] == {"code": 2, "message": "blocked"}


async def test_cef_escapes_what_would_end_a_field(store: Store):
    refused, denied, blocked = (line.decode() for line in await lines(store, "cef"))
    assert refused.startswith(
        "CEF:0|toolbroker.io|MCP tool broker|1|auth.token_refused|auth.token_refused|6|"
    )
    assert r" reason=rules/no|pipes\=ok\\ " in denied
    assert " outcome=blocked " in blocked
    assert blocked.count("\n") == 1


def test_nothing_that_a_caller_names_begins_a_new_line_or_field_of_cef():
    name = "x\nCEF:0|evil| act=other"
    record = {"type": "call.denied", "ts": "2026-01-01T00:00:00.000000Z", "call": "c", "what": {"name": name}}
    text = cef.line(Told("o", 1, b"", record, record))
    assert "\n" not in text
    assert r"act=x\nCEF:0|evil| act\=other" in text


async def test_json_lines_are_the_bytes_that_were_hashed(store: Store):
    calls = frozenset({Event.CALL_INTENT, Event.CALL_OUTCOME, Event.CALL_DENIED, Event.TOKEN_REFUSED})
    bodies = {r.body async for r in store.log.records("acme", Filter(events=calls))}
    assert {line.removesuffix(b"\n") for line in await lines(store, "jsonl")} == bodies


async def test_a_filter_about_calls_leaves_tokens_out(store: Store):
    only = CallFilter(outcomes=frozenset({Outcome.DENIED}))
    (line,) = await lines(store, "jsonl", only)
    assert orjson.loads(line)["call"] == "c2"
    assert len(await lines(store, "cef", CallFilter(agent="ada"))) == 2
    assert await lines(store, "cef", CallFilter(until=0)) == []
