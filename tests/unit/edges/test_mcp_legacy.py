"""Revisions 2025-03-26 to 2025-11-25: sessions that any process can serve."""

from contextlib import asynccontextmanager

import anyio
import orjson
import pytest
from mcp import Client, MCPError
from mcp_types import CreateMessageResult, ElicitResult, TextContent

from broker.edges.mcp import caller as callers
from broker.edges.mcp.switchboard import REMEMBERED
from broker.errors import NotDeclared, UpstreamRefused
from broker.model import Answer, Kind
from tests.unit.edges.house import House, MemorySignals, Site, fields, open_site, said, until

CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "t"}}
PROGRESS_CALL = {**CALL, "params": {"name": "t", "_meta": {"progressToken": "p"}}}


async def begin(site: Site, version: str = "2025-11-25", token="alice-token", capabilities=None) -> str:
    response = await initialize(site, version, token, capabilities)
    return response.headers["mcp-session-id"]


async def initialize(site, version="2025-11-25", token="alice-token", capabilities=None):
    params = {
        "protocolVersion": version,
        "capabilities": capabilities or {},
        "clientInfo": {"name": "c", "version": "1"},
    }
    return await site.post({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}, token=token)


async def ask(site: Site, session: str, method: str, params: dict | None = None, identity=1):
    body = {"jsonrpc": "2.0", "id": identity, "method": method, "params": params or {}}
    return (await site.post(body, mcp_session_id=session)).json()


@asynccontextmanager
async def two_processes(house: House):
    """The same deployment twice: what one hears reaches the other only by signals."""
    signals = MemorySignals()
    async with open_site(house, signals) as one, open_site(house, signals) as two:
        await until(lambda: len(signals._listeners) == 2)
        yield one, two


@pytest.mark.parametrize(
    ("asked", "spoken"),
    [
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("2026-07-28", "2025-11-25"),
        ("1999-01-01", "2025-11-25"),
    ],
)
async def test_a_session_speaks_the_revision_asked_for_but_never_one_without_sessions(asked, spoken):
    async with open_site(House()) as site:
        response = await initialize(site, asked)
        session = response.headers["mcp-session-id"]
        assert response.json()["result"]["protocolVersion"] == spoken
        assert all(0x21 <= ord(c) <= 0x7E for c in session)
        assert await ask(site, session, "ping") == {"jsonrpc": "2.0", "id": 1, "result": {}}


async def test_initialize_without_its_parameters_is_refused():
    async with open_site(House()) as site:
        response = await site.post({"jsonrpc": "2.0", "id": 9, "method": "initialize", "params": {}})
    assert (response.status_code, response.json()["error"]["code"], response.json()["id"]) == (400, -32602, 9)


async def test_any_process_serves_a_session_that_another_began():
    house = House()
    house.tool("t", said("x"))
    async with two_processes(house) as (one, two):
        session = await begin(one)
        answer = await ask(two, session, "tools/call", {"name": "t"})
    assert answer["result"]["content"][0]["text"] == "x"
    assert "resultType" not in answer["result"]


async def test_without_a_session_with_a_made_up_one_or_anothers_nothing_is_served():
    house = House()
    house.tool("t", said("x"))
    async with open_site(house) as site:
        session = await begin(site)
        for method in ("POST", "GET", "DELETE"):
            content = orjson.dumps(CALL) if method == "POST" else None
            for token, given, status in (
                ("alice-token", None, 400),
                ("alice-token", "made-up", 404),
                ("alice-token", session[:-3] + "AAA", 404),
                ("bob-token", session, 404),
            ):
                headers = fields(token, {} if given is None else {"mcp-session-id": given})
                response = await site.http.request(method, site.url, content=content, headers=headers)
                assert (response.status_code, response.json()["error"]["code"]) == (status, -32600)
    assert house.calls == []


async def test_an_ended_session_is_unknown_in_every_process():
    async with two_processes(House()) as (one, two):
        session = await begin(one)
        gone = await one.http.delete(one.url, headers=fields("alice-token", {"mcp-session-id": session}))
        assert gone.status_code == 204
        assert "content-length" not in gone.headers
        await anyio.wait_all_tasks_blocked()
        for site in (one, two):
            response = await site.post(CALL, mcp_session_id=session)
            assert response.status_code == 404


async def test_notifications_and_answers_to_nothing_are_accepted():
    async with open_site(House()) as site:
        session = await begin(site)
        for body in (
            {"jsonrpc": "2.0", "method": "notifications/initialized"},
            {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "none"}},
            {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": {}}},
            {"jsonrpc": "2.0", "id": "none", "result": {}},
            {"jsonrpc": "2.0", "id": "none", "error": {"code": 1, "message": "no"}},
        ):
            response = await site.post(body, mcp_session_id=session)
            assert (response.status_code, response.content) == (202, b"")


async def test_unknown_methods_targets_and_resources_are_answered_with_the_codes_of_their_time():
    async with open_site(House()) as site:
        session = await begin(site)
        codes = [
            (await ask(site, session, method, params))["error"]["code"]
            for method, params in (
                ("server/discover", {}),
                ("tools/call", {"name": "none"}),
                ("tools/call", {}),
                ("resources/read", {"uri": "x://none"}),
                ("resources/subscribe", {"uri": "x://none"}),
                ("resources/subscribe", {}),
                ("logging/setLevel", {"level": "loud"}),
            )
        ]
    assert codes == [-32601, -32602, -32602, -32002, -32002, -32602, -32602]


async def test_a_modern_request_that_forgot_its_header_is_told_so():
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}
    async with open_site(House()) as site:
        response = await site.post(
            {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}}
        )
    assert (response.status_code, response.json()["error"]["code"]) == (400, -32020)


@pytest.mark.parametrize("answered_by", [0, 1])
async def test_a_question_goes_out_on_the_open_stream_and_its_answer_may_arrive_at_any_process(answered_by):
    house = House()

    async def asks(method, params, line):
        answer = await line.caller.ask("sampling/createMessage", {"maxTokens": 5})
        return said(answer["text"])

    house.tool("t", asks)
    async with two_processes(house) as sites:
        session = await begin(sites[0], capabilities={"sampling": {}})
        headers = fields("alice-token", {"mcp-session-id": session})
        async with sites[0].stream(CALL, headers) as (_, heard):
            question = await anext(heard)
            assert (question["method"], question["params"]) == ("sampling/createMessage", {"maxTokens": 5})
            answer = {"jsonrpc": "2.0", "id": question["id"], "result": {"text": "yes"}}
            posted = await sites[answered_by].post(answer, mcp_session_id=session)
            assert posted.status_code == 202
            with anyio.fail_after(5):
                last = await anext(heard)
    assert last["result"]["content"][0]["text"] == "yes"


async def test_nobody_else_can_answer_a_question():
    house = House()

    async def asks(method, params, line):
        return said((await line.caller.ask("roots/list", {}))["who"])

    house.tool("t", asks)
    async with open_site(house) as site:
        session = await begin(site, capabilities={"roots": {"listChanged": True}})
        other = await begin(site, token="bob-token")
        headers = fields("alice-token", {"mcp-session-id": session})
        async with site.stream(CALL, headers) as (_, heard):
            question = await anext(heard)
            for token, given, who in (("bob-token", other, "bob"), ("alice-token", session, "alice")):
                answer = {"jsonrpc": "2.0", "id": question["id"], "result": {"who": who}}
                await site.post(answer, token=token, mcp_session_id=given)
            last = await anext(heard)
    assert last["result"]["content"][0]["text"] == "alice"


async def test_what_the_client_refuses_or_did_not_declare_is_told_to_who_asked(monkeypatch):
    house, met = House(), []

    async def asks(method, params, line):
        try:
            await line.caller.ask(params["arguments"]["ask"], {})
        except (NotDeclared, UpstreamRefused) as error:
            met.append(error)
        return said("done")

    house.tool("t", asks)
    async with open_site(house) as site:
        session = await begin(site, capabilities={"roots": {}})
        headers = fields("alice-token", {"mcp-session-id": session})

        def call(what):
            return {**CALL, "params": {"name": "t", "arguments": {"ask": what}}}

        async with site.stream(call("roots/list"), headers) as (_, heard):
            question = await anext(heard)
            error = {"code": -1, "message": "rather not", "data": 7}
            await site.post({"jsonrpc": "2.0", "id": question["id"], "error": error}, mcp_session_id=session)
            assert (await anext(heard))["result"]
        undeclared = await site.post(call("sampling/createMessage"), mcp_session_id=session)
        assert undeclared.headers["content-type"] == "application/json", "nothing was sent before the answer"
        monkeypatch.setattr(callers, "ANSWER_WITHIN_S", 0.01)
        await site.post(call("roots/list"), mcp_session_id=session)
    assert [type(error) for error in met] == [UpstreamRefused, NotDeclared, UpstreamRefused]
    assert (met[0].rpc_code, met[0].message, met[0].data) == (-1, "rather not", 7)
    assert met[1].required == {"sampling": {}}
    assert met[2].rpc_code == -32001


@pytest.mark.parametrize("at", [0, 1])
async def test_a_call_can_be_cancelled_by_a_request_to_any_process(at):
    house, started = House(), anyio.Event()

    async def waits(method, params, line):
        started.set()
        await anyio.sleep_forever()

    house.tool("t", waits)
    answers = []
    async with two_processes(house) as sites:
        session = await begin(sites[0])

        async def call():
            answers.append((await sites[0].post(CALL, mcp_session_id=session)).json())

        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call)
                await started.wait()
                note = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
                foreign = await begin(sites[0], token="bob-token")
                await sites[at].post(note, token="bob-token", mcp_session_id=foreign)
                await anyio.wait_all_tasks_blocked()
                assert answers == [], "a session cancels only its own calls"
                await sites[at].post(note, mcp_session_id=session)
    assert answers[0]["error"]["code"] == -32800
    assert house.outcomes == ["cancelled"]


async def test_a_client_that_goes_away_does_not_cancel_its_call():
    house, go, lines = House(), anyio.Event(), []

    async def waits(method, params, line):
        lines.append(line.caller._caller)
        await line.caller.notify("notifications/progress", {"progress": 1})
        await go.wait()
        await line.caller.notify("notifications/progress", {"progress": 2})
        with pytest.raises(NotDeclared):
            await line.caller.ask("roots/list", {})
        return said("done")

    house.tool("t", waits)
    async with open_site(house) as site:
        session = await begin(site, capabilities={"roots": {}})
        headers = fields("alice-token", {"mcp-session-id": session})
        async with site.stream(PROGRESS_CALL, headers) as (_, heard):
            await anext(heard)
        await until(lambda: lines[0]._reply.gone)
        go.set()
        await until(lambda: house.outcomes)
    assert house.outcomes == ["ok"]


async def test_an_id_that_is_still_open_cannot_be_used_again():
    house, started, go = House(), anyio.Event(), anyio.Event()

    async def waits(method, params, line):
        started.set()
        await go.wait()
        return said("first")

    house.tool("t", waits)
    first = []
    async with open_site(house) as site:
        session = await begin(site)

        async def call():
            first.append((await site.post(CALL, mcp_session_id=session)).json())

        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call)
                await started.wait()
                second = (await site.post(CALL, mcp_session_id=session)).json()
                go.set()
    assert second["error"]["code"] == -32600
    assert first[0]["result"]["content"][0]["text"] == "first"
    assert len(house.calls) == 1


@pytest.mark.parametrize("at", [0, 1])
async def test_log_messages_honour_the_level_of_the_session_wherever_it_was_set(at):
    house, wanted = House(), []

    async def logs(method, params, line):
        wanted.append(line.log_level)
        for level in ("debug", "info", "error"):
            await line.caller.notify("notifications/message", {"level": level, "data": level})
        return said("done")

    house.tool("t", logs)
    async with two_processes(house) as sites:
        session = await begin(sites[0])
        headers = fields("alice-token", {"mcp-session-id": session})
        heard = []
        for level in (None, "debug", "error"):
            if level:
                assert (await ask(sites[at], session, "logging/setLevel", {"level": level}))["result"] == {}
                await anyio.wait_all_tasks_blocked()
            async with sites[0].stream(CALL, headers) as (_, stream):
                heard.append([m["params"]["data"] async for m in stream if "params" in m])
    assert heard == [["info", "error"], ["debug", "info", "error"], ["error"]]
    assert wanted == ["info", "debug", "error"]


async def test_questions_in_rounds_never_reach_a_session_and_their_state_is_never_taken_from_one():
    house = House()

    async def asks(method, params, line):
        assert "requestState" not in params
        assert "inputResponses" not in params
        return Answer({"resultType": "input_required", "inputRequests": {}, "requestState": "s"})

    house.tool("t", asks)
    async with open_site(house) as site:
        session = await begin(site)
        params = {"name": "t", "requestState": "s", "inputResponses": {}}
        assert (await ask(site, session, "tools/call", params))["error"]["code"] == -32021


async def test_real_clients_sample_elicit_and_hear_progress():
    house = House()

    async def works(method, params, line):
        await line.caller.notify("notifications/progress", {"progress": 1, "total": 2})
        sampled = await line.caller.ask(
            "sampling/createMessage",
            {"messages": [{"role": "user", "content": {"type": "text", "text": "?"}}], "maxTokens": 5},
        )
        elicited = await line.caller.ask(
            "elicitation/create", {"message": "?", "requestedSchema": {"type": "object", "properties": {}}}
        )
        return said(f"{sampled['content']['text']} {elicited['action']}")

    async def sampling(context, params):
        return CreateMessageResult(role="assistant", content=TextContent(type="text", text="four"), model="m")

    async def elicitation(context, params):
        return ElicitResult(action="decline")

    heard = []

    async def progress(done, total, message):
        heard.append((done, total))

    house.tool("t", works)
    async with (
        open_site(house) as site,
        site.client("legacy", sampling_callback=sampling, elicitation_callback=elicitation) as client,
    ):
        result = await client.call_tool("t", {}, progress_callback=progress)
    assert result.content[0].text == "four decline"
    assert heard == [(1, 2)]


async def test_a_real_client_reads_prompts_and_resources_and_is_refused_by_code():
    house = House()
    house.offer(Kind.RESOURCE, "x://a", Answer({"contents": [{"uri": "x://a", "text": "t"}]}))
    async with open_site(house) as site, site.client("legacy") as client:
        assert (await client.read_resource("x://a")).contents[0].text == "t"
        with pytest.raises(MCPError) as caught:
            await client.read_resource("x://b")
    assert caught.value.error.code == -32002
    assert isinstance(client, Client)


async def test_what_is_remembered_of_sessions_is_bounded():
    async with open_site(House()) as site:
        board = site.endpoint._switchboard
        for n in range(REMEMBERED + 5):
            board._note("level", f"s{n}", "debug")
    assert len(board._sessions) == REMEMBERED
    assert board.remembered("s0").level is None
