"""So many calls at a time, and every agent that waits gets its turn."""

import anyio
import anyio.lowlevel
import hypothesis.strategies as st
import pytest
from hypothesis import given

from broker.catalog import turns as module
from broker.catalog.turns import Full, Turns


async def settle() -> None:
    """Let everything that can run run: no task here waits for anything but its turn."""
    for _ in range(5):
        await anyio.lowlevel.checkpoint()


async def test_calls_go_through_at_once_up_to_the_limit():
    turns = Turns("web", 2)
    await turns.take("a")
    await turns.take("a")
    with anyio.move_on_after(0) as scope:
        await turns.take("a")
    assert scope.cancelled_caught
    assert (turns.busy, turns.waiting) == (2, 0)


@given(st.lists(st.sampled_from("abcd"), max_size=30), st.integers(1, 3))
async def test_nobody_is_passed_twice_by_the_same_agent(arrivals: list[str], most: int):
    turns, served = Turns("web", most), []

    async def call(agent: str) -> None:
        await turns.take(agent)
        served.append(agent)

    async with anyio.create_task_group() as tasks:
        for agent in arrivals:
            tasks.start_soon(call, agent)
            await settle()
        for _ in arrivals:
            turns.give_back()
            await settle()
    assert sorted(served) == sorted(arrivals)
    queued = served[most:]
    for at, agent in enumerate(queued):
        later = queued[at + 1 :]
        until_again = later[: later.index(agent)] if agent in later else later
        still_waiting = set(later)
        if agent in later:
            assert still_waiting - {agent} == set(until_again)
    assert (turns.busy, turns.waiting) == (0, 0)


async def test_one_call_waits_one_turn_behind_an_agent_that_asks_for_everything():
    turns, served = Turns("web", 1), []
    await turns.take("greedy")

    async def call(agent: str) -> None:
        await turns.take(agent)
        served.append(agent)

    async with anyio.create_task_group() as tasks:
        for agent in ["greedy"] * 50 + ["modest"]:
            tasks.start_soon(call, agent)
            await settle()
        for _ in range(51):
            turns.give_back()
            await settle()
        turns.give_back()
    assert served.index("modest") == 1


async def test_a_call_that_is_cancelled_while_it_waits_leaves_no_turn_behind():
    turns = Turns("web", 1)
    await turns.take("a")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(turns.take, "b")
        await settle()
        tasks.cancel_scope.cancel()
    assert (turns.busy, turns.waiting) == (1, 0)
    turns.give_back()
    assert turns.busy == 0


async def test_a_turn_that_comes_in_the_moment_of_the_cancellation_goes_to_the_next():
    turns, served = Turns("web", 1), []
    await turns.take("a")

    async def call(agent: str) -> None:
        await turns.take(agent)
        try:
            await anyio.lowlevel.checkpoint()
            served.append(agent)
        finally:
            turns.give_back()

    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as inner:
                inner.start_soon(call, "b")
                await settle()
                tasks.start_soon(call, "c")
                await settle()
                turns.give_back()
                scope.cancel()
        await settle()
    assert served == ["c"]


async def test_when_too_many_wait_the_next_is_told_to_come_later(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MOST_WAITING", 1)
    turns = Turns("web", 1)
    await turns.take("a")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(turns.take, "a")
        await settle()
        with pytest.raises(Full, match="1 calls wait for `web` already"):
            await turns.take("b")
        tasks.cancel_scope.cancel()
