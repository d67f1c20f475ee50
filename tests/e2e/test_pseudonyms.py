"""An agent and its model work with names; tools get the values. With a real client, real processes, a restart."""

import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.e2e.processes import python_upstream
from tests.e2e.restartable import Restartable

pytestmark = pytest.mark.timeout(120)

ANNA, BELA = "anna.kovacs@firma-k.hu", "bela.nagy@firma-k.hu"
IBAN = "DE89370400440532013000"
ROLE = 'role: clerk\nallow:\n  - tools: ["*"]\n  - models: ["*"]\n'
RULES = """
guard: personal
rules:
  - {stages: [arguments], tools: [mail__*], restore: [contact]}
  - {stages: [completion], do: {contact: pseudonymise, "*": flag}, restore: [contact]}
  - {stages: [tool-definition], do: {"*": allow}}
  - do: {contact: pseudonymise, financial: pseudonymise, "*": flag}
"""
PRICES = 'prices:\n  - {match: "*", input: "1", output: "1"}\n'


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[str]:
    with python_upstream("providers.py", log=tmp_path / "provider.log") as url:
        yield url


@pytest.fixture
def broker(tmp_path: Path, provider: str) -> Restartable:
    (tmp_path / "key").write_text("sk-openai-test")
    model = {
        "use": "openai",
        "settings": {
            "url": f"{provider}/v1",
            "api_key": f"file:{tmp_path / 'key'}",
            "allow_private": True,
            "models": {"small-1": {}},
        },
    }
    connectors = {**{name: {"use": "echo"} for name in ("crm", "mail", "notes")}, "openai": model}
    made = Restartable(tmp_path / "broker", connectors, settings={"audit": {"payloads": "keep"}})
    for name, text in (("roles/clerk", ROLE), ("guardrails/personal", RULES), ("prices/all", PRICES)):
        (made.policies / f"{name}.yaml").parent.mkdir(exist_ok=True)
        (made.policies / f"{name}.yaml").write_text(text)
    return made


@asynccontextmanager
async def client(broker: Restartable, token: str) -> AsyncGenerator[Client]:
    """A client as its maker publishes it."""
    headers = {"Authorization": f"Bearer {token}"}
    url = broker.deployment.mcp_url
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        Client(streamable_http_client(url, http_client=http)) as connected,
    ):
        yield connected


async def say(agent: Client, tool: str, text: str) -> tuple[str, str]:
    """What it reads of the answer, and the id of the call."""
    result = await agent.call_tool(tool, {"text": text})
    shown = result.content[0].text
    assert not result.is_error, shown
    return json.loads(shown)["said"], (result.meta or {})["io.toolbroker/call"]["id"]


def sent(broker: Restartable, call: str) -> str:
    """What the tool was given: the payload of the call."""
    shown = broker.deployment.command("calls", "show", call, "--payload", "--reason", "test", "--json")
    return json.dumps([part for part in json.loads(shown) if part["part"] == "arguments"])


async def test_names_outlive_the_process_and_die_with_the_person(broker: Restartable):
    with broker:
        token = broker.deployment.token(broker.deployment.add_agent("ada", "clerk"))
        async with client(broker, token) as ada:
            told, _ = await say(ada, "crm__say", f"{ANNA}, {BELA}, {IBAN}")
            assert told == "<EMAIL_1>, <EMAIL_2>, <IBAN_1>"
            told, call = await say(ada, "mail__say", "to <EMAIL_1>")
            assert (told, ANNA in sent(broker, call)) == ("to <EMAIL_1>", True)
            told, call = await say(ada, "notes__say", "to <EMAIL_1>")
            assert (told, ANNA in sent(broker, call)) == ("to <EMAIL_1>", False)
        other = broker.deployment.token(broker.deployment.add_agent("eve", "clerk"))
        async with client(broker, other) as eve:
            _, call = await say(eve, "mail__say", "to <EMAIL_1>")
            assert ANNA not in sent(broker, call)
    broker.start()
    try:
        async with client(broker, token) as ada:
            _, call = await say(ada, "mail__say", "to <EMAIL_2> again")
            assert f"{BELA} again" in sent(broker, call)
            shown = broker.deployment.command("calls", "show", call)
            assert "restore email in arguments/arguments/text  (20 characters, personal@1)" in shown
            broker.deployment.command("subject", "erase", BELA, "--basis", "art. 17", "--yes")
            _, call = await say(ada, "mail__say", "to <EMAIL_2> again")
            assert "<EMAIL_2> again" in sent(broker, call)
            assert "flag unknown in arguments" in broker.deployment.command("calls", "show", call)
    finally:
        broker.stop()
    state = [path for path in broker.folder.rglob("*") if path.is_file() and "policies" not in path.parts]
    leaks = [(p.name, s) for p in state for s in (ANNA, BELA, IBAN) if s.encode() in p.read_bytes()]
    assert leaks == []


@pytest.mark.parametrize("stream", [False, True])
async def test_a_model_works_with_names_and_its_caller_reads_what_it_has_said(
    broker: Restartable, provider: str, stream: bool
):
    with broker:
        token = broker.deployment.token(broker.deployment.add_agent("ada", "clerk"))
        async with client(broker, token) as ada:
            await say(ada, "crm__say", BELA)
        words = f"repeat exactly: {ANNA} met <EMAIL_1> and <EMAIL_2> on account {IBAN}, said eva@firma-e.hu"
        told = await _asked(broker, token, words, stream=stream)
        async with aiohttp.ClientSession() as http, http.get(f"{provider}/control/requests") as answer:
            (request,) = await answer.json()
        read = request["body"]["messages"][0]["content"]
    assert read == "repeat exactly: <EMAIL_3> met <EMAIL_1> and <EMAIL_2> on account <IBAN_1>, said <EMAIL_4>"
    assert told == f"{ANNA} met <EMAIL_1> and <EMAIL_2> on account <IBAN_1>, said eva@firma-e.hu"


async def _asked(broker: Restartable, token: str, words: str, *, stream: bool) -> str:
    body: dict[str, Any] = {
        "model": "openai__small-1",
        "messages": [{"role": "user", "content": words}],
        "max_tokens": 100,
        "stream": stream,
    }
    headers = {"Authorization": f"Bearer {token}"}
    url = f"{broker.deployment.url}/v1/chat/completions"
    async with aiohttp.ClientSession() as http, http.post(url, json=body, headers=headers) as answer:
        raw = await answer.text()
        assert answer.status == 200, raw
    if not stream:
        return json.loads(raw)["choices"][0]["message"]["content"]
    frames = [line[6:] for line in raw.splitlines() if line.startswith("data: {")]
    choices = [choice for frame in frames for choice in json.loads(frame).get("choices", [])]
    return "".join(choice["delta"].get("content") or "" for choice in choices)
