"""When is an address of keys asked, and what holds while it does not answer?"""

import json
from itertools import pairwise

import anyio
import pytest

from broker.errors import UpstreamRefused
from broker.identity.compact import read
from broker.identity.published_keys import FRESH_S, LONGEST_PAUSE_S, PAUSE_S, STALE_S, PublishedKeys
from tests.unit.identity.memory import ManualClock, MemorySource
from tests.unit.identity.signing import EC, ED, Signer, public

URL = "https://agent.example/jwks.json"


def key_set(*keys) -> bytes:
    return json.dumps({"keys": [public(key) | {"kid": f"k{n}"} for n, key in enumerate(keys)]}).encode()


class Desk:
    def __init__(self, capacity: int = 1024) -> None:
        self.clock, self.source = ManualClock(), MemorySource()
        self.keys = PublishedKeys(self.source, self.clock, capacity=capacity)

    async def fitting(self, kid: str | None = "k0", url: str = URL) -> list[str]:
        token = read(Signer("a", "b").assertion({"kid": kid} if kid else None))
        return [key.alias for key in await self.keys.fitting(url, token, allow_private=False)]

    @property
    def asked(self) -> int:
        return len(self.source.asked)


async def test_keys_are_fetched_when_they_are_needed_and_kept_for_a_while():
    desk = Desk()
    desk.source.documents[URL] = key_set(EC)
    for _ in range(3):
        assert await desk.fitting() == ["k0"]
        desk.clock.now += FRESH_S - 1
        assert await desk.fitting() == ["k0"]
        desk.clock.now += 1
    assert desk.asked == 3


async def test_a_key_that_is_new_is_looked_for_at_once_but_not_in_a_rush():
    desk = Desk()
    desk.source.documents[URL] = key_set(ED)
    assert await desk.fitting("k1") == []
    desk.source.documents[URL] = key_set(ED, EC)
    for _ in range(5):
        assert await desk.fitting("k1") == []
        desk.clock.now += PAUSE_S / 5
    assert await desk.fitting("k1") == ["k1"]
    assert desk.asked == 2


async def test_a_key_that_is_taken_down_is_of_no_use_after_a_while():
    desk = Desk()
    desk.source.documents[URL] = key_set(EC)
    assert await desk.fitting() == ["k0"]
    desk.source.documents[URL] = key_set(ED)
    desk.clock.now += FRESH_S
    assert await desk.fitting() == []


async def test_while_an_address_is_silent_known_keys_hold_for_a_time_and_no_longer():
    desk = Desk()
    desk.source.documents[URL] = key_set(EC)
    assert await desk.fitting() == ["k0"]
    del desk.source.documents[URL]
    desk.clock.now += STALE_S - 1
    assert await desk.fitting() == ["k0"]
    desk.clock.now += 1
    assert await desk.fitting() == []


async def test_an_address_that_fails_is_asked_less_and_less_often():
    desk = Desk()
    moments = [0.0]
    start = desk.clock.now
    await desk.fitting()
    while len(moments) < 8:
        desk.clock.now += 1
        before = desk.asked
        await desk.fitting()
        if desk.asked > before:
            moments.append(desk.clock.now - start)
    pauses = [later - earlier for earlier, later in pairwise(moments)]
    assert pauses == [PAUSE_S, 2 * PAUSE_S, 4 * PAUSE_S, 8 * PAUSE_S, *[LONGEST_PAUSE_S] * 3]


@pytest.mark.parametrize("content", [b"", b"<html>", b"{}", b'{"keys":[]}', b'{"keys":[],"keys":[]}'])
async def test_what_is_no_key_set_is_a_failure(content):
    desk = Desk()
    desk.source.documents[URL] = content
    assert await desk.fitting() == []
    assert await desk.fitting() == []
    assert desk.asked == 1


async def test_many_who_need_a_key_at_the_same_moment_ask_once_and_nobody_takes_it_from_the_others():
    class Slow(MemorySource):
        def __init__(self) -> None:
            super().__init__()
            self.arrived, self.go_on = anyio.Event(), anyio.Event()

        async def fetch(self, url: str, *, largest: int, allow_private: bool) -> bytes:
            self.arrived.set()
            await self.go_on.wait()
            return await super().fetch(url, largest=largest, allow_private=allow_private)

    desk, found = Desk(), []
    desk.source = slow = Slow()
    slow.documents[URL] = key_set(EC)
    desk.keys = PublishedKeys(slow, desk.clock)

    async def ask() -> None:
        found.append(await desk.fitting())

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            first = anyio.CancelScope()

            async def hang_up() -> None:
                with first:
                    await desk.fitting()

            tasks.start_soon(hang_up)
            await slow.arrived.wait()
            for _ in range(10):
                tasks.start_soon(ask)
            first.cancel()
            await anyio.wait_all_tasks_blocked()
            slow.go_on.set()
    assert found == [["k0"]] * 10
    assert desk.asked == 1


async def test_one_address_that_hangs_holds_up_no_other():
    class Hanging(MemorySource):
        async def fetch(self, url: str, *, largest: int, allow_private: bool) -> bytes:
            if "slow" in url:
                await stuck.wait()
                raise UpstreamRefused("too slow")
            return await super().fetch(url, largest=largest, allow_private=allow_private)

    stuck, desk = anyio.Event(), Desk()
    desk.source = Hanging()
    desk.source.documents[URL] = key_set(EC)
    desk.keys = PublishedKeys(desk.source, desk.clock)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(desk.fitting, "k0", "https://slow.example/jwks")
            await anyio.wait_all_tasks_blocked()
            assert await desk.fitting() == ["k0"]
            stuck.set()


async def test_there_is_an_end_to_how_many_addresses_are_remembered():
    desk = Desk(capacity=2)
    for number in (1, 2, 1, 3, 1, 2):
        desk.source.documents[f"{URL}{number}"] = key_set(EC)
        assert await desk.fitting(url=f"{URL}{number}") == ["k0"]
    assert [url[-1] for url in desk.source.asked] == ["1", "2", "3", "2"]
