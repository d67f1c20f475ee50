"""What waits for a client to come back is little, and not for long."""

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.edges.mcp import trails
from broker.edges.mcp.trails import Event, Trails
from tests.unit.edges.house import MemorySignals


class Seconds:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def left(kept: Trails, session: str, trail) -> list[bytes]:
    async with kept.found(session, trail.owner, trail.id_of(0).decode()) as found:
        return [] if found is None else [event.message for event in found.waiting]


async def test_a_response_is_kept_for_five_minutes():
    seconds = Seconds()
    kept = Trails(MemorySignals(), seconds)
    trail = kept.begin("s", "alice")
    await kept.finish(trail, b"{}")
    seconds.now = 299.0
    assert await left(kept, "s", trail) == [b"{}"]
    seconds.now = 300.0
    assert await left(kept, "s", trail) == []
    assert kept._trails == {}


async def test_one_agent_keeps_a_limited_number_and_amount_and_takes_no_room_from_another(monkeypatch):
    monkeypatch.setattr(trails, "MOST_KEPT_OF_ONE", 3)
    monkeypatch.setattr(trails, "MOST_BYTES_OF_ONE", 100)
    kept = Trails(MemorySignals(), Seconds())
    bobs = kept.begin("b", "bob")
    await kept.finish(bobs, b"x" * 90)
    many = [kept.begin("s", "alice") for _ in range(5)]
    for trail in many:
        await kept.finish(trail, b"{}")
    assert [bool(await left(kept, "s", trail)) for trail in many] == [False, False, True, True, True]
    large = kept.begin("s", "alice")
    await kept.finish(large, b"x" * 99)
    assert [bool(await left(kept, "s", trail)) for trail in (*many, large)] == [False] * 5 + [True]
    assert await left(kept, "b", bobs) == [b"x" * 90]


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 40), st.booleans()), max_size=40))
def test_all_that_is_kept_has_a_limit_whatever_is_said(said):
    async def go() -> None:
        with pytest.MonkeyPatch.context() as patch:
            for name, most in (("MOST_KEPT", 5), ("MOST_BYTES", 60), ("MOST_BYTES_OF_ONE", 30)):
                patch.setattr(trails, name, most)
            kept = Trails(MemorySignals(), Seconds())
            for agent, size, finished in said:
                trail = kept.begin("s", agent)
                await (kept.finish if finished else kept.add)(trail, b"x" * size)
                assert len(kept._kept) <= 5
                assert sum(t.size for t in kept._kept.values()) <= 60
                assert sum(t.size for t in kept._kept.values() if t.owner == agent) <= 30

    anyio.run(go)


async def test_of_what_is_said_meanwhile_the_oldest_is_dropped_but_never_the_response():
    kept = Trails(MemorySignals(), Seconds())
    trail = kept.begin("s", "alice")
    for number in range(trails.MOST_WAITING + 5):
        await kept.add(trail, b"%d" % number)
    await kept.add(trail, b"x" * (trails.MOST_WAITING_BYTES + 1))
    assert trail.waiting == ()
    await kept.add(trail, b"after")
    await kept.finish(trail, b"y" * (trails.MOST_WAITING_BYTES + 1))
    assert [event.message[:5] for event in trail.waiting] == [b"after", b"yyyyy"]


async def test_a_call_without_an_outcome_leaves_nothing_and_lets_go_of_who_waits():
    kept = Trails(MemorySignals(), Seconds())
    trail = kept.begin("s", "alice")
    goes_on = trail.follow()
    assert goes_on()
    kept.forget(trail)
    assert await trail.next() is None
    assert not goes_on()
    assert kept._trails == {}


async def test_an_event_that_was_heard_is_not_kept_a_second_time():
    kept = Trails(MemorySignals(), Seconds())
    trail = kept.begin("s", "alice")
    trail.heard(2)
    for number in (1, 2, 3):
        trail.keep(Event(number, b"%d" % number, last=False))
    assert [event.number for event in trail.waiting] == [3]
