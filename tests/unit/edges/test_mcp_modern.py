"""Revision 2026-07-28: every request stands for itself, and results pass as the upstream made them."""

import logging

import anyio
import orjson
import pytest
from mcp import MCPError

from broker.edges.mcp import stream
from broker.errors import StorageUnavailable, UpstreamLost, UpstreamRefused
from broker.model import Answer, Kind, Method
from tests.unit.edges.house import MODERN, House, envelope, modern, open_site, said, until


async def test_a_real_client_lists_and_calls_in_every_mode():
    house = House()
    house.tool("echo__say", said("hi"))
    async with open_site(house) as site:
        for mode in (MODERN, "auto", "legacy"):
            async with site.client(mode) as client:
                assert [tool.name for tool in (await client.list_tools()).tools] == ["echo__say"]
                result = await client.call_tool("echo__say", {"text": "x"})
                assert result.content[0].text == "hi"
    assert house.calls == [(Method.CALL_TOOL, {"name": "echo__say", "arguments": {"text": "x"}})] * 3


async def test_discovery_declares_what_is_served_and_how_to_get_a_token():
    async with open_site(House()) as site:
        result = (await site.request("server/discover")).json()["result"]
    assert result["supportedVersions"] == [MODERN]
    assert set(result["capabilities"]) == {
        "tools",
        "resources",
        "prompts",
        "completions",
        "logging",
        "extensions",
    }
    assert "io.modelcontextprotocol/oauth-client-credentials" in result["capabilities"]["extensions"]
    assert (result["resultType"], result["cacheScope"]) == ("complete", "private")
    assert result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "mcp-tool-broker"


async def test_a_result_passes_with_unknown_fields_and_order_and_gains_only_the_brokers_meta():
    house = House()
    body = {
        "x-vendor": {"b": 1, "a": [None, 1.5]},
        "_meta": {"com.example/kept": 1, "io.toolbroker/receipt": "forged", "io.toolbroker/other": 1},
        "content": [{"type": "hologram", "zz": 1, "aa": 2}],
        "structuredContent": [1, 2],
    }
    house.tool("t", Answer(body))
    async with open_site(house) as site:
        response = await site.request("tools/call", {"name": "t"})
    result = orjson.loads(response.content)["result"]
    meta = result["_meta"]
    assert list(result) == ["x-vendor", "_meta", "content", "structuredContent", "resultType"]
    assert list(result["content"][0]) == ["type", "zz", "aa"]
    assert meta["com.example/kept"] == 1
    call = meta["io.toolbroker/call"]
    assert call == {"id": call["id"], "parent": None, "root": call["id"], "cost_micro_usd": 600}
    assert meta["io.toolbroker/receipt"] == {"log": "acme", "index": 2, "leaf": "00" * 32, "size": 2}
    assert "io.toolbroker/other" not in meta
    assert body["_meta"]["io.toolbroker/receipt"] == "forged", (
        "what the upstream gave is not changed in place"
    )


async def test_a_resource_keeps_its_upstreams_ttl_and_is_never_public():
    house = House()
    house.offer(Kind.RESOURCE, "x://a", Answer({"contents": [], "ttlMs": 70, "cacheScope": "public"}))
    house.offer(Kind.RESOURCE, "x://b", Answer({"contents": []}))
    async with open_site(house) as site:
        a = (await site.request("resources/read", {"uri": "x://a"})).json()["result"]
        b = (await site.request("resources/read", {"uri": "x://b"})).json()["result"]
    assert (a["ttlMs"], a["cacheScope"], b["ttlMs"], b["cacheScope"]) == (70, "private", 0, "private")


async def test_prompts_and_completions_take_the_same_path():
    house = House()
    house.offer(Kind.PROMPT, "p", Answer({"messages": []}))
    ref = {"type": "ref/prompt", "name": "p"}
    async with open_site(house) as site:
        assert (await site.request("prompts/get", {"name": "p"})).json()["result"]["messages"] == []
        done = await site.request(
            "completion/complete", {"ref": ref, "argument": {"name": "a", "value": "b"}}
        )
    assert done.json()["result"]["resultType"] == "complete"
    assert [method for method, _ in house.calls] == [Method.GET_PROMPT, Method.COMPLETE]
    assert len(house.entries) == 4


async def test_a_denial_is_a_result_that_the_model_reads_with_its_receipt():
    house = House()
    house.tool("t", said("never"))
    house.denied.add("t")
    async with open_site(house) as site:
        response = await site.request("tools/call", {"name": "t"})
    result = response.json()["result"]
    assert response.status_code == 200
    assert result["isError"]
    assert result["content"][0]["text"] == (
        "denied: `alice` may not use `t` — rule `house/rule` (not in this house)\nhint: ask for something else"
    )
    error = result["structuredContent"]["error"]
    assert (error["code"], error["call"]) == ("denied", result["_meta"]["io.toolbroker/call"]["id"])
    assert result["_meta"]["io.toolbroker/receipt"]["index"] == 1
    assert result["_meta"]["io.toolbroker/call"]["cost_micro_usd"] == 0
    assert house.calls == []


async def test_a_denied_prompt_is_an_error_that_the_host_reads():
    house = House()
    house.offer(Kind.PROMPT, "p", Answer({"messages": []}))
    house.denied.add("p")
    async with open_site(house) as site:
        error = (await site.request("prompts/get", {"name": "p"})).json()["error"]
    assert error["code"] == -32602
    assert error["data"]["error"]["because"] == [{"rule": "house/rule", "text": "not in this house"}]


async def test_an_unknown_resource_names_the_uri_that_was_asked_for():
    async with open_site(House()) as site:
        response = await site.request("resources/read", {"uri": "x://none"})
    assert response.status_code == 400
    assert (response.json()["error"]["code"], response.json()["error"]["data"]["uri"]) == (-32602, "x://none")


async def test_what_an_upstream_refuses_is_relayed_and_what_it_lost_is_told_to_the_model():
    house = House()

    async def refuses(method, params, line):
        raise UpstreamRefused("no such thing", rpc_code=-31999, data={"why": 1})

    async def loses(method, params, line):
        raise UpstreamLost("no answer came")

    house.tool("refuses", refuses)
    house.tool("loses", loses)
    async with open_site(house) as site:
        refused = (await site.request("tools/call", {"name": "refuses"})).json()["error"]
        lost = (await site.request("tools/call", {"name": "loses"})).json()["result"]
    assert refused == {"code": -31999, "message": "no such thing", "data": {"why": 1}}
    assert lost["isError"]
    assert lost["_meta"]["io.toolbroker/call"]["cost_micro_usd"] == 600, "the held amount is kept"


async def test_a_log_that_cannot_be_written_is_an_error_of_the_host(monkeypatch):
    house = House()
    house.tool("t", said("never"))

    async def down(*_):
        raise StorageUnavailable("the log cannot be written")

    monkeypatch.setattr(house, "open", down)
    monkeypatch.setattr(house, "append", down)
    async with open_site(house) as site:
        error = (await site.request("tools/call", {"name": "t"})).json()["error"]
    assert (error["code"], error["data"]["error"]["code"]) == (-32603, "storage_unavailable")
    assert house.calls == []


async def test_a_failure_of_the_broker_itself_says_nothing_of_its_inside(caplog):
    house = House()

    async def breaks(method, params, line):
        raise RuntimeError("secret detail")

    house.tool("t", breaks)
    async with open_site(house) as site:
        with caplog.at_level(logging.CRITICAL, "broker.edges.mcp"):
            response = await site.request("tools/call", {"name": "t"})
    assert response.status_code == 500
    assert response.json()["error"]["code"] == -32603
    assert b"secret detail" not in response.content


async def test_every_request_is_answered_under_its_own_id():
    house = House()
    house.tool("t", said("x"))
    async with open_site(house) as site:
        for identity in (0, -1, 2**53, "", "a", "1"):
            answer = (await site.request("tools/call", {"name": "t"}, identity=identity)).json()
            assert answer["id"] == identity


@pytest.mark.parametrize(
    "method",
    [
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
        "tasks/get",
        "x",
    ],
)
async def test_methods_that_this_revision_does_not_have_are_not_found(method):
    async with open_site(House()) as site:
        response = await site.request(method, identity="i")
    assert (response.status_code, response.json()["error"]["code"], response.json()["id"]) == (
        404,
        -32601,
        "i",
    )


async def test_only_post_is_served_and_notifications_are_taken_and_dropped():
    async with open_site(House()) as site:
        _, headers = modern("ping", {})
        for method in ("GET", "DELETE", "PUT"):
            response = await site.http.request(method, site.url, headers=headers)
            assert (response.status_code, response.headers["allow"]) == (405, "POST")
        note = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
        assert (await site.post(note, mcp_protocol_version=MODERN)).status_code == 202
        assert (await site.post(note, mcp_protocol_version="v9")).json()["error"]["code"] == -32022


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("tools/call", {}),
        ("tools/call", {"name": 7}),
        ("tools/call", {"name": "t", "arguments": []}),
        ("tools/call", {"name": "t", "arguments": "x"}),
        ("prompts/get", {"name": None}),
        ("resources/read", {}),
        ("completion/complete", {}),
        ("completion/complete", {"ref": {"type": "ref/prompt", "name": "p"}}),
        ("completion/complete", {"ref": {"type": "ref/other"}, "argument": {}}),
        ("completion/complete", {"ref": {"type": "ref/prompt"}, "argument": {}}),
        ("tools/list", {"cursor": 3}),
        ("tools/list", {"cursor": "-1"}),
        ("tools/list", {"cursor": "x"}),
        ("subscriptions/listen", {}),
        ("subscriptions/listen", {"notifications": {"resourceSubscriptions": [1]}}),
    ],
)
async def test_parameters_of_another_shape_are_refused_before_anybody_is_asked(method, params):
    house = House()
    async with open_site(house) as site:
        headers = {"mcp-name": "7"} if params.get("name") == 7 else {}
        response = await site.request(method, params, headers=headers)
    assert response.status_code == 400
    assert response.json()["error"]["code"] in (-32602, -32020)
    assert (house.calls, house.entries) == ([], [])


async def test_absent_arguments_and_null_are_the_same():
    house = House()
    house.tool("t", said("x"))
    async with open_site(house) as site:
        await site.request("tools/call", {"name": "t", "arguments": None, "task": {"ttl": 1}})
    assert house.calls == [(Method.CALL_TOOL, {"name": "t"})]


# The answer as a stream


async def test_progress_comes_under_the_callers_token_grows_and_ends_with_the_call():
    house = House()
    kept = []

    async def works(method, params, line):
        for n in (1, 1, 0.5, 2, True, "x", 3.5):
            await line.caller.notify(
                "notifications/progress", {"progressToken": "upstreams", "progress": n, "total": 9}
            )
        kept.append(line)
        return said("done")

    house.tool("t", works)
    body, headers = modern("tools/call", {"name": "t"}, meta=envelope(progressToken="mine"))
    async with open_site(house) as site:
        async with site.stream(body, headers) as (response, messages):
            assert response.headers["content-type"] == "text/event-stream"
            assert response.headers["x-accel-buffering"] == "no"
            heard = [message async for message in messages]
        await kept[0].caller.notify("notifications/progress", {"progress": 99})
    assert [(m["params"]["progressToken"], m["params"]["progress"]) for m in heard[:-1]] == [
        ("mine", 1),
        ("mine", 2),
        ("mine", 3.5),
    ]
    assert heard[-1]["result"]["content"][0]["text"] == "done"


async def test_without_a_progress_token_or_log_level_nothing_is_said_and_the_answer_is_json():
    house = House()

    async def works(method, params, line):
        await line.caller.notify("notifications/progress", {"progress": 1})
        await line.caller.notify("notifications/message", {"level": "emergency", "data": "x"})
        await line.caller.notify("notifications/tools/list_changed", {})
        return said("done")

    house.tool("t", works)
    async with open_site(house) as site:
        response = await site.request("tools/call", {"name": "t"})
    assert response.headers["content-type"] == "application/json"


async def test_log_messages_come_from_the_level_that_was_asked_for():
    house = House()
    levels = ["debug", "info", "notice", "warning", "error", "nonsense"]

    async def works(method, params, line):
        for level in levels:
            await line.caller.notify("notifications/message", {"level": level, "data": level})
        return said("done")

    house.tool("t", works)
    meta = envelope(**{"io.modelcontextprotocol/logLevel": "warning"})
    body, headers = modern("tools/call", {"name": "t"}, meta=meta)
    async with open_site(house) as site, site.stream(body, headers) as (_, messages):
        heard = [message async for message in messages]
    assert [m["params"]["data"] for m in heard[:-1]] == ["warning", "error"]


async def test_a_call_that_takes_long_becomes_a_stream_that_is_kept_alive(monkeypatch):
    monkeypatch.setattr(stream, "KEEP_ALIVE_S", 0.01)
    house, go = House(), anyio.Event()

    async def waits(method, params, line):
        await go.wait()
        return said("at last")

    house.tool("t", waits)
    body, headers = modern("tools/call", {"name": "t"})
    lines = []
    async with (
        open_site(house, json_answer_within_s=0.02) as site,
        site.http.stream("POST", site.url, content=orjson.dumps(body), headers=headers) as response,
    ):
        assert response.headers["content-type"] == "text/event-stream"
        async for line in response.aiter_lines():
            lines.append(line)
            if lines.count(": keep-alive") == 3:
                go.set()
    (data,) = [line for line in lines if line.startswith("data: ")]
    assert orjson.loads(data[6:])["result"]["content"][0]["text"] == "at last"


async def test_a_refusal_after_the_stream_has_begun_is_its_last_message():
    house = House()

    async def works(method, params, line):
        await line.caller.notify("notifications/progress", {"progress": 1})
        raise UpstreamRefused("no", rpc_code=-31000)

    house.tool("t", works)
    body, headers = modern("tools/call", {"name": "t"}, meta=envelope(progressToken=1))
    async with open_site(house) as site, site.stream(body, headers) as (_, messages):
        heard = [message async for message in messages]
    assert heard[-1]["error"]["code"] == -31000


async def test_a_client_that_goes_away_cancels_its_call_and_keeps_it_paid():
    house, started, ended = House(), anyio.Event(), anyio.Event()

    async def waits(method, params, line):
        started.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    house.tool("t", waits)
    async with open_site(house) as site, site.client() as client:
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(client.call_tool, "t", {})
                await started.wait()
                tasks.cancel_scope.cancel()
            await ended.wait()
        await until(lambda: house.outcomes)
    assert house.outcomes == ["cancelled"]
    assert (house.settled[0].amount, house.settled[0].estimated) == (600, True)


async def test_a_modern_caller_is_never_asked_in_place():
    house = House()

    async def asks(method, params, line):
        assert line.caller.modern
        await line.caller.ask("sampling/createMessage", {})
        return said("never")

    house.tool("t", asks)
    async with open_site(house) as site:
        response = await site.request("tools/call", {"name": "t"}, meta=envelope({"sampling": {}}))
    assert (response.status_code, response.json()["error"]["code"]) == (400, -32021)


async def test_the_pipeline_is_told_the_meta_but_connectors_never_get_it():
    house = House()
    lines = []

    async def looks(method, params, line):
        lines.append(line)
        return said("x")

    house.tool("t", looks)
    meta = envelope(
        {"roots": {}},
        traceparent="00-1-2-01",
        progressToken=1,
        **{"io.modelcontextprotocol/logLevel": "info", "x": 1},
    )
    async with open_site(house) as site:
        await site.request("tools/call", {"name": "t"}, meta=meta)
    (line,) = lines
    assert (line.wants_progress, line.log_level, line.trace) == (True, "info", {"traceparent": "00-1-2-01"})
    assert line.caller.capabilities == {"roots": {}}
    assert house.calls == [(Method.CALL_TOOL, {"name": "t"})]


async def test_a_real_client_reads_a_refusal_by_protocol_as_an_error():
    async with open_site(House()) as site, site.client() as client:
        with pytest.raises(MCPError) as caught:
            await client.read_resource("x://none")
    assert caught.value.error.code == -32602
