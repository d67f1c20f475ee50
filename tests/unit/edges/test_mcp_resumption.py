"""Streams of 2025-11-25 that end early: the rest is kept, and fetched once, by whom it is for (SEP-1699)."""

from contextlib import asynccontextmanager

import anyio
import httpx2
import orjson
import pytest

from broker.edges.mcp import resumption, trails
from tests.unit.edges.house import House, fields, open_site, said, until
from tests.unit.edges.test_mcp_legacy import CALL, begin, two_processes

PROGRESS = {**CALL, "params": {"name": "t", "_meta": {"progressToken": "p"}}}


class Work:
    """A tool that says something, waits for `go`, and then gives its result."""

    def __init__(self, *, polls: bool = False) -> None:
        self.go, self.lines, self.polls = anyio.Event(), [], polls

    async def __call__(self, method, params, line):
        self.lines.append(line.caller._caller)
        if self.polls:
            await line.caller.poll(7)
        else:
            await line.caller.notify("notifications/progress", {"progress": 1})
        await self.go.wait()
        await line.caller.notify("notifications/progress", {"progress": 2})
        return said("done")


def house_at_work(**how) -> tuple[House, Work]:
    house, work = House(), Work(**how)
    house.tool("t", work)
    return house, work


def with_session(session: str, *, token: str = "alice-token", **more: str) -> dict[str, str]:
    return fields(token, {"mcp-session-id": session, **more})


async def events(response: httpx2.Response):
    """Whole events of a stream, as pairs of field names and values."""
    event = {}
    async for line in response.aiter_lines():
        if line:
            name, _, value = line.partition(":")
            event[name] = value.removeprefix(" ")
        elif event:
            yield event
            event = {}


@asynccontextmanager
async def called(site, session, body=PROGRESS):
    async with site.http.stream(
        "POST", site.url, content=orjson.dumps(body), headers=with_session(session)
    ) as response:
        assert response.headers["content-type"] == "text/event-stream"
        with anyio.fail_after(10):
            yield events(response)


@asynccontextmanager
async def resumed(site, session, event_id, token="alice-token"):
    headers = with_session(session, token=token, last_event_id=event_id)
    async with site.http.stream("GET", site.url, headers=headers) as response:
        assert response.status_code == 200
        with anyio.fail_after(10):
            yield events(response)


async def cut(site, session, work) -> str:
    """Begin a call and lose its connection; the id of the last event that was seen."""
    async with called(site, session) as seen:
        await anext(seen)
        last = (await anext(seen))["id"]
    await until(lambda: work.lines[-1]._reply.gone)
    return last


async def rest(site, session, event_id) -> list[dict]:
    """All that is still told after an event, until the stream ends."""
    async with resumed(site, session, event_id) as seen:
        return [orjson.loads(event["data"]) async for event in seen if "data" in event]


async def only_ordinary(site, session, event_id, token="alice-token") -> bool:
    """Whether the first thing heard is news of the session, as on any other GET stream."""
    async with resumed(site, session, event_id, token) as seen:
        assert await anext(seen) == {"retry": "1000"}
        await site.signals.publish("catalog", {"kind": "tool"})
        first = orjson.loads((await anext(seen))["data"])
    return first["method"] == "notifications/tools/list_changed"


async def test_a_stream_begins_with_an_id_and_when_to_come_back_and_every_event_has_its_own_id():
    house, work = house_at_work()
    work.go.set()
    async with open_site(house) as site, called(site, await begin(site)) as seen:
        told = [event async for event in seen]
    assert (told[0]["data"], told[0]["retry"]) == ("", "1000")
    assert len({event["id"] for event in told}) == len(told) == 4
    assert orjson.loads(told[-1]["data"])["result"]["content"][0]["text"] == "done"


@pytest.mark.parametrize("version", ["2025-03-26", "2025-06-18"])
async def test_older_revisions_get_no_event_without_data(version):
    house, work = house_at_work()
    work.go.set()
    async with open_site(house) as site, called(site, await begin(site, version)) as seen:
        told = [event async for event in seen]
    assert [set(event) for event in told] == [{"event", "data"}] * 3


async def test_a_call_that_says_nothing_is_answered_as_json_and_leaves_nothing_behind():
    house = House()
    house.tool("t", said("x"))
    async with open_site(house) as site:
        answer = await site.post(CALL, mcp_session_id=await begin(site))
        assert site.endpoint._switchboard._trails._trails == {}
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize("early", [True, False])
async def test_what_was_lost_with_its_connection_is_fetched_at_any_process(at, early):
    """Whether the client is back before the call is over or after."""
    house, work = house_at_work()
    async with two_processes(house) as sites:
        session = await begin(sites[0])
        last = await cut(sites[0], session, work)
        if early:
            async with resumed(sites[at], session, last) as seen:
                assert await anext(seen) == {"retry": "1000"}
                work.go.set()
                told = [orjson.loads(event["data"]) async for event in seen]
        else:
            work.go.set()
            await until(lambda: house.outcomes)
            told = await rest(sites[at], session, last)
    assert [message.get("method") for message in told] == ["notifications/progress", None]
    assert (told[1]["id"], told[1]["result"]["content"][0]["text"]) == (1, "done")
    assert len(house.calls) == 1


@pytest.mark.parametrize("at", [0, 1])
async def test_a_response_is_handed_out_once(at, monkeypatch):
    monkeypatch.setattr(trails, "KNOWN_WITHIN_S", 0.1)
    house, work = house_at_work()
    async with two_processes(house) as sites:
        session = await begin(sites[0])
        last = await cut(sites[0], session, work)
        work.go.set()
        assert (await rest(sites[at], session, last))[-1]["id"] == 1
        kept = sites[0].endpoint._switchboard._trails
        await until(lambda: not kept._trails)
        for site in sites:
            assert await only_ordinary(site, session, last)


async def test_a_client_that_has_the_response_gets_nothing_again():
    house, work = house_at_work()
    work.go.set()
    async with open_site(house) as site:
        session = await begin(site)
        async with called(site, session) as seen:
            told = [event async for event in seen]
        assert await only_ordinary(site, session, told[-1]["id"])


async def test_a_response_that_was_sent_into_a_dead_connection_is_still_there():
    house, work = house_at_work()
    work.go.set()
    async with open_site(house) as site:
        session = await begin(site)
        async with called(site, session) as seen:
            told = [event async for event in seen]
        assert [m["id"] for m in await rest(site, session, told[0]["id"])] == [1]


async def test_a_caller_that_is_to_poll_is_told_when_and_hung_up_on_and_gets_the_result_later():
    house, work = house_at_work(polls=True)
    async with open_site(house) as site:
        session = await begin(site)
        async with called(site, session, CALL) as seen:
            told = [event async for event in seen]
        assert [event.get("data") for event in told] == ["", None]
        assert told[1] == {"retry": "7"}
        async with resumed(site, session, told[0]["id"]) as seen:
            await anext(seen)
            work.go.set()
            final = orjson.loads((await anext(seen))["data"])
    assert final["result"]["content"][0]["text"] == "done"


async def test_a_caller_that_polls_is_still_asked():
    house = House()

    async def asks(method, params, line):
        await line.caller.poll(1)
        return said((await line.caller.ask("roots/list", {}))["who"])

    house.tool("t", asks)
    async with open_site(house) as site:
        session = await begin(site, capabilities={"roots": {"listChanged": True}})
        async with called(site, session, CALL) as seen:
            (primed, _) = [event async for event in seen]
        async with resumed(site, session, primed["id"]) as seen:
            await anext(seen)
            question = orjson.loads((await anext(seen))["data"])
            answer = {"jsonrpc": "2.0", "id": question["id"], "result": {"who": "me"}}
            await site.post(answer, mcp_session_id=session)
            final = orjson.loads((await anext(seen))["data"])
    assert final["result"]["content"][0]["text"] == "me"


@pytest.mark.parametrize("version", ["2025-06-18", "modern"])
async def test_a_caller_that_cannot_come_back_is_not_hung_up_on(version):
    house, work = house_at_work(polls=True)
    work.go.set()
    async with open_site(house) as site:
        if version == "modern":
            answer = await site.request("tools/call", {"name": "t"})
        else:
            answer = await site.post(CALL, mcp_session_id=await begin(site, version))
    assert answer.json()["result"]["content"][0]["text"] == "done"


async def test_whoever_comes_back_last_is_the_one_who_is_told():
    house, work = house_at_work()
    async with open_site(house) as site:
        session = await begin(site)
        last = await cut(site, session, work)
        async with resumed(site, session, last) as first:
            await anext(first)
            async with resumed(site, session, last) as second:
                await anext(second)
                assert [event async for event in first] == []
                work.go.set()
                assert orjson.loads((await anext(second))["data"])["method"] == "notifications/progress"
                assert orjson.loads((await anext(second))["data"])["id"] == 1


async def test_a_quiet_stream_is_kept_alive_and_ends_with_its_token(monkeypatch):
    monkeypatch.setattr(resumption, "KEEP_ALIVE_S", 0.01)
    house, work = house_at_work()
    async with open_site(house) as site:
        session = await begin(site)
        last = await cut(site, session, work)
        headers = with_session(session, last_event_id=last)
        async with site.http.stream("GET", site.url, headers=headers) as response:
            heard = []
            with anyio.fail_after(5):
                async for line in response.aiter_lines():
                    heard.append(line)
                    if line == ": keep-alive":
                        house.principals.pop("alice-token", None)
        assert heard[:3] == ["retry: 1000", "", ": keep-alive"]
        work.go.set()


async def test_the_python_client_gets_its_result_although_its_connection_was_cut():
    house, work = house_at_work()
    async with open_site(house) as site, cutting_proxy(site.url) as proxy:
        site.url = proxy.url
        async with site.client("legacy") as client:
            results = []

            async def call():
                results.append(await client.call_tool("t", {}, progress_callback=_ignore))

            with anyio.fail_after(15):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(call)
                    await until(lambda: work.lines)
                    await proxy.cut_after(b"notifications/progress")
                    await until(lambda: work.lines[0]._reply.gone)
                    work.go.set()
    assert results[0].content[0].text == "done"
    assert len(house.calls) == 1


async def _ignore(done, total, message):
    pass


class CuttingProxy:
    """Passes bytes on, and cuts the one connection on which something was said."""

    def __init__(self, port: int, to: int) -> None:
        self.url = f"http://127.0.0.1:{port}/mcp"
        self._to = to
        self._heard: dict[anyio.abc.SocketStream, bytes] = {}

    async def cut_after(self, said: bytes) -> None:
        await until(lambda: any(said in heard for heard in self._heard.values()))
        for client in [client for client, heard in self._heard.items() if said in heard]:
            await client.aclose()

    async def pass_on(self, client: anyio.abc.SocketStream) -> None:
        self._heard[client] = b""
        async with (
            client,
            await anyio.connect_tcp("127.0.0.1", self._to) as server,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(self._pump, client, server, tasks.cancel_scope)
            tasks.start_soon(self._pump, server, client, tasks.cancel_scope)

    async def _pump(self, source, sink, scope) -> None:
        try:
            async for data in source:
                await sink.send(data)
                if sink in self._heard:
                    self._heard[sink] += data
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            pass
        scope.cancel()


@asynccontextmanager
async def cutting_proxy(url: str):
    async with await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0) as listener:
        port = listener.listeners[0].extra_attributes[anyio.abc.SocketAttribute.local_port]()
        proxy = CuttingProxy(port, httpx2.URL(url).port)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, proxy.pass_on)
            yield proxy
            tasks.cancel_scope.cancel()
