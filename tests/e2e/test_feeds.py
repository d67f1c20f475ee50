"""Do the feeds of a running broker lose nothing? The receiver fails, and the broker is killed meanwhile."""

import json
from collections.abc import Generator
from functools import partial
from pathlib import Path
from urllib.request import urlopen

import anyio
import pytest

from tests.e2e.restartable import Restartable
from tests.e2e.rpc import call_tool
from tests.receiving import Receiver, receiving

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def receiver() -> Generator[Receiver]:
    with receiving() as started:
        yield started


@pytest.fixture
def broker(tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Restartable:
    monkeypatch.setenv("SIEM_TOKEN", "Bearer of-the-siem")
    siem = {
        "format": "jsonl",
        "url": receiver.url,
        "allow_private": True,
        "headers": {"Authorization": "env:SIEM_TOKEN"},
    }
    other = {"format": "ocsf", "file": str(tmp_path / "events.jsonl")}
    settings = {"audit": {"feeds": {"siem": siem, "file": other}}}
    return Restartable(tmp_path / "broker", {"echo": {"use": "echo"}}, settings=settings)


def ends(receiver: Receiver) -> list[int]:
    """The numbers of the records that ended calls, as they came in."""
    told = [json.loads(line) for line in receiver.lines]
    return [record["seq"] for record in told if record["type"] == "call.outcome"]


def call(broker: Restartable, text: str, token: str) -> None:
    anyio.run(partial(call_tool, broker.deployment.mcp_url, token, "echo__say", text=text))


def feeds(broker: Restartable) -> dict[str, int]:
    return {row["feed"]: row["behind"] for row in json.loads(broker.run("audit", "feeds", "--json").stdout)}


def test_every_record_arrives_though_the_receiver_fails_and_the_broker_is_killed(
    broker: Restartable, receiver: Receiver, tmp_path: Path
):
    with broker:
        token = broker.deployment.token(broker.deployment.add_agent("wide", "everything"))
        call(broker, "first", token)
        receiver.wait_for(lambda: len(ends(receiver)) == 1)
        assert receiver.requests[0][0]["Authorization"] == "Bearer of-the-siem"
        receiver.answer = lambda _: (503, b"")
        receiver.requests.clear()
        call(broker, "second", token)
        receiver.wait_for(lambda: len(ends(receiver)) == 1)
        (end,) = ends(receiver)
        with urlopen(f"{broker.deployment.url}/readyz", timeout=10) as answer:  # noqa: S310 - of this test
            assert json.load(answer)["feeds"]["siem"]["failing"]
        broker.kill()  # what was sent was not taken
        receiver.requests.clear()
        receiver.answer = lambda _: (200, b"")
        broker.start()
        receiver.wait_for(lambda: ends(receiver) == [end])
        events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [event["api"]["operation"] for event in events if event["class_uid"] == 6003]
    assert set(feeds(broker)) == {"siem", "file"}


def test_a_broker_killed_between_delivery_and_note_tells_it_again(broker: Restartable, receiver: Receiver):
    killed: list[bytes] = []

    def kill(body: bytes) -> tuple[int, bytes]:
        if b"call.outcome" in body and not killed:
            killed.append(body)
            broker.kill()  # it has arrived, and the broker never hears of it
        return 200, b""

    receiver.answer = kill
    with broker:
        token = broker.deployment.token(broker.deployment.add_agent("wide", "everything"))
        call(broker, "once", token)
        receiver.wait_for(lambda: bool(killed))
        broker.start()
        receiver.wait_for(lambda: len(ends(receiver)) == 2)
    first, again = [body for _, body in receiver.requests if b"call.outcome" in body]
    assert set(first.splitlines()) <= set(again.splitlines())
