"""What does the connector promise about servers that it calls over HTTP?"""

import json
import socket

import anyio
import pytest
from aiohttp import web
from mcp.shared.inbound import decode_header_value

from broker.connector import Method, UpstreamLost, UpstreamRefused, UpstreamUnreachable
from tests.connectors.kit import (
    ASKABLE,
    TOOL,
    Caller,
    Legacy,
    Modern,
    connected,
    refused,
    replied,
    serving,
    stream,
    text,
)

BODY = {
    "zz": 1,
    "content": [{"type": "text", "text": "hi"}],
    "aa": {"b": [1.5, None]},
    "resultType": "complete",
}
HELLO = {"method": "elicitation/create", "params": {"message": "who?"}}
ACCEPTED = {"elicitation/create": {"action": "accept", "content": {"name": "Ada"}}}


def event(message: object, *, name: str | None = None, event_id: str | None = None) -> bytes:
    lines = [f"id: {event_id}"] if event_id else []
    lines += [f"event: {name}"] if name else []
    return "\n".join([*lines, f"data: {json.dumps(message)}", "", ""]).encode()


def answer(message: dict, result: dict) -> dict:
    return {"jsonrpc": "2.0", "id": message["id"], "result": result}


async def simple(_request: web.Request, message: dict) -> web.StreamResponse:
    return replied(message, BODY)


async def test_a_result_arrives_as_it_was_sent():
    async with serving(Modern(simple)) as url, connected(url=url, allow_private=True) as rig:
        body = await rig.call("do", {"text": "x"})
    assert json.dumps(body) == json.dumps(BODY)


async def test_a_modern_request_carries_its_envelope_and_the_headers_that_mirror_it():
    upstream = Modern(simple)
    schema = {
        "type": "object",
        "properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "deep": {"type": "object", "properties": {"n": {"type": "integer", "x-mcp-header": "Count"}}},
            "flag": {"type": "boolean", "x-mcp-header": "Flag"},
            "absent": {"type": "string", "x-mcp-header": "Absent"},
        },
    }
    upstream.tools = [{"name": "do", "inputSchema": schema}]
    caller = Caller(capabilities=ASKABLE)
    async with serving(upstream) as url, connected(url=url, allow_private=True) as rig:
        await rig.offer()
        await rig.call("do", {"region": " Köln ", "deep": {"n": 7}, "flag": True}, caller)
    request, message = upstream.seen[-1]
    meta = message["params"].pop("_meta")
    assert message["params"] == {
        "name": "do",
        "arguments": {"region": " Köln ", "deep": {"n": 7}, "flag": True},
    }
    assert meta["io.modelcontextprotocol/clientCapabilities"] == ASKABLE
    assert (
        meta["io.modelcontextprotocol/protocolVersion"]
        == request.headers["MCP-Protocol-Version"]
        == "2026-07-28"
    )
    assert (request.headers["Mcp-Method"], request.headers["Mcp-Name"]) == ("tools/call", "do")
    assert decode_header_value(request.headers["Mcp-Param-Region"]) == " Köln "
    assert (request.headers["Mcp-Param-Count"], request.headers["Mcp-Param-Flag"]) == ("7", "true")
    assert "Mcp-Param-Absent" not in request.headers
    assert {"application/json", "text/event-stream"} <= set(request.headers["Accept"].split(", "))


async def test_configured_headers_are_sent_and_a_secret_in_an_answer_is_not_handed_on():
    upstream = Modern()

    async def echo(request: web.Request, message: dict) -> web.StreamResponse:
        said = request.headers["Authorization"]
        return replied(message, {"content": [{"type": "text", "text": said}]})

    upstream.call = echo
    headers = {"Authorization": "Bearer ${env:T}", "X-Team": "red"}
    async with (
        serving(upstream) as url,
        connected({"env:T": "an-upstream-token"}, url=url, allow_private=True, headers=headers) as rig,
    ):
        body = await rig.call("do")
    assert upstream.seen[-1][0].headers["Authorization"] == "Bearer an-upstream-token"
    assert upstream.seen[-1][0].headers["X-Team"] == "red"
    assert text(body) == "Bearer [secret]"


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_result_of_three_megabytes_arrives_whole(streamed):
    large = {"content": [{"type": "text", "text": "y" * (3 << 20)}]}

    async def call(request: web.Request, message: dict) -> web.StreamResponse:
        if not streamed:
            return replied(message, large)
        response = await stream(request)
        await response.write(event(answer(message, large)))
        return response

    async with serving(Modern(call)) as url, connected(url=url, allow_private=True) as rig:
        assert await rig.call("do", {"text": "z" * (2 << 20)}) == large


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_result_above_the_limit_is_lost_and_not_read_to_its_end(streamed):
    async def call(request: web.Request, _message: dict) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream" if streamed else "application/json"}
        )
        await response.prepare(request)
        await response.write(b"data: ")
        while True:
            await response.write(b"x" * (1 << 20))

    async with serving(Modern(call)) as url, connected(url=url, allow_private=True) as rig:
        with pytest.raises(UpstreamLost, match="larger than"):
            await rig.call("do")


async def test_progress_and_logs_of_a_stream_reach_the_caller_before_the_answer():
    async def call(request: web.Request, message: dict) -> web.StreamResponse:
        token = message["params"]["_meta"]["progressToken"]
        response = await stream(request)
        said = [
            {
                "method": "notifications/progress",
                "params": {"progressToken": token, "progress": 1, "total": 2},
            },
            {"method": "notifications/progress", "params": {"progressToken": "other", "progress": 9}},
            {"method": "notifications/message", "params": {"level": "error", "data": "careful"}},
            {"method": "notifications/tools/list_changed"},
        ]
        await response.write(b": ping\r\n\r\n" + b"".join(event({"jsonrpc": "2.0", **m}) for m in said))
        await response.write(
            event({"odd": True}, name="other") + event(answer(message, BODY), name="message")
        )
        return response

    caller = Caller()
    async with serving(Modern(call)) as url, connected(url=url, allow_private=True) as rig:
        assert await rig.call("do", caller=caller, wants_progress=True, log_level="info") == BODY
        assert rig.news == ["changed"]
    assert caller.heard == [
        ("notifications/progress", {"progress": 1, "total": 2}),
        ("notifications/message", {"level": "error", "data": "careful"}),
    ]


async def test_connections_are_kept_for_the_next_call_also_after_a_stream():
    ports = set()

    async def call(request: web.Request, message: dict) -> web.StreamResponse:
        ports.add(request.transport.get_extra_info("peername")[1])
        response = await stream(request)
        await response.write(event(answer(message, BODY)))
        return response

    async with serving(Modern(call)) as url, connected(url=url, allow_private=True) as rig:
        for _ in range(20):
            await rig.call("do")
    assert len(ports) <= 3


async def test_leaving_a_modern_call_closes_its_connection_and_that_cancels_it():
    began, cancelled = anyio.Event(), anyio.Event()

    async def call(_request: web.Request, _message: dict) -> web.StreamResponse:
        began.set()
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.set()

    async with serving(Modern(call)) as url, connected(url=url, allow_private=True) as rig:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rig.call, "do")
            await began.wait()
            tasks.cancel_scope.cancel()
        with anyio.fail_after(5):
            await cancelled.wait()


async def test_a_connection_that_breaks_mid_call_loses_the_call():
    async def call(request: web.Request, _message: dict) -> web.StreamResponse:
        request.transport.close()
        await anyio.sleep_forever()

    async def half(request: web.Request, _message: dict) -> web.StreamResponse:
        response = await stream(request)
        await response.write(b'data: {"jsonrpc')
        request.transport.close()
        return response

    for handler in (call, half):
        async with serving(Modern(handler)) as url, connected(url=url, allow_private=True) as rig:
            with pytest.raises(UpstreamLost):
                await rig.call("do")


async def test_a_port_that_nobody_listens_on_is_unreachable():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    async with connected(url=f"http://127.0.0.1:{port}/mcp", allow_private=True) as rig:
        with pytest.raises(UpstreamUnreachable, match="refuses connections"):
            await rig.offer()


async def test_a_server_that_comes_up_later_is_found_by_the_next_offer():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    async with connected(url=f"http://127.0.0.1:{port}/mcp", allow_private=True) as rig:
        with pytest.raises(UpstreamUnreachable):
            await rig.offer()
        async with serving(Modern(simple), port):
            assert (await rig.offer()).tools == [TOOL]


async def test_a_name_with_a_private_address_is_refused_unless_that_is_meant():
    async with serving(Modern(simple)) as url:
        port = url.rsplit(":", 1)[1].split("/")[0]
        async with connected(url=f"https://localhost:{port}/mcp") as rig:
            with pytest.raises(UpstreamUnreachable, match="its address is not permitted"):
                await rig.offer()
        async with connected(url=f"http://localhost:{port}/mcp", allow_private=True) as rig:
            assert (await rig.offer()).tools == [TOOL]


async def test_a_redirect_is_not_followed():
    visited = []

    async def handler(request: web.Request) -> web.StreamResponse:
        visited.append(request.path)
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    async with serving(handler) as url, connected(url=url, allow_private=True) as rig:
        with pytest.raises(UpstreamRefused, match="redirects"):
            await rig.offer()
    assert set(visited) == {"/mcp"}


@pytest.mark.parametrize(
    ("status", "error"), [(401, UpstreamRefused), (429, UpstreamRefused), (503, UpstreamLost)]
)
async def test_a_status_without_a_message_is_told_by_whether_it_can_have_worked(status, error):
    async def call(_request: web.Request, _message: dict) -> web.StreamResponse:
        return web.Response(status=status, text="nothing to read")

    async with serving(Modern(call)) as url, connected(url=url, allow_private=True) as rig:
        with pytest.raises(error, match=f"HTTP {status}"):
            await rig.call("do")


async def test_a_protocol_error_is_relayed_with_code_and_data():
    async def call(_request: web.Request, message: dict) -> web.StreamResponse:
        return refused(message, -32021, 400, "needs more", data={"requiredCapabilities": {"roots": {}}})

    async with serving(Modern(call)) as url, connected(url=url, allow_private=True) as rig:
        with pytest.raises(UpstreamRefused) as caught:
            await rig.call("do")
    assert (caught.value.rpc_code, caught.value.message) == (-32021, "needs more")
    assert caught.value.data == {"requiredCapabilities": {"roots": {}}}


async def test_cookies_are_not_kept():
    upstream = Modern()

    async def call(_request: web.Request, message: dict) -> web.StreamResponse:
        response = replied(message, BODY)
        response.set_cookie("session", "of somebody")
        return response

    upstream.call = call
    async with serving(upstream) as url, connected(url=url, allow_private=True) as rig:
        await rig.call("do")
        await rig.call("do")
    assert "Cookie" not in upstream.seen[-1][0].headers


async def test_lists_are_read_page_by_page_and_an_endless_one_is_not_read_endlessly():
    upstream = Modern()
    pages = {None: ("a", "1"), "1": ("b", "2"), "2": ("c", "1")}

    async def handler(request: web.Request) -> web.StreamResponse:
        message = await request.json()
        if message["method"] != "tools/list":
            return await upstream(request)
        name, following = pages[message["params"].get("cursor")]
        return replied(message, {"tools": [{**TOOL, "name": name}], "nextCursor": following})

    async with serving(handler) as url, connected(url=url, allow_private=True) as rig:
        assert [tool["name"] for tool in (await rig.offer()).tools] == ["a", "b", "c"]


async def test_a_change_that_is_told_on_the_listen_stream_is_heard_and_watched_resources_are_in_its_filter():
    upstream = Modern()
    upstream.capabilities = {"resources": {"subscribe": True, "listChanged": True}}
    filters = []

    async def handler(request: web.Request) -> web.StreamResponse:
        message = await request.json()
        if message["method"].startswith("resources/"):
            return replied(message, {"resources": [], "resourceTemplates": []})
        if message["method"] != "subscriptions/listen":
            return await upstream(request)
        filters.append(message["params"]["notifications"])
        response = await stream(request)
        if "resourceSubscriptions" in filters[-1]:
            update = {"method": "notifications/resources/updated", "params": {"uri": "note:1"}}
            await response.write(event({"jsonrpc": "2.0", **update}))
        await response.write(event({"jsonrpc": "2.0", "method": "notifications/resources/list_changed"}))
        await anyio.sleep_forever()
        return response

    async with serving(handler) as url, connected(url=url, allow_private=True) as rig:
        await rig.offer()
        await rig.told_of("changed")
        await rig.upstream.watch("note:1")
        await rig.told_of("note:1")
    assert "resourceSubscriptions" not in filters[0]
    assert filters[1]["resourceSubscriptions"] == ["note:1"]


async def test_a_legacy_caller_of_a_modern_only_server_is_asked_in_place():
    rounds = []

    async def call(_request: web.Request, message: dict) -> web.StreamResponse:
        rounds.append(message["params"])
        if len(rounds) < 3:
            asks = {
                "resultType": "input_required",
                "inputRequests": {"who": HELLO},
                "requestState": f"s{len(rounds)}",
            }
            return replied(message, asks)
        return replied(message, BODY)

    caller = Caller(modern=False, capabilities=ASKABLE, answers=ACCEPTED)
    async with serving(Modern(call)) as url, connected(url=url, allow_private=True) as rig:
        assert await rig.call("do", {"x": 1}, caller) == BODY
    assert caller.asked == [("elicitation/create", {"message": "who?"})] * 2
    assert [r.get("requestState") for r in rounds] == [None, "s1", "s2"]
    assert [r.get("inputResponses") for r in rounds] == [None, *[{"who": ACCEPTED["elicitation/create"]}] * 2]
    assert all(r["arguments"] == {"x": 1} for r in rounds)


async def test_a_server_that_asks_without_end_loses_the_call():
    async def call(_request: web.Request, message: dict) -> web.StreamResponse:
        return replied(message, {"resultType": "input_required", "inputRequests": {"who": HELLO}})

    caller = Caller(modern=False, capabilities=ASKABLE, answers=ACCEPTED)
    async with serving(Modern(call)) as url, connected(url=url, allow_private=True) as rig:
        with pytest.raises(UpstreamLost, match="more than 10 times"):
            await rig.call("do", caller=caller)
    assert len(caller.asked) == 10


async def test_a_modern_caller_gets_the_questions_and_answers_them_itself():
    asks = {"resultType": "input_required", "inputRequests": {"who": HELLO}, "requestState": "s"}

    async def call(_request: web.Request, message: dict) -> web.StreamResponse:
        return replied(message, BODY if "inputResponses" in message["params"] else asks)

    async with serving(Modern(call)) as url, connected(url=url, allow_private=True) as rig:
        first = await rig.ask(Method.CALL_TOOL, {"name": "do", "arguments": {}})
        again = {"name": "do", "arguments": {}, "requestState": "s", "inputResponses": {"who": {}}}
        last = await rig.ask(Method.CALL_TOOL, again)
    assert first.is_question
    assert (first.body, last.body) == (asks, BODY)


async def test_a_session_that_the_server_has_forgotten_is_begun_again_and_nobody_notices():
    upstream = Legacy(simple)
    async with serving(upstream) as url, connected(url=url, allow_private=True) as rig:
        await rig.call("do")
        upstream.sessions.clear()
        assert await rig.call("do") == BODY
    assert upstream.begun == 2
    assert upstream.ended == ["s2"]


async def test_a_session_that_older_servers_deny_with_400_is_begun_again_too():
    upstream = Legacy(simple)

    async def handler(request: web.Request) -> web.StreamResponse:
        session = request.headers.get("Mcp-Session-Id")
        if session and session not in upstream.sessions and request.method == "POST":
            return refused({}, -32000, 400, "Bad Request: No valid session ID provided")
        return await upstream(request)

    async with serving(handler) as url, connected(url=url, allow_private=True) as rig:
        await rig.call("do")
        upstream.sessions.clear()
        assert await rig.call("do") == BODY


async def test_a_server_that_forgets_every_session_is_not_asked_for_ever():
    async def call(_request: web.Request, _message: dict) -> web.StreamResponse:
        return web.Response(status=404)

    upstream = Legacy(call)
    async with serving(upstream) as url, connected(url=url, allow_private=True) as rig:
        with pytest.raises(UpstreamUnreachable):
            await rig.call("do")
    assert upstream.begun == 2


async def test_a_session_declares_what_its_caller_can_do_and_nothing_for_a_modern_caller():
    upstream = Legacy(simple)
    async with serving(upstream) as url, connected(url=url, allow_private=True) as rig:
        await rig.call("do", caller=Caller(modern=False, capabilities={**ASKABLE, "tasks": {}}))
        await rig.call("do", caller=Caller(modern=True, capabilities=ASKABLE))
    assert list(upstream.sessions.values()) == [{}, {"sampling": {}, "elicitation": {}, "roots": {}}]


async def test_a_question_on_the_stream_of_a_call_reaches_its_caller():
    upstream = Legacy(simple)
    answered = anyio.Event()

    async def call(request: web.Request, message: dict) -> web.StreamResponse:
        response = await stream(request)
        await response.write(event({"jsonrpc": "2.0", "id": "q", **HELLO}))
        await upstream.noted.wait()
        answered.set()
        await response.write(event(answer(message, {"said": upstream.posted[-1]["result"]})))
        return response

    upstream.call = call
    caller = Caller(modern=False, capabilities=ASKABLE, answers=ACCEPTED)
    async with serving(upstream) as url, connected(url=url, allow_private=True) as rig:
        await rig.offer()
        upstream.noted = anyio.Event()
        body = await _call_after_handshake(rig, upstream, caller)
    assert body["said"] == ACCEPTED["elicitation/create"]
    assert answered.is_set()


async def _call_after_handshake(rig, upstream, caller):
    """Begin the caller's session first, so that what is noted next is the answer to the question."""
    call, upstream.call = upstream.call, simple
    await rig.call("do", caller=caller)
    upstream.call, upstream.noted = call, anyio.Event()
    return await rig.call("do", caller=caller)


class WithStream:
    """A legacy upstream whose sessions have streams of their own; `message` is put on that of one."""

    def __init__(self, upstream: Legacy, session: str) -> None:
        self.upstream = upstream
        self.session = session
        self.opened, self.say = anyio.Event(), anyio.Event()
        self.message: dict = {}

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        if request.method != "GET":
            return await self.upstream(request)
        response = await stream(request)
        if request.headers["Mcp-Session-Id"] != self.session:
            await anyio.sleep_forever()
        self.opened.set()
        await self.say.wait()
        await response.write(event({"jsonrpc": "2.0", **self.message}))
        await anyio.sleep_forever()
        return response


async def test_a_change_on_a_sessions_own_stream_is_heard():
    upstream = WithStream(Legacy(simple), "s1")
    upstream.message = {"method": "notifications/tools/list_changed"}
    async with serving(upstream) as url, connected(url=url, allow_private=True) as rig:
        await rig.offer()
        upstream.say.set()
        await rig.told_of("changed")


async def test_a_question_on_a_sessions_own_stream_reaches_the_only_caller_it_can_be_for():
    upstream = WithStream(Legacy(simple), "s2")
    upstream.message = {"id": "q", **HELLO}

    async def call(_request: web.Request, message: dict) -> web.StreamResponse:
        await upstream.opened.wait()
        upstream.upstream.noted = anyio.Event()
        upstream.say.set()
        await upstream.upstream.noted.wait()
        return replied(message, {"said": upstream.upstream.posted[-1]["result"]})

    caller = Caller(modern=False, capabilities=ASKABLE, answers=ACCEPTED)
    async with serving(upstream) as url, connected(url=url, allow_private=True) as rig:
        await rig.offer()
        upstream.upstream.call = call
        body = await rig.call("do", caller=caller)
    assert body["said"] == ACCEPTED["elicitation/create"]


async def test_a_server_that_hung_while_it_listed_is_connected_anew_by_the_next_offer():
    upstream, hung = Legacy(simple), anyio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        message = await request.json() if request.method == "POST" else {}
        if message.get("method") == "tools/list" and not hung.is_set():
            hung.set()
            await anyio.sleep_forever()
        return await upstream(request)

    async with serving(handler) as url, connected(url=url, allow_private=True) as rig:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rig.offer)
            await hung.wait()
            tasks.cancel_scope.cancel()
        assert (await rig.offer()).tools == [TOOL]
    assert upstream.begun == 2


async def test_an_upstream_that_was_replaced_by_an_older_one_is_probed_anew():
    modern, legacy = Modern(simple), Legacy(simple)
    now: list = [modern]

    async def handler(request: web.Request) -> web.StreamResponse:
        return await now[0](request)

    async with serving(handler) as url, connected(url=url, allow_private=True) as rig:
        await rig.offer()
        now[0] = legacy
        with pytest.raises(UpstreamRefused):
            await rig.offer()
        assert (await rig.offer()).tools == [TOOL]
        assert await rig.call("do") == BODY


async def test_an_error_without_an_id_ends_the_call():
    async def call(request: web.Request, _message: dict) -> web.StreamResponse:
        response = await stream(request)
        error = {"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "cannot read that"}}
        await response.write(event({}) + event(error))
        return response

    async with serving(Modern(call)) as url, connected(url=url, allow_private=True) as rig:
        with pytest.raises(UpstreamRefused, match="cannot read that"):
            await rig.call("do")


async def test_leaving_a_legacy_call_says_so_to_the_server():
    began = anyio.Event()

    async def call(_request: web.Request, _message: dict) -> web.StreamResponse:
        began.set()
        await anyio.sleep_forever()

    upstream = Legacy(call)
    async with serving(upstream) as url, connected(url=url, allow_private=True) as rig:
        await rig.offer()
        upstream.noted = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rig.call, "do")
            await began.wait()
            tasks.cancel_scope.cancel()
        with anyio.fail_after(5):
            await upstream.noted.wait()
    (called,) = [m for m in upstream.posted if m.get("method") == "tools/call"]
    (note,) = [m for m in upstream.posted if m.get("method") == "notifications/cancelled"]
    assert note["params"]["requestId"] == called["id"]


async def test_a_stream_that_ends_before_the_answer_is_gone_on_with_where_it_was_left():
    upstream = Legacy(simple)
    resumed = []

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.method != "GET" or "Last-Event-ID" not in request.headers:
            return await upstream(request)
        resumed.append(request.headers["Last-Event-ID"])
        response = await stream(request)
        if len(resumed) == 1:
            await response.write(b"id: 8\nretry: 1\ndata:\n\n")
        else:
            called = next(m for m in upstream.posted if m.get("method") == "tools/call")
            await response.write(event(answer(called, BODY), event_id="9"))
        return response

    async def call(request: web.Request, _message: dict) -> web.StreamResponse:
        response = await stream(request)
        await response.write(b"id: 7\nretry: 1\ndata:\n\n")
        return response

    upstream.call = call
    caller = Caller()
    async with serving(handler) as url, connected(url=url, allow_private=True) as rig:
        assert await rig.call("do", caller=caller) == BODY
    assert resumed == ["7", "8"]
    assert caller.polled == [1, 1], "the caller need not hold its connection either"
    assert len([m for m in upstream.posted if m.get("method") == "tools/call"]) == 1


async def test_a_stream_that_cannot_be_gone_on_with_loses_the_call_although_the_server_refuses():
    async def call(request: web.Request, _message: dict) -> web.StreamResponse:
        response = await stream(request)
        await response.write(b"id: 7\nretry: 1\ndata:\n\n")
        return response

    async with serving(Legacy(call)) as url, connected(url=url, allow_private=True) as rig:
        with pytest.raises(UpstreamLost):
            await rig.call("do")


async def test_a_stream_that_ends_without_an_answer_and_cannot_be_gone_on_with_loses_the_call():
    async def call(request: web.Request, _message: dict) -> web.StreamResponse:
        return await stream(request)

    for upstream in (Legacy(call), Modern(call)):
        async with serving(upstream) as url, connected(url=url, allow_private=True) as rig:
            with pytest.raises(UpstreamLost):
                await rig.call("do")


async def test_a_server_that_speaks_nothing_known_is_refused_with_a_reason():
    async def handler(request: web.Request) -> web.StreamResponse:
        message = await request.json()
        return refused(message, -32022, 400, "unsupported", data={"supported": ["2031-01-01"]})

    async with serving(handler) as url, connected(url=url, allow_private=True) as rig:
        with pytest.raises(UpstreamRefused, match="unsupported"):
            await rig.offer()
