"""What is approved stays approved, in every process, and nothing becomes so without a record."""

import anyio
import orjson
import pytest

from broker.catalog.pins import Pin
from broker.definitions import Definitions
from broker.errors import InvalidRequest, UnknownTarget
from broker.storage.store import Store
from tests.contract.conftest import Backend
from tests.contract.words import records


def tool(name="read", description="Reads a file.", **more):
    return {"name": name, "description": description, "inputSchema": {"type": "object"}, **more}


def keeper(store: Store, *connectors: str, suspect=lambda definition, others: ()) -> Definitions:
    return Definitions(store.pins, connectors or ("files",), suspect)


async def admit(definitions: Definitions, *tools, connector="files", ask=False):
    return await definitions.admit(connector, tools, lambda name: f"{connector}__{name}", ask=ask)


async def system_log(store: Store) -> list[dict]:
    return [orjson.loads(record.body) async for record in records(store, "system")]


async def test_what_is_new_is_pinned_at_first_sight_and_recorded_with_its_hash(store: Store):
    admitted = await admit(keeper(store), tool())
    assert (admitted.tools, admitted.waiting) == ([tool()], ())
    (pin,) = await store.pins.pins()
    body = (await system_log(store))[-1]
    assert (body["type"], body["connector"], body["by"]) == ("definition.pinned", "files", "first use")
    assert body["tools"] == [{"tool": "read", "digest": pin.digest}]


async def test_the_same_offer_again_writes_nothing(store: Store):
    definitions = keeper(store)
    await admit(definitions, tool())
    before, version = len(await system_log(store)), await definitions.version()
    await admit(definitions, tool())
    assert (len(await system_log(store)), await definitions.version()) == (before, version)


async def test_a_doubt_is_recorded_once_with_both_hashes(store: Store):
    definitions = keeper(store)
    await admit(definitions, tool())
    for _ in range(2):
        admitted = await admit(definitions, tool(description="Reads a file!"))
    (pin,) = admitted.waiting
    doubts = [body for body in await system_log(store) if body["type"] == "definition.quarantined"]
    assert [(d["pinned"], d["offered"], d["serves"]) for d in doubts] == [
        (pin.digest, pin.offered_digest, "pinned")
    ]


async def test_what_an_operator_approves_is_served_from_then_on_and_recorded_under_their_name(store: Store):
    definitions = keeper(store)
    admitted = await admit(definitions, tool(), ask=True)
    assert admitted.tools == []
    await definitions.approve(admitted.waiting, by="dana")
    assert (await admit(definitions, tool(), ask=True)).tools == [tool()]
    body = (await system_log(store))[-1]
    assert (body["type"], body["tool"], body["by"]) == ("definition.approved", "read", "dana")


async def test_only_what_was_shown_is_approved(store: Store):
    definitions = keeper(store)
    shown = (await admit(definitions, tool(), ask=True)).waiting
    await admit(definitions, tool(description="Something else."), ask=True)
    with pytest.raises(InvalidRequest, match="changed again"):
        await definitions.approve(shown, by="dana")
    assert (await admit(definitions, tool(), ask=True)).tools == []


async def test_a_tool_that_nobody_knows_cannot_be_approved(store: Store):
    with pytest.raises(UnknownTarget, match="no tool `x`"):
        await keeper(store).approve([Pin("files", "x", "files__x", offered_digest="1")], by="dana")


async def test_another_process_goes_by_the_same_pins(backend: Backend):
    async with backend.open() as one, backend.open(serve=False) as other:
        here, there = keeper(one), keeper(other)
        await admit(here, tool())
        version = await there.version()
        admitted = await admit(there, tool(description="New words."))
        assert admitted.tools == [tool()]
        await there.approve(admitted.waiting, by="dana")
        assert await here.version() > version
        assert (await admit(here, tool(description="New words."))).tools == [tool(description="New words.")]


async def test_of_two_processes_that_see_a_tool_first_only_one_is_believed(backend: Backend):
    async with backend.open() as one, backend.open(serve=False) as other:
        served = []

        async def see(store: Store, description: str) -> None:
            admitted = await admit(keeper(store), tool(description=description))
            served.append([t["description"] for t in admitted.tools])

        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(see, one, "the one")
                tasks.start_soon(see, other, "the other")
        assert served[0] == served[1]
        assert served[0] in (["the one"], ["the other"])


async def test_a_definition_is_kept_whatever_json_it_holds(store: Store):
    odd = tool(**{"x-big": 2**80, "description": "\ud800", "_meta": {"n": 1.5}})
    await admit(keeper(store), odd)
    (pin,) = await store.pins.pins("files")
    assert pin.approved == odd
