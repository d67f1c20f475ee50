"""What survives `kill -9`? Whatever happened is in the log, and the books balance.

The broker is killed in the middle of calls, again and again, while an upstream writes every effect to
the disk. Each call carries its number as the trace id, which both the upstream's effect and the
broker's intent keep, so the two can be compared one by one.

BROKER_CRASH_CALLS and BROKER_CRASH_KILLS make it longer; BROKER_CRASH_SEED repeats a run.
"""

import collections
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import anyio
import orjson
import pytest
from anyio import to_thread

from broker.audit.interface import Event, Outcome
from broker.ledger.interface import Balance
from broker.storage.sqlite import open_store
from tests.e2e.counting import Counter
from tests.e2e.restartable import Restartable
from tests.e2e.rpc import request_on

CALLS = int(os.environ.get("BROKER_CRASH_CALLS", "300"))
KILLS = int(os.environ.get("BROKER_CRASH_KILLS", "5"))
SEED = int(os.environ.get("BROKER_CRASH_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
WORKERS = 8
PRICE_MICRO_USD = 1000

pytestmark = pytest.mark.timeout(60 + CALLS // 5)


@dataclass
class Story:
    """What the callers saw: which calls were made, and which of them were answered."""

    started: int = 0
    answered: set[str] = field(default_factory=set[str])
    up: anyio.Event = field(default_factory=anyio.Event)
    moved: anyio.Event = field(default_factory=anyio.Event)


@dataclass(frozen=True)
class Book:
    """What the log and the ledger say."""

    intents: dict[str, dict[str, Any]]
    terminals: dict[str, list[dict[str, Any]]]
    balance: Balance

    def effect(self, call: str) -> str:
        """The number that the caller gave this call, out of its trace id."""
        return self.intents[call]["cause"]["trace"].split("-")[1]


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counter]:
    with Counter(tmp_path_factory.mktemp("crash")) as counter:
        yield counter


@pytest.fixture(scope="module")
def deployment(counter: Counter) -> Iterator[Restartable]:
    folder = counter.log.parent / "broker"
    prices = {"counter__*": "0.001"}
    with Restartable(folder, {"counter": counter.connector}, prices=prices) as deployment:
        yield deployment


@pytest.fixture(scope="module")
def aftermath(deployment: Restartable) -> tuple[Story, Book]:
    """Kill the broker KILLS times during CALLS calls and start it once more; then read its books."""
    print(f"BROKER_CRASH_SEED={SEED}")
    story = Story()
    anyio.run(_crash, deployment, story)
    deployment.stop()
    return story, anyio.run(_read, deployment)


async def _crash(deployment: Restartable, story: Story) -> None:
    token = deployment.deployment.token(deployment.deployment.add_agent("crash", "everything"))
    chance = random.Random(SEED)  # noqa: S311 - a run can be repeated
    with anyio.fail_after(40 + CALLS / 5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_killer, deployment, story, chance)
            for _ in range(WORKERS):
                tasks.start_soon(_caller, deployment, story, token)


async def _killer(deployment: Restartable, story: Story, chance: random.Random) -> None:
    story.up.set()
    for moment in sorted(chance.sample(range(WORKERS, CALLS), KILLS)):
        while story.started < moment:
            await story.moved.wait()
        await anyio.sleep(chance.uniform(0, 0.02))
        story.up = anyio.Event()
        deployment.kill()
        await to_thread.run_sync(deployment.start)
        story.up.set()


async def _caller(deployment: Restartable, story: Story, token: str) -> None:
    url = deployment.deployment.mcp_url
    async with aiohttp.ClientSession() as session:
        while story.started < CALLS:
            await story.up.wait()
            story.started += 1
            story.moved.set()
            story.moved = anyio.Event()
            number = f"{story.started:032x}"
            wait_s = story.started % 5 * 0.002  # so that a kill finds calls in every step
            params = {"name": "counter__count", "arguments": {"id": number, "wait_s": wait_s}}
            trace = f"00-{number}-00000000000000aa-01"
            try:
                reply = await request_on(session, url, token, "tools/call", params, traceparent=trace)
            except (aiohttp.ClientError, ConnectionError):
                continue  # the broker died under this call; nobody knows how far it got
            assert reply.status == 200, reply
            assert reply.result.get("isError") is not True, reply.text
            story.answered.add(number)


async def _read(deployment: Restartable) -> Book:
    intents: dict[str, dict[str, Any]] = {}
    terminals: dict[str, list[dict[str, Any]]] = {}
    async with open_store(deployment.database, deployment="broker.local", serve=False) as store:
        async for record in store.log.records("default"):
            body = orjson.loads(record.body)
            if body["type"] == Event.CALL_INTENT:
                assert body["call"] not in intents
                intents[body["call"]] = body
            elif body["type"] in (Event.CALL_OUTCOME, Event.CALL_UNKNOWN):
                terminals.setdefault(body["call"], []).append(body)
        return Book(intents, terminals, await store.ledger.balance("agent:crash"))


def test_every_effect_upstream_has_an_intent_in_the_log(
    aftermath: tuple[Story, Book], counter: Counter
) -> None:
    _, book = aftermath
    intended = {book.effect(call) for call in book.intents}
    happened = counter.happened
    assert happened
    assert set(happened) <= intended


def test_no_call_has_its_effect_twice(aftermath: tuple[Story, Book], counter: Counter) -> None:
    assert [effect for effect, times in collections.Counter(counter.happened).items() if times > 1] == []


def test_every_intent_has_exactly_one_end(aftermath: tuple[Story, Book]) -> None:
    _, book = aftermath
    assert {call: len(book.terminals.get(call, ())) for call in book.intents} == dict.fromkeys(
        book.intents, 1
    )
    assert book.terminals.keys() == book.intents.keys()


def test_whatever_a_caller_holds_is_in_the_log_as_done(aftermath: tuple[Story, Book]) -> None:
    story, book = aftermath
    done = {book.effect(call) for call, ends in book.terminals.items() if ends[0]["outcome"] == Outcome.OK}
    assert story.answered
    assert story.answered <= done


def test_what_a_crash_left_open_is_closed_as_unknown_with_its_amount_kept(
    aftermath: tuple[Story, Book],
) -> None:
    _, book = aftermath
    unknown = [end for ends in book.terminals.values() for end in ends if end["type"] == Event.CALL_UNKNOWN]
    assert unknown
    assert {end["outcome"] for end in unknown} == {Outcome.UNKNOWN}
    assert {end["reason"] for end in unknown} == {"broker_restart"}
    assert {end["cost"] for end in unknown} == {PRICE_MICRO_USD}


def test_the_ledger_balances(aftermath: tuple[Story, Book]) -> None:
    _, book = aftermath
    charged = sum(end["cost"] for ends in book.terminals.values() for end in ends)
    assert (book.balance.spent, book.balance.held) == (charged, 0)


def test_the_log_verifies(aftermath: tuple[Story, Book], deployment: Restartable) -> None:
    verified = deployment.run("audit", "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_nothing_is_left_to_recover(aftermath: tuple[Story, Book], deployment: Restartable) -> None:
    before = len(deployment.said())
    deployment.start()
    deployment.stop()
    assert "left open" not in deployment.said()[before:]
