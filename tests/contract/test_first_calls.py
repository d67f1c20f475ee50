"""Idempotency keys in every store: one call under a key is made, whoever else tries at the same moment."""

import subprocess
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from broker.errors import BrokerError, Conflict, InvalidRequest
from broker.idempotency import Claim, Ending, State
from broker.journal import Closing, Opening
from broker.ledger.interface import NOTHING, Settlement
from broker.model import MicroUSD
from broker.storage.store import Store
from tests.contract.conftest import STORES, Backend, SqliteBackend
from tests.contract.words import NOBODY, events, intent, money, outcome, quote

NOW = 1_700_000_000
LATER = NOW + 3600
CALL, OTHER = b"f" * 32, b"g" * 32


def claim(name: str = "k", fingerprint: bytes = CALL, agent: str = "researcher", until: int = LATER) -> Claim:
    return Claim(name.encode(), fingerprint, agent, until)


async def begin(store: Store, call: str, claimed: Claim) -> None:
    await store.journal.open(Opening(call, quote(10, researcher=100), intent(call), NOBODY, claim=claimed))


async def end(store: Store, call: str, ending: Ending, cost: int = 10) -> None:
    settlement = NOTHING if ending.state is None else Settlement(MicroUSD(cost))
    await store.journal.close(Closing(call, settlement, outcome(call, cost), ending=ending))


async def test_a_key_is_open_until_its_call_has_ended_and_then_says_how(store: Store):
    assert await store.first_calls.first(b"k") is None
    await begin(store, "a", claim())
    first = await store.first_calls.first(b"k")
    assert first is not None
    assert (first.call, first.fingerprint, first.state, first.sealed) == ("a", CALL, State.OPEN, None)
    await end(store, "a", Ending(State.DONE, "sealed", room=100))
    first = await store.first_calls.first(b"k")
    assert first is not None
    assert (first.state, first.sealed) == (State.DONE, "sealed")


@pytest.mark.parametrize("state", [None, State.DONE, State.LOST], ids=["open", "done", "lost"])
async def test_a_second_call_under_a_taken_key_holds_nothing_and_leaves_no_record(store: Store, state):
    await begin(store, "a", claim())
    if state is not None:
        await end(store, "a", Ending(state))
    before = await money(store, "researcher"), await events(store)
    with pytest.raises(Conflict, match="`a` with this idempotency key"):
        await begin(store, "b", claim())
    with pytest.raises(InvalidRequest, match="another call before, `a`"):
        await begin(store, "b", claim(fingerprint=OTHER))
    assert (await money(store, "researcher"), await events(store)) == before


async def test_a_call_that_a_budget_refuses_does_not_take_its_key(store: Store):
    with pytest.raises(BrokerError):
        await store.journal.open(Opening("a", quote(10, researcher=9), intent("a"), NOBODY, claim=claim()))
    await begin(store, "b", claim())


async def test_where_nothing_was_done_the_key_is_free_again(store: Store):
    await begin(store, "a", claim())
    await end(store, "a", Ending(None), 0)
    await begin(store, "b", claim())


async def test_a_key_expires_but_not_while_its_call_is_open(backend: Backend):
    now = [float(NOW)]
    async with backend.open(clock=lambda: now[0]) as store:
        await begin(store, "a", claim())
        now[0] = LATER + 1
        with pytest.raises(Conflict):
            await begin(store, "b", claim())
        await end(store, "a", Ending(State.DONE, "sealed", room=100))
        assert await store.first_calls.first(b"k") is None
        await begin(store, "b", claim(until=LATER + 100))
        first = await store.first_calls.first(b"k")
        assert first is not None
        assert first.call == "b"


async def test_an_agent_has_no_more_kept_than_it_may(store: Store):
    await begin(store, "a", claim("k1"))
    await end(store, "a", Ending(State.DONE, "x" * 60, room=100))
    await begin(store, "b", claim("k2"))
    await end(store, "b", Ending(State.DONE, "x" * 60, room=100))
    await begin(store, "c", claim("k3", agent="planner"))
    await end(store, "c", Ending(State.DONE, "x" * 60, room=100))
    kept = [await store.first_calls.first(key) for key in (b"k1", b"k2", b"k3")]
    assert [first and (first.state, len(first.sealed or "")) for first in kept] == [
        (State.DONE, 60),
        (State.DONE, 0),
        (State.DONE, 60),
    ]


async def test_the_key_of_a_call_that_a_vanished_process_left_open_is_lost_not_free(backend: Backend):
    async with backend.open() as store:
        await begin(store, "a", claim())
    async with backend.open() as store:
        await end(store, "a", Ending(State.LOST))
        first = await store.first_calls.first(b"k")
        assert first is not None
        assert first.state is State.LOST
        with pytest.raises(Conflict):
            await begin(store, "b", claim())


async def test_of_thirty_calls_under_one_key_at_once_one_is_made(store: Store):
    made: list[str] = []

    async def attempt(call: str) -> None:
        try:
            await begin(store, call, claim())
            made.append(call)
        except Conflict:
            pass

    async with anyio.create_task_group() as tasks:
        for n in range(30):
            tasks.start_soon(attempt, f"c{n}")
    assert len(made) == 1
    assert await money(store, "researcher") == (0, 10)


RACER = """
import pathlib, sys
import anyio
from broker.errors import Conflict
from tests.contract.conftest import DEPLOYMENT
from tests.contract.test_first_calls import begin, claim, end
from broker.idempotency import Ending, State
from broker.storage.sqlite import open_store

async def main():
    async with open_store(pathlib.Path(sys.argv[1]), deployment=DEPLOYMENT, serve=False) as store:
        print("ready", flush=True)
        sys.stdin.readline()
        for n in range(50):
            try:
                await begin(store, f"{sys.argv[2]}-{n}", claim(f"k{n}", until=2**40))
            except Conflict:
                continue
            await end(store, f"{sys.argv[2]}-{n}", Ending(State.DONE, "sealed", room=10**6), 1)
            print(n, flush=True)

anyio.run(main)
"""


async def test_of_two_processes_that_race_for_fifty_keys_one_gets_each(tmp_path: Path):
    backend = SqliteBackend(tmp_path)
    async with backend.open():
        pass
    children = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(backend.path), name],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("left", "right")
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:  # both stand at the line
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    said = [child.communicate(timeout=60)[0].split() for child in children]
    assert [child.returncode for child in children] == [0, 0]
    assert sorted(map(int, said[0] + said[1])) == list(range(50))
    async with backend.open() as store:
        assert await money(store, "researcher") == (50, 0)


steps = st.lists(
    st.tuples(
        st.sampled_from(["begin", "end", "restart"]),
        st.sampled_from(["k1", "k2"]),
        st.sampled_from([CALL, OTHER]),
        st.sampled_from([None, State.DONE, State.LOST]),
    ),
    max_size=25,
)


@pytest.mark.parametrize("kind", STORES)
@given(steps)
@settings(max_examples=25, deadline=None)
def test_in_any_order_a_key_stands_for_one_call_and_money_is_paid_once_for_each_effect(kind: str, taken):
    with tempfile.TemporaryDirectory() as folder:
        anyio.run(_against_a_dictionary, STORES[kind](Path(folder)), taken)


async def _against_a_dictionary(backend: Backend, taken: list) -> None:
    """The reference: for each key the call that took it, what it was for, and how it ended."""
    keys: dict[str, tuple[str, bytes, State]] = {}
    paid = 0
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(backend.open())
        for number, (step, key, fingerprint, ending) in enumerate(taken):
            known = keys.get(key)
            if step == "restart":
                await stack.aclose()
                store = await stack.enter_async_context(backend.open())
            elif step == "begin":
                if known is None:
                    await begin(store, f"c{number}", claim(key, fingerprint))
                    keys[key] = f"c{number}", fingerprint, State.OPEN
                else:
                    with pytest.raises(InvalidRequest) as refusal:
                        await begin(store, f"c{number}", claim(key, fingerprint))
                    assert refusal.type is (InvalidRequest if known[1] != fingerprint else Conflict)
            elif known is not None and known[2] is State.OPEN:
                await end(store, known[0], Ending(ending), 0 if ending is None else 1)
                paid += ending is not None
                if ending is None:
                    del keys[key]
                else:
                    keys[key] = known[0], known[1], ending
        for key in ("k1", "k2"):
            first = await store.first_calls.first(key.encode())
            assert keys.get(key) == (first and (first.call, first.fingerprint, first.state))
        opened = sum(state is State.OPEN for _, _, state in keys.values())
        assert await money(store, "researcher") == (paid, 10 * opened)
