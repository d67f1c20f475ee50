from contextlib import asynccontextmanager

import anyio
import pytest
from pydantic import BaseModel

from broker.catalog.catalog import LiveCatalog
from broker.catalog.mount import Facts, Mount
from broker.catalog.names import Names
from broker.catalog.pins import Admitted
from broker.connector import Answer, Line, Offer, UpstreamLost, UpstreamUnreachable
from broker.model import Call, CallId, Kind, Method, SideEffect

SCHEMA = {"type": "object"}


class Shelf:
    """An upstream that offers what the test lays on it and remembers what it was asked."""

    settings = BaseModel

    def __init__(self, **offer) -> None:
        self.now = Offer(**offer)
        self.asked = []
        self.failing = None
        self.answer = Answer({"content": []})
        self.closed = False

    async def open(self, settings, host) -> None: ...

    async def close(self) -> None:
        self.closed = True

    async def offer(self) -> Offer:
        if self.failing:
            raise self.failing
        return self.now

    async def invoke(self, request, line) -> Answer:
        self.asked.append(request)
        if self.failing:
            raise self.failing
        return self.answer

    async def watch(self, uri) -> None:
        self.asked.append(("watch", uri))

    async def unwatch(self, uri) -> None:
        self.asked.append(("unwatch", uri))


def mount(name, shelf, prefix=None) -> Mount:
    return Mount(name, shelf, Names(name if prefix is None else prefix), timeout_s=5)


async def open_nothing(_) -> None: ...


class Trusting:
    """Everything may be served."""

    async def admit(self, connector, tools, exposed, *, ask) -> Admitted:
        return Admitted(list(tools))

    async def version(self) -> int:
        return 0


@asynccontextmanager
async def catalogue(*mounts, facts=lambda *_: Facts(), approvals=None):
    changes = []
    catalog = LiveCatalog(
        mounts,
        facts=facts,
        approvals=approvals or Trusting(),
        changed=lambda targets, kinds: changes.append(kinds),
    )
    catalog.changes = changes
    with anyio.fail_after(10):
        async with catalog.running(open_nothing):
            yield catalog


def ask(method, name, **params) -> Call:
    return Call(CallId("c"), method, name, params, "", None)


def tool(name, **more):
    return {"name": name, "inputSchema": SCHEMA, **more}


LINE = Line("c", None, "org", "agent")


async def test_a_definition_arrives_as_sent_but_for_its_name():
    sent = {"vendor": {"x": 1}, "name": "log", "inputSchema": {"$anchor": "a", "type": "object"}, "z": [1]}
    async with catalogue(mount("git", Shelf(tools=[sent]))) as catalog:
        (target,) = catalog.targets(Kind.TOOL)
    assert target.definition == {**sent, "name": "git__log"}
    assert list(target.definition) == list(sent)


async def test_nothing_is_added_to_the_arguments_on_the_way_to_the_upstream():
    shelf = Shelf(tools=[tool("log")])
    async with catalogue(mount("git", shelf)) as catalog:
        target = catalog.find(ask(Method.CALL_TOOL, "git__log"))
        await catalog.invoke(Method.CALL_TOOL, target, {"name": "git__log", "arguments": {"n": 1}}, LINE)
    assert shelf.asked[0].params == {"name": "log", "arguments": {"n": 1}}


async def test_uris_in_results_are_mapped_wherever_a_model_finds_them():
    shelf = Shelf(tools=[tool("t")])
    shelf.answer = Answer(
        {
            "content": [
                {"type": "resource_link", "uri": "file:///a", "name": "a"},
                {"type": "resource", "resource": {"uri": "file:///b", "text": "file:///stays"}},
            ]
        }
    )
    async with catalogue(mount("fs", shelf)) as catalog:
        target = catalog.find(ask(Method.CALL_TOOL, "fs__t"))
        answer = await catalog.invoke(Method.CALL_TOOL, target, {"name": "fs__t"}, LINE)
    link, embedded = answer.body["content"]
    assert link["uri"] == "fs+file:///a"
    assert embedded["resource"] == {"uri": "fs+file:///b", "text": "file:///stays"}


async def test_a_uri_that_is_not_listed_is_found_by_its_template_and_read_under_its_own_name():
    shelf = Shelf(templates=[{"uriTemplate": "db://{table}", "name": "t"}])
    async with catalogue(mount("db", shelf)) as catalog:
        target = catalog.find(ask(Method.READ_RESOURCE, "db+db://users", uri="db+db://users"))
        assert target.name == "db+db://{table}"
        await catalog.invoke(Method.READ_RESOURCE, target, {"uri": "db+db://users"}, LINE)
    assert shelf.asked[0].params == {"uri": "db://users"}


async def test_a_completion_is_about_the_prompt_it_refers_to():
    shelf = Shelf(prompts=[{"name": "p"}])
    params = {"ref": {"type": "ref/prompt", "name": "x__p"}, "argument": {"name": "a", "value": ""}}
    async with catalogue(mount("x", shelf)) as catalog:
        target = catalog.find(ask(Method.COMPLETE, "x__p", **params))
        await catalog.invoke(Method.COMPLETE, target, params, LINE)
    assert shelf.asked[0].params["ref"] == {"type": "ref/prompt", "name": "p"}


async def test_the_first_connector_keeps_a_name_that_a_second_one_claims(caplog):
    first, second = Shelf(tools=[tool("t", title="1")]), Shelf(tools=[tool("t", title="2")])
    async with catalogue(mount("a", first, prefix=""), mount("b", second, prefix="")) as catalog:
        (target,) = catalog.targets(Kind.TOOL)
    assert target.connector == "a"
    assert "left out" in caplog.text


async def test_a_connector_that_is_down_leaves_the_others_in_place():
    down = Shelf()
    down.failing = UpstreamUnreachable("`b` cannot be reached")
    async with catalogue(mount("a", Shelf(tools=[tool("t")])), mount("b", down)) as catalog:
        assert [target.name for target in catalog.targets(Kind.TOOL)] == ["a__t"]
        assert [m.problem for m in catalog.mounts] == [None, "`b` cannot be reached"]


async def test_a_changed_offer_is_followed_and_told_with_the_kinds_that_differ():
    shelf = Shelf(tools=[tool("t")], prompts=[{"name": "p"}])
    async with catalogue(mount("a", shelf)) as catalog:
        before = catalog.version
        shelf.now = Offer(tools=[tool("t"), tool("u")], prompts=[{"name": "p"}])
        catalog.stale("a")
        while catalog.version == before:
            await anyio.lowlevel.checkpoint()
        assert catalog.find(ask(Method.CALL_TOOL, "a__u")) is not None
    assert catalog.changes[-1] == frozenset({Kind.TOOL})


async def test_a_connector_that_hangs_is_left_after_its_time_and_counts_as_lost():
    shelf = Shelf(tools=[tool("t")])

    async def hang(request, line):
        await anyio.sleep_forever()

    shelf.invoke = hang
    async with catalogue(Mount("a", shelf, Names("a"), timeout_s=0.01)) as catalog:
        target = catalog.find(ask(Method.CALL_TOOL, "a__t"))
        with pytest.raises(UpstreamLost, match="did not answer within"):
            await catalog.invoke(Method.CALL_TOOL, target, {"name": "a__t"}, LINE)


async def test_an_exception_in_a_connector_is_told_without_its_text():
    shelf = Shelf(tools=[tool("t")])
    async with catalogue(mount("a", shelf)) as catalog:
        shelf.failing = RuntimeError("password=hunter2")
        target = catalog.find(ask(Method.CALL_TOOL, "a__t"))
        with pytest.raises(UpstreamLost) as lost:
            await catalog.invoke(Method.CALL_TOOL, target, {"name": "a__t"}, LINE)
    assert "hunter2" not in lost.value.message


async def test_the_operators_facts_overrule_the_authors():
    shelf = Shelf(
        tools=[tool("t", annotations={"readOnlyHint": True})],
        facts={"t": {"price": "0.5", "side_effect": "reads", "labels": ["a"]}},
    )
    ruled = Facts(price_usd="0.0000001", price_source="x.yaml:3", side_effect=SideEffect.DESTROYS)
    async with catalogue(mount("m", shelf), facts=lambda *_: ruled) as catalog:
        (target,) = catalog.targets(Kind.TOOL)
    assert (target.price, target.price_source) == (1, "x.yaml:3")
    assert target.side_effect is SideEffect.DESTROYS
    assert target.labels == {"a"}


async def test_every_connector_is_closed_in_the_end():
    shelf = Shelf()
    async with catalogue(mount("a", shelf)):
        pass
    assert shelf.closed
