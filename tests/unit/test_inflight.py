"""Which calls stop when somebody falls, and which go on."""

from contextlib import suppress
from itertools import pairwise

import anyio
import pytest

from broker.errors import Denied, StorageUnavailable
from broker.identity.interface import Fallen
from broker.inflight import InFlight
from broker.model import (
    Agent,
    AgentId,
    Call,
    CallId,
    Grant,
    GrantId,
    Method,
    OrganisationId,
    Principal,
)
from broker.record import CallRecord
from broker.storage.signals import LocalSignals


def agent(name: str) -> Agent:
    return Agent(AgentId(name), OrganisationId("acme"), frozenset())


def grant(by: str, to: str, call: str | None = None) -> Grant:
    return Grant(
        GrantId(f"{by}-{to}"),
        None,
        OrganisationId("acme"),
        AgentId("planner"),
        AgentId(by),
        AgentId(to),
        1,
        4,
        "txn",
        0,
        0,
        call=None if call is None else CallId(call),
        credential=f"key:{by[0]}",
    )


def principal(*names: str, token: str = "jti", call: str | None = None) -> Principal:
    """A chain, newest first; with `call` its first hop serves that."""
    actors = tuple(agent(name) for name in names)
    hops = tuple(grant(by, to, call if by == names[-1] else None) for to, by in pairwise(names))
    own = f"key:{names[0][0]}"
    return Principal(
        actors[0], actors[-1].id, actors, frozenset(), token, "txn", 0, hops, credential=own, key="kid"
    )


class Registry:
    """What has fallen, with its number."""

    def __init__(self) -> None:
        self.number = 1
        self.fell = Fallen({})
        self.unreadable = 0
        self.over: frozenset[CallId] = frozenset()

    async def version(self) -> int:
        if self.unreadable:
            self.unreadable -= 1
            raise StorageUnavailable("the disk is gone")
        return self.number

    async def fallen(self, principals) -> Fallen:
        return self.fell

    async def ended(self, calls) -> frozenset[CallId]:
        return self.over.intersection(calls)

    def fall(self, fallen: Fallen) -> None:
        self.fell = fallen
        self.number += 1


class Sky:
    """Calls in flight until something ends them."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.inflight = InFlight(self.registry)
        self.ended: dict[str, str] = {}
        self.change = anyio.Event()

    async def fly(self, name: str, who: Principal) -> None:
        record = CallRecord(call=Call(CallId(name), Method.CALL_TOOL, "x", {}, "t", None), started=0.0)
        try:
            with self.inflight.flight(record, who):
                await anyio.sleep_forever()
        except Denied as error:
            self.ended[name] = error.message
            self.change.set()


@pytest.mark.parametrize(
    ("fallen", "ended"),
    [
        (Fallen({AgentId("planner"): "suspended"}), {"deep", "short"}),
        (Fallen({AgentId("writer"): "revoked"}), {"deep"}),
        (Fallen({}, grants=frozenset({GrantId("planner-researcher")})), {"deep", "short"}),
        (Fallen({}, grants=frozenset({GrantId("researcher-writer")})), {"deep"}),
        (Fallen({}, tokens=frozenset({"jti-other"})), {"other"}),
        (Fallen({}, credentials=frozenset({(AgentId("planner"), "key:p")})), {"deep", "short"}),
        (Fallen({}, credentials=frozenset({(AgentId("writer"), "key:w")})), {"deep"}),
        (Fallen({}, credentials=frozenset({(AgentId("other"), "key:w")})), set()),
        (Fallen({}, keys=frozenset({"kid"})), {"deep", "short", "other"}),
        (Fallen({}), set()),
    ],
)
async def test_what_falls_ends_exactly_the_calls_that_stand_on_it(fallen: Fallen, ended: set[str]):
    sky = Sky()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sky.fly, "deep", principal("writer", "researcher", "planner"))
            tasks.start_soon(sky.fly, "short", principal("researcher", "planner"))
            tasks.start_soon(sky.fly, "other", principal("other", token="jti-other"))
            await anyio.wait_all_tasks_blocked()
            sky.registry.fall(fallen)
            assert await sky.inflight.stop_fallen() == len(ended)
            await anyio.wait_all_tasks_blocked()
            assert set(sky.ended) == ended
            assert len(sky.inflight) == 3 - len(ended)
            tasks.cancel_scope.cancel()
    assert len(sky.inflight) == 0


async def test_calls_that_were_made_for_a_call_end_with_it_and_others_do_not():
    sky, signals = Sky(), LocalSignals()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sky.fly, "child", principal("researcher", "planner", call="parent"))
            tasks.start_soon(
                sky.fly, "grandchild", principal("writer", "researcher", "planner", call="parent")
            )
            tasks.start_soon(sky.fly, "cousin", principal("researcher", "planner", call="aunt"))
            tasks.start_soon(sky.fly, "stranger", principal("researcher"))
            tasks.start_soon(sky.inflight.watch, signals)
            await anyio.wait_all_tasks_blocked()
            sky.registry.over = frozenset({CallId("parent")})
            while len(sky.ended) < 2:
                sky.change = anyio.Event()
                await sky.change.wait()
            assert set(sky.ended) == {"child", "grandchild"}
            assert set(sky.ended.values()) == {"the call that it was made for has ended"}
            assert len(sky.inflight) == 2
            tasks.cancel_scope.cancel()


async def test_a_stopped_call_is_told_who_fell():
    sky = Sky()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sky.fly, "a", principal("researcher", "planner"))
            await anyio.wait_all_tasks_blocked()
            sky.registry.fall(Fallen({AgentId("planner"): "suspended"}))
            await sky.inflight.stop_fallen()
    assert sky.ended == {"a": "`planner` was suspended while the call ran"}


async def test_a_call_that_its_own_caller_cancels_is_not_reported_as_stopped():
    sky = Sky()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sky.fly, "a", principal("researcher"))
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
    assert sky.ended == {}


async def test_an_error_of_the_call_itself_leaves_as_it_is():
    sky = Sky()
    record = CallRecord(call=Call(CallId("a"), Method.CALL_TOOL, "x", {}, "t", None), started=0.0)
    with pytest.raises(KeyError), sky.inflight.flight(record, principal("researcher")):
        raise KeyError("a bug")
    assert len(sky.inflight) == 0


async def test_the_watch_stops_calls_and_then_tells_streams_to_look_again():
    sky, signals = Sky(), LocalSignals()
    with anyio.fail_after(5):
        async with signals.subscribe("agents") as heard, anyio.create_task_group() as tasks:
            tasks.start_soon(sky.inflight.watch, signals)
            tasks.start_soon(sky.fly, "a", principal("researcher"))
            await anyio.wait_all_tasks_blocked()
            sky.registry.fall(Fallen({AgentId("researcher"): "revoked"}))
            await sky.change.wait()
            assert await anext(heard) == ("agents", {"version": 2})
            tasks.cancel_scope.cancel()


async def test_a_state_that_cannot_be_read_for_a_while_delays_the_watch_and_does_not_end_it():
    sky = Sky()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sky.inflight.watch, LocalSignals())
            tasks.start_soon(sky.fly, "a", principal("researcher"))
            await anyio.wait_all_tasks_blocked()
            sky.registry.unreadable = 2
            sky.registry.fall(Fallen({AgentId("researcher"): "revoked"}))
            await sky.change.wait()
            tasks.cancel_scope.cancel()
    assert sky.registry.unreadable == 0


async def test_a_connector_that_clings_to_life_is_still_cut_off_at_its_next_wait():
    sky = Sky()
    record = CallRecord(call=Call(CallId("a"), Method.CALL_TOOL, "x", {}, "t", None), started=0.0)

    async def clinging() -> None:
        with suppress(anyio.get_cancelled_exc_class()):
            await anyio.sleep_forever()
        await anyio.sleep_forever()

    async def flying() -> None:
        with sky.inflight.flight(record, principal("researcher")):
            await clinging()

    async def stopped() -> None:
        with pytest.raises(Denied):
            await flying()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stopped)
            await anyio.wait_all_tasks_blocked()
            sky.registry.fall(Fallen({AgentId("researcher"): "revoked"}))
            await sky.inflight.stop_fallen()
