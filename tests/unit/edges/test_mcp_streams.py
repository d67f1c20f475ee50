"""Streams that stay open tell each caller what concerns it, and end when its token does."""

from contextlib import asynccontextmanager

import anyio
import pytest

from broker.edges.mcp import subscriptions, switchboard
from broker.model import DELEGATION, Answer, Kind
from tests.unit.edges.house import House, envelope, fields, modern, open_site, until
from tests.unit.edges.test_mcp_legacy import ask, begin, two_processes

SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
URI = "x://a"
UPDATED = {"method": "notifications/resources/updated", "uri": URI}
ALL = {"toolsListChanged": True, "promptsListChanged": True, "resourcesListChanged": True}


def house_with_resource() -> House:
    house = House()
    house.offer(Kind.RESOURCE, URI, Answer({"contents": []}))
    return house


@asynccontextmanager
async def listening(site, wanted, *, token="alice-token", identity="sub-1", meta=None):
    """An acknowledged `subscriptions/listen` stream."""
    body, headers = modern(
        "subscriptions/listen", {"notifications": wanted}, token=token, identity=identity, meta=meta
    )
    async with site.stream(body, headers) as (response, heard):
        assert response.headers["content-type"] == "text/event-stream"
        with anyio.fail_after(10):
            acknowledged = await anext(heard)
            assert acknowledged["method"] == "notifications/subscriptions/acknowledged"
            yield acknowledged["params"], heard


@asynccontextmanager
async def pushed(site, session, *, token="alice-token"):
    """The GET stream of a session, once it is attached."""
    async with site.stream(None, fields(token, {"mcp-session-id": session}), "GET") as (response, heard):
        assert response.status_code == 200
        with anyio.fail_after(10):
            yield heard


def told(message) -> dict:
    return {"method": message["method"], **{k: v for k, v in message["params"].items() if k != "_meta"}}


async def test_only_what_was_asked_for_is_acknowledged_and_told_under_the_id_of_the_request():
    async with open_site(House()) as site:
        wanted = {"promptsListChanged": True, "toolsListChanged": False, "taskIds": ["x"]}
        async with listening(site, wanted) as (acknowledged, heard):
            assert acknowledged == {
                "notifications": {"promptsListChanged": True},
                "_meta": {SUBSCRIPTION: "sub-1"},
            }
            await site.signals.publish("catalog", {"kind": "tool"})
            await site.signals.publish("catalog", {"kind": "prompt"})
            message = await anext(heard)
    assert message["method"] == "notifications/prompts/list_changed"
    assert message["params"]["_meta"] == {SUBSCRIPTION: "sub-1"}


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        ("tool", "notifications/tools/list_changed"),
        ("resource", "notifications/resources/list_changed"),
        ("template", "notifications/resources/list_changed"),
        ("prompt", "notifications/prompts/list_changed"),
    ],
)
async def test_each_kind_of_change_has_its_notification_in_both_eras(kind, method):
    async with open_site(House()) as site:
        session = await begin(site)
        async with listening(site, ALL) as (_, modern_news), pushed(site, session) as legacy_news:
            await site.signals.publish("catalog", {"kind": kind})
            assert (await anext(modern_news))["method"] == method
            assert await anext(legacy_news) == {"jsonrpc": "2.0", "method": method, "params": {}}


@pytest.mark.parametrize("topic", ["agents", "policy"])
async def test_whoever_may_see_something_else_now_is_told_to_look_at_all_lists(topic):
    async with open_site(House()) as site, listening(site, ALL) as (_, heard):
        await site.signals.publish(topic, {"agent": "alice"})
        methods = {(await anext(heard))["method"] for _ in range(3)}
    assert methods == set(switchboard.LIST_CHANGED.values())


async def test_an_update_is_told_to_those_who_wanted_it_and_may_see_it():
    house = house_with_resource()
    house.offer(Kind.RESOURCE, "x://other", Answer({}))
    wanted = {"resourceSubscriptions": [URI, "x://none"], "toolsListChanged": True}
    async with open_site(house) as site, listening(site, wanted) as (acknowledged, heard):
        assert acknowledged["notifications"]["resourceSubscriptions"] == [URI, "x://none"]
        for uri in ("x://other", "x://none", URI):
            await site.signals.publish("resource-updated", {"uri": uri})
        assert told(await anext(heard)) == UPDATED
        house.hidden.add(("alice", URI))
        await site.signals.publish("resource-updated", {"uri": URI})
        await site.signals.publish("catalog", {"kind": "tool"})
        assert (await anext(heard))["method"] == "notifications/tools/list_changed", "hidden by now"


async def test_hidden_and_missing_resources_are_acknowledged_alike_and_never_watched():
    house = house_with_resource()
    house.hidden.add(("alice", URI))
    async with open_site(house) as site:
        for uri in (URI, "x://none"):
            async with listening(site, {"resourceSubscriptions": [uri]}) as (acknowledged, _):
                assert acknowledged["notifications"] == {"resourceSubscriptions": [uri]}
    assert house.watched == []


async def test_a_resource_is_watched_once_however_many_listen_and_until_the_last_has_left():
    house = house_with_resource()
    async with open_site(house) as site:
        async with listening(site, {"resourceSubscriptions": [URI]}, identity=1) as (_, first):
            async with listening(site, {"resourceSubscriptions": [URI]}, identity=2) as (_, second):
                await site.signals.publish("resource-updated", {"uri": URI})
                assert told(await anext(first)) == told(await anext(second)) == UPDATED
            assert house.watched == [(URI, True)]
        await until(lambda: len(house.watched) == 2)
    assert house.watched == [(URI, True), (URI, False)]


async def test_a_connector_that_cannot_watch_does_not_end_the_stream(caplog):
    house = house_with_resource()

    async def fails(target, uri, *, on):
        raise RuntimeError("no")

    house.watch = fails
    async with open_site(house) as site:
        wanted = {"resourceSubscriptions": [URI], "toolsListChanged": True}
        async with listening(site, wanted) as (_, heard):
            await site.signals.publish("catalog", {"kind": "tool"})
            assert (await anext(heard))["method"] == "notifications/tools/list_changed"


async def test_streams_end_with_their_token_before_anything_more_is_said():
    house = House()
    async with open_site(house) as site:
        session = await begin(site)
        async with listening(site, ALL) as (_, one), pushed(site, session) as two:
            del house.principals["alice-token"]
            await site.signals.publish("agents", {"agent": "alice"})
            assert [message async for message in one] == []
            assert [message async for message in two] == []


async def test_a_quiet_stream_is_kept_alive_and_ends_with_its_token(monkeypatch):
    monkeypatch.setattr(subscriptions, "KEEP_ALIVE_S", 0.01)
    house = House()
    async with open_site(house) as site:
        session = await begin(site)
        headers = fields("alice-token", {"mcp-session-id": session})
        async with site.http.stream("GET", site.url, headers=headers) as response:
            lines = []
            with anyio.fail_after(5):
                async for line in response.aiter_lines():
                    lines.append(line)
                    if lines.count(": keep-alive") == 2:
                        house.principals.clear()
    assert lines[0] == "retry: 1000"


async def test_closing_the_endpoint_ends_every_stream_in_good_order():
    async with open_site(House()) as site:
        session = await begin(site)
        async with listening(site, ALL, identity=7) as (_, one), pushed(site, session) as two:
            site.endpoint.close()
            (last,) = [message async for message in one]
            assert [message async for message in two] == []
    assert (last["id"], last["result"]["resultType"]) == (7, "complete")
    assert last["result"]["_meta"][SUBSCRIPTION] == 7


@pytest.mark.parametrize("at", [0, 1])
async def test_a_session_hears_of_the_resources_it_subscribed_to_at_any_process(at):
    house = house_with_resource()
    async with two_processes(house) as sites:
        session = await begin(sites[0])
        async with pushed(sites[0], session) as heard:
            assert (await ask(sites[at], session, "resources/subscribe", {"uri": URI}))["result"] == {}
            await until(lambda: house.watched)
            await sites[1].signals.publish("resource-updated", {"uri": URI})
            assert told(await anext(heard)) == UPDATED
            await ask(sites[at], session, "resources/unsubscribe", {"uri": URI})
            await until(lambda: len(house.watched) == 2)
            await sites[1].signals.publish("resource-updated", {"uri": URI})
            await sites[1].signals.publish("catalog", {"kind": "tool"})
            assert (await anext(heard))["method"] == "notifications/tools/list_changed"
    assert house.watched == [(URI, True), (URI, False)]


async def test_a_subscription_made_before_the_stream_is_opened_counts():
    house = house_with_resource()
    async with open_site(house) as site:
        session = await begin(site)
        await ask(site, session, "resources/subscribe", {"uri": URI})
        async with pushed(site, session) as heard:
            await site.signals.publish("resource-updated", {"uri": URI})
            assert told(await anext(heard)) == UPDATED


async def test_an_ended_session_loses_its_stream_in_every_process():
    async with two_processes(House()) as (one, two):
        session = await begin(one)
        async with pushed(one, session) as heard:
            await two.http.delete(two.url, headers=fields("alice-token", {"mcp-session-id": session}))
            assert [message async for message in heard] == []


async def test_a_second_stream_of_a_session_takes_the_place_of_the_first():
    async with open_site(House()) as site:
        session = await begin(site)
        async with pushed(site, session) as first, pushed(site, session) as second:
            assert [message async for message in first] == []
            await site.signals.publish("catalog", {"kind": "tool"})
            assert (await anext(second))["method"] == "notifications/tools/list_changed"


async def test_under_a_delegation_a_stream_tells_only_what_the_whole_chain_may_see():
    house = house_with_resource()
    acting = envelope(**{DELEGATION: house.delegate("bob", "alice")})
    wanted = {**ALL, "resourceSubscriptions": [URI]}
    async with open_site(house) as site:
        async with listening(site, wanted, meta=acting) as (_, heard):
            await site.signals.publish("resource-updated", {"uri": URI})
            assert told(await anext(heard)) == UPDATED
            house.hidden.add(("bob", URI))
            await site.signals.publish("resource-updated", {"uri": URI})
            await site.signals.publish("catalog", {"kind": "tool"})
            assert (await anext(heard))["method"] == "notifications/tools/list_changed"
        async with listening(site, wanted) as (_, heard):
            await site.signals.publish("resource-updated", {"uri": URI})
            assert told(await anext(heard)) == UPDATED


async def test_a_stream_ends_with_the_delegation_that_it_was_asked_for_with():
    house = House()
    delegation = house.delegate("bob", "alice")
    meta = envelope(**{DELEGATION: delegation})
    async with open_site(house) as site, listening(site, ALL, meta=meta) as (_, heard):
        del house.delegations[delegation]
        await site.signals.publish("agents", {"version": 2})
        assert [message async for message in heard] == []


@pytest.mark.parametrize("delegation", ["bob-to-alice", "", 7])
async def test_a_stream_under_a_delegation_that_does_not_stand_is_not_opened(delegation):
    meta = envelope(**{DELEGATION: delegation})
    async with open_site(House()) as site:
        refused = await site.request("subscriptions/listen", {"notifications": ALL}, meta=meta)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, -32602)


async def test_a_session_subscribes_under_a_delegation_only_to_what_the_whole_chain_may_see():
    house = house_with_resource()
    acting = {"uri": URI, "_meta": {DELEGATION: house.delegate("bob", "alice")}}
    async with open_site(house) as site:
        session = await begin(site)
        assert (await ask(site, session, "resources/subscribe", acting))["result"] == {}
        house.hidden.add(("bob", URI))
        assert (await ask(site, session, "resources/subscribe", acting))["error"]["data"] == {"uri": URI}
        house.delegations.clear()
        assert (await ask(site, session, "resources/subscribe", acting))["error"]["code"] == -32602
        assert (await ask(site, session, "resources/subscribe", {"uri": URI}))["result"] == {}


async def test_one_agent_cannot_take_all_streams(monkeypatch):
    monkeypatch.setattr(switchboard, "MOST_STREAMS_OF_ONE", 1)
    async with open_site(House()) as site, listening(site, ALL):
        refused = await site.request("subscriptions/listen", {"notifications": ALL})
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, -32603)
        async with listening(site, ALL, token="bob-token"):
            pass


async def test_a_change_is_told_once_however_often_it_happened_meanwhile():
    feed = switchboard.Feed(["a"], {URI}, "alice")
    for push in (("a", None), ("a", None), ("b", None), ("u", URI), ("u", URI), ("u", "x://no")):
        feed.offer(push)
    assert [await feed.next(), await feed.next()] == [("a", None), ("u", URI)]
    feed.wake()
    with anyio.fail_after(5):
        assert await feed.next() is None


async def test_a_signal_that_is_not_understood_is_ignored(caplog):
    async with open_site(House()) as site, listening(site, ALL) as (_, heard):
        await site.signals.publish("catalog", {"kind": "hologram"})
        await site.signals.publish("mcp-session", {"what": "answer"})
        await site.signals.publish("resource-updated", {})
        await site.signals.publish("catalog", {"kind": "tool"})
        assert (await anext(heard))["method"] == "notifications/tools/list_changed"


async def test_a_real_client_hears_of_changes():
    house = house_with_resource()
    async with open_site(house) as site, site.client() as client:
        with anyio.fail_after(10):
            async with client.listen(tools_list_changed=True, resource_subscriptions=[URI]) as events:
                await site.signals.publish("catalog", {"kind": "tool"})
                assert type(await anext(aiter(events))).__name__ == "ToolsListChanged"


async def test_a_get_stream_needs_an_accept_header_for_one():
    async with open_site(House()) as site:
        session = await begin(site)
        headers = fields("alice-token", {"mcp-session-id": session, "accept": "application/json"})
        response = await site.http.get(site.url, headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (406, -32600)
