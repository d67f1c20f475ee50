"""What if something around the broker fails? Upstreams that are away, that die in a call, and a full disk."""

import resource
from collections.abc import Iterator
from typing import Any

import anyio
import orjson
import pytest

from broker.audit.interface import Event, Outcome
from broker.ledger.interface import Balance
from broker.storage.sqlite import open_store
from tests.e2e.counting import Counter
from tests.e2e.processes import free_port
from tests.e2e.restartable import Restartable
from tests.e2e.rpc import Reply, call_tool, request
from tests.e2e.waiting import until

pytestmark = pytest.mark.timeout(90)
PRICE_MICRO_USD = 1000
LEFT_ON_DISK = 96 << 10
"""Bytes that a file may still grow by in the test of a full disk: room for some calls."""


@pytest.fixture
def counter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counter]:
    with Counter(tmp_path_factory.mktemp("surroundings")) as counter:
        yield counter


def deployed(counter: Counter) -> Restartable:
    gone = {"url": f"http://127.0.0.1:{free_port()}/mcp", "allow_private": True}
    connectors = {
        "echo": {"use": "echo"},
        "counter": counter.connector,
        "gone": {"use": "mcp", "settings": gone},
    }
    return Restartable(counter.log.parent / "broker", connectors, prices={"counter__*": "0.001"})


async def books(broker: Restartable, agent: str) -> tuple[list[dict[str, Any]], Balance]:
    """The records of an agent's calls, in order, and its balance."""
    async with open_store(broker.database, deployment="broker.local", serve=False) as store:
        bodies = [orjson.loads(record.body) async for record in store.log.records("default")]
        return [b for b in bodies if b["type"].startswith("call.")], await store.ledger.balance(
            f"agent:{agent}"
        )


async def test_an_upstream_that_is_away_takes_only_its_own_tools_with_it(counter: Counter) -> None:
    with deployed(counter) as broker:
        token = broker.deployment.token(broker.deployment.add_agent("wide", "everything"))
        url = broker.deployment.mcp_url
        listed = (await request(url, token, "tools/list")).result["tools"]
        assert {tool["name"].partition("__")[0] for tool in listed} == {"echo", "counter"}
        assert "hi" in (await call_tool(url, token, "echo__say", text="hi")).text
        missing = await call_tool(url, token, "gone__anything")
        assert "gone__anything" in missing.error["message"]
        assert "gone" in broker.said()
        assert "Traceback" not in broker.said()


async def test_a_call_of_an_upstream_that_went_away_costs_nothing_and_says_so(counter: Counter) -> None:
    with deployed(counter) as broker:
        token = broker.deployment.token(broker.deployment.add_agent("wide", "everything"))
        url = broker.deployment.mcp_url
        counter.kill()
        refused = await call_tool(url, token, "counter__count", id="a")
        assert refused.refusal["code"] == "upstream_unreachable"
        counter.start()
        assert "effect" in (await call_tool(url, token, "counter__count", id="b")).text
        records, balance = await books(broker, "wide")
    ends = [record["outcome"] for record in records if record["type"] == Event.CALL_OUTCOME]
    assert ends == [Outcome.UPSTREAM_ERROR, Outcome.OK]
    assert (balance.spent, balance.held) == (PRICE_MICRO_USD, 0)
    assert counter.happened == ["b"]


async def test_a_call_whose_upstream_dies_in_the_middle_is_unknown_and_keeps_its_amount(
    counter: Counter,
) -> None:
    with deployed(counter) as broker:
        token = broker.deployment.token(broker.deployment.add_agent("wide", "everything"))
        url = broker.deployment.mcp_url
        replies: list[Reply] = []

        async def call() -> None:
            replies.append(await call_tool(url, token, "counter__count", id="lost", wait_s=20))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await until(lambda: counter.happened == ["lost"])
            counter.kill()
        assert replies[0].refusal["code"] == "upstream_lost"
        counter.start()
        assert "effect" in (await call_tool(url, token, "counter__count", id="next")).text
        records, balance = await books(broker, "wide")
    ends = [record for record in records if record["type"] == Event.CALL_OUTCOME]
    assert [end["outcome"] for end in ends] == [Outcome.UNKNOWN, Outcome.OK]
    assert ends[0]["estimated"] is True
    assert (balance.spent, balance.held) == (2 * PRICE_MICRO_USD, 0)
    assert counter.happened == ["lost", "next"], "a lost call is never repeated"


def largest_file(broker: Restartable) -> int:
    return max(path.stat().st_size for path in broker.database.parent.iterdir() if path.is_file())


async def test_a_full_disk_stops_calls_before_they_leave_and_nothing_is_lost(counter: Counter) -> None:
    broker = deployed(counter)
    with broker:
        agent = broker.deployment.add_agent("wide", "everything")
        token = broker.deployment.token(agent)
        url = broker.deployment.mcp_url
    most = largest_file(broker) + LEFT_ON_DISK
    broker.start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)))
    try:
        answered = await call_until_refused(url, token)
        before = counter.happened
        again = await call_tool(url, token, "counter__count", id="after")
        assert "after" not in counter.happened
        assert not_recorded(again)
        assert counter.happened == before
    finally:
        broker.stop()
    with broker:
        assert "effect" in (await call_tool(url, token, "counter__count", id="space-again")).text
        records, balance = await books(broker, "wide")
        verified = broker.run("audit", "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    intents = [record for record in records if record["type"] == Event.CALL_INTENT]
    ends = [record for record in records if record["type"] in (Event.CALL_OUTCOME, Event.CALL_UNKNOWN)]
    assert answered < len(counter.happened) <= len(intents) == len(ends)
    assert (balance.spent, balance.held) == (sum(end["cost"] for end in ends), 0)
    assert "Traceback" not in broker.said()


async def call_until_refused(url: str, token: str) -> int:
    """Call until the log cannot be written any more; how many results were handed out."""
    for number in range(1000):
        reply = await call_tool(url, token, "counter__count", id=f"n{number}")
        if not_recorded(reply):
            return number
        assert "effect" in reply.text
    raise AssertionError("the disk never got full")


def not_recorded(reply: Reply) -> bool:
    """Whether the broker refused because it cannot write."""
    error = reply.body.get("error", {})
    return error.get("data", {}).get("error", {}).get("code") == "storage_unavailable"
