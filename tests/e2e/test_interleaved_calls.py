"""A thousand calls and streams at once: no text of one is in another's result, record or payload."""

import json
import random
import re
import secrets
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest

from broker.payloads import Payloads
from broker.storage.sqlite import open_store
from tests.e2e.processes import python_upstream
from tests.e2e.restartable import Restartable
from tests.e2e.rpc import request_on
from tests.e2e.test_pseudonyms import PRICES, ROLE

pytestmark = pytest.mark.timeout(300)

CALLS = 1000
AT_ONCE = 60
AGENTS = 5
MARK = re.compile(r"mark-\d{4}-[a-z]{8}")
MAIL = re.compile(r"u\d{4}[a-z]{8}@firma-k\.hu")
NAME = re.compile(r"<EMAIL_\d+>")
RULES = """
guard: personal
rules:
  - {stages: [prompt, completion], do: {"*": flag}}
  - {stages: [tool-definition], do: {"*": allow}}
  - do: {contact: pseudonymise, "*": flag}
"""
STREAMS = {
    "chat": ("/v1/chat/completions", "messages"),
    "responses": ("/v1/responses", "input"),
}


@dataclass
class Caller:
    """One call with texts of its own; `told` is all that came back for it."""

    number: int
    token: str
    told: str = ""
    call: str = ""
    name: str = ""
    letters: str = field(
        default_factory=lambda: "".join(secrets.choice("abcdefghijklmnop") for _ in range(8))
    )

    @property
    def mark(self) -> str:
        return f"mark-{self.number:04d}-{self.letters}"

    @property
    def mail(self) -> str:
        return f"u{self.number:04d}{self.letters}@firma-k.hu"

    @property
    def text(self) -> str:
        """Long enough that a stream is held back and looked at many times."""
        return (
            f"{self.mark} and some words more, " * (3 + self.number % 40)
            + f"write to {self.mail} {self.mark}"
        )

    async def go(self, http: aiohttp.ClientSession, url: str) -> None:
        kind = ("tool", "chat", "responses", "whole")[self.number % 4]
        if kind == "tool":
            what = {"name": "echo__say", "arguments": {"text": self.text}}
            reply = await request_on(http, f"{url}/mcp", self.token, "tools/call", what)
            self.told, self.call = reply.text, reply.result["_meta"]["io.toolbroker/call"]["id"]
            return
        path, key = STREAMS.get(kind, STREAMS["chat"])
        said = f"repeat exactly: {self.text}"
        asked: Any = said if key == "input" else [{"role": "user", "content": said}]
        body = {"model": "openai__small-1", key: asked, "stream": kind != "whole"}
        headers = {"Authorization": f"Bearer {self.token}"}
        async with http.post(f"{url}{path}", json=body, headers=headers) as answer:
            raw = await answer.text()
            assert answer.status == 200, raw
            self.call = answer.headers["Toolbroker-Call"]
        self.told = _told(raw) if kind != "whole" else raw


def _told(raw: str) -> str:
    """The pieces of a stream in one, and everything else that it says."""
    frames = [json.loads(line[6:]) for line in raw.splitlines() if line.startswith("data: {")]
    pieces = [c["delta"].get("content") or "" for frame in frames for c in frame.get("choices", [])]
    pieces += [frame["delta"] for frame in frames if frame.get("type") == "response.output_text.delta"]
    return "".join(pieces) + raw


@pytest.fixture
def broker(tmp_path: Path) -> Any:
    with python_upstream("providers.py", log=tmp_path / "provider.log") as url:
        (tmp_path / "key").write_text("sk-openai-test")
        model = {
            "use": "openai",
            "settings": {
                "url": f"{url}/v1",
                "api_key": f"file:{tmp_path / 'key'}",
                "allow_private": True,
                "models": {"small-1": {}},
            },
        }
        made = Restartable(
            tmp_path / "broker",
            {"echo": {"use": "echo"}, "openai": model},
            settings={"audit": {"payloads": "keep"}},
        )
        for name, text in (("roles/clerk", ROLE), ("guardrails/personal", RULES), ("prices/all", PRICES)):
            (made.policies / f"{name}.yaml").parent.mkdir(exist_ok=True)
            (made.policies / f"{name}.yaml").write_text(text)
        with made:
            yield made


async def test_a_thousand_calls_and_streams_at_once_stay_apart(broker: Restartable):
    deployment = broker.deployment
    tokens = [deployment.token(deployment.add_agent(f"a{n}", "clerk")) for n in range(AGENTS)]
    callers = [Caller(number, tokens[number // 4 % AGENTS]) for number in range(CALLS)]
    limit = anyio.CapacityLimiter(AT_ONCE)

    async def one(caller: Caller, http: aiohttp.ClientSession) -> None:
        async with limit:
            await caller.go(http, deployment.url)

    connector = aiohttp.TCPConnector(limit=AT_ONCE)
    async with aiohttp.ClientSession(connector=connector) as http, anyio.create_task_group() as tasks:
        for caller in random.sample(callers, len(callers)):
            tasks.start_soon(one, caller, http)
    broker.stop()

    for caller in callers:
        assert set(MARK.findall(caller.told)) == {caller.mark}
        assert set(MAIL.findall(caller.told)) <= {caller.mail}
        names = set(NAME.findall(caller.told))
        assert len(names) == (caller.number % 4 == 0), "only results of tools have names in them"
        caller.name = "".join(names)
    given = Counter((c.token, c.name) for c in callers if c.name)
    assert (len(given), set(given.values())) == (CALLS // 4, {1}), "no name stands for two values"
    await _nothing_is_in_another_record_or_payload(broker, callers)


async def _nothing_is_in_another_record_or_payload(broker: Restartable, callers: list[Caller]) -> None:
    by_call = {caller.call: caller for caller in callers}
    assert len(by_call) == CALLS
    digests: dict[str, set[str]] = {}
    kept: Counter[str] = Counter()
    async with open_store(
        broker.database, deployment="broker.local", serve=False, keep_payloads=True
    ) as store:
        async for record in store.log.records("default"):
            body = json.loads(record.body)
            assert not MARK.search(record.body.decode())
            assert not MAIL.search(record.body.decode())
            for finding in body.get("findings", []):
                digests.setdefault(finding["digest"], set()).add(body["call"])
        payloads = Payloads(store.payloads)
        for call, caller in by_call.items():
            for opened in await payloads.read(call, by="test", reason="test"):
                assert opened.holds
                text = (opened.content or b"").decode()
                assert set(MARK.findall(text)) == {caller.mark}
                assert set(MAIL.findall(text)) <= {caller.mail}
                kept[opened.part] += 1
    assert kept == {"arguments": CALLS, "result": CALLS}
    assert len(digests) == CALLS, "each call has found its own address"
    assert {len(calls) for calls in digests.values()} == {1}
