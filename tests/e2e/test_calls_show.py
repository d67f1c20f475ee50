"""Does `broker calls show` tell which guard did what, where? For every stage of a call and every action."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.connector import Answer, Connector
from broker.errors import Blocked
from broker.guardrails.registry import GUARDS
from broker.model import Method
from broker.settings import ApprovalSettings
from tests.agency import agency, told
from tests.e2e.asking_models import Desk, Listener, desk
from tests.e2e.deployment import BROKER
from tests.e2e.processes import python_upstream
from tests.unit.guardrails.test_binary import ELF, PNG, spelled

pytestmark = pytest.mark.timeout(120)

AT_ONCE = ApprovalSettings(wait_s=0)
ANNA = "anna.kovacs@firma-k.hu"
SIZE = len(ANNA)
GUARD = {name: f"{name}@{GUARDS[name](None).version}" for name in ("personal", "binary")}
DONE = {
    "plain": "flag",
    "cut": "redact",
    "hide": "pseudonymise",
    "stop": "block",
    "shadow": "flag (would block)",
}
"""What is done in and out of each tool of the laboratory."""

RULES = """
guard: personal
rules:
  - {stages: [arguments], tools: [lab__mail], restore: [contact], do: {contact: flag}}
  - {stages: [arguments], tools: [lab__ask], do: {contact: approve}}
  - {tools: [lab__cut], do: {contact: redact}}
  - {tools: [lab__hide], do: {contact: pseudonymise}}
  - {tools: [lab__stop], do: {contact: block}}
  - {tools: [lab__shadow], mode: shadow, do: {contact: block}}
  - {stages: [tool-definition], do: {"*": allow}}
  - {do: {"*": flag}}
"""
MODEL_RULES = """
guard: personal
rules:
  - {stages: [completion], restore: [contact]}
  - {stages: [prompt], do: {contact: pseudonymise, business: redact, network: block, "*": flag}}
  - {stages: [completion], do: {financial: redact, birth: flag, national-id: block, "*": flag}}
  - {do: {"*": flag}}
"""


def laboratory() -> Connector:
    """Tools that say what they were told, or an address; one that hands out what is no text."""
    connector = Connector("lab")

    async def tool(text: str = "") -> Answer:
        """Say a text, or an address."""
        return Answer({"content": [{"type": "text", "text": text if "@" in text else ANNA}]})

    async def blob(mime: str, data: str) -> Answer:
        """Hand out a picture."""
        return Answer({"content": [{"type": "image", "mimeType": mime, "data": data}]})

    for name in (*DONE, "mail", "ask"):
        tool.__name__ = name
        connector.tool(side_effect="reads")(tool)
    connector.tool(side_effect="reads")(blob)
    return connector


def shown(folder: Path, call: str) -> list[str]:
    """The findings in what the command prints."""
    line = [str(BROKER), "calls", "show", call, "--config", str(folder / "broker.toml")]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=True)
    assert ANNA not in done.stdout
    return [row.partition(" ")[2].strip() for row in done.stdout.splitlines() if row.startswith("finding")]


def call_of(answer: dict[str, Any]) -> str:
    """The id of a call, made or refused."""
    error = answer["result"].get("structuredContent", {}).get("error")
    return error["call"] if error else told(answer)["id"]


async def test_what_guards_did_in_arguments_and_results_is_shown(tmp_path: Path):
    (tmp_path / "broker.toml").write_text('state_dir = "state"\n')
    files = {"guardrails/personal.yaml": RULES}
    async with agency(files, state=tmp_path / "state", approvals=AT_ONCE, lab=laboratory()) as place:
        ada = await place.enrol("ada")
        token = await ada.token()
        for name, action in DONE.items():
            said = await ada.call(f"lab__{name}", {"text": ANNA}, token=token)
            ours = f"{action} email in arguments/arguments/text  ({SIZE} characters, {GUARD['personal']})"
            assert shown(tmp_path, call_of(said))[0] == ours
            heard = await ada.call(f"lab__{name}", {}, token=token)
            ours = f"{action} email in result/content/0/text  ({SIZE} characters, {GUARD['personal']})"
            assert shown(tmp_path, call_of(heard)) == [ours]
        restored = await ada.call("lab__mail", {"text": "a@ <EMAIL_1> <EMAIL_9>"}, token=token)
        assert shown(tmp_path, call_of(restored)) == [
            "flag unknown in arguments/arguments/text  (9 characters, pseudonyms@1)",
            f"restore email in arguments/arguments/text  ({SIZE} characters, {GUARD['personal']})",
            f"flag email in arguments/arguments/text  ({SIZE} characters, {GUARD['personal']})",
            "flag look-alike in result/content/0/text  (9 characters, pseudonyms@1)",
            f"pseudonymise email in result/content/0/text  ({SIZE} characters, {GUARD['personal']})",
        ]
        held = await ada.call("lab__ask", {"text": ANNA}, token=token)
        assert shown(tmp_path, call_of(held)) == [
            f"approve email in arguments/arguments/text  ({SIZE} characters, {GUARD['personal']})"
        ]


@pytest.mark.parametrize(
    ("mime", "data", "line"),
    [
        ("image/png", ELF, "block executable"),
        ("image/jpeg", PNG, "flag other-type"),
        ("text/plain", b"It is said that the roof needs mending, and that soon. " * 3, "flag text"),
    ],
)
async def test_what_was_found_in_binary_content_is_shown(tmp_path: Path, mime: str, data: bytes, line: str):
    (tmp_path / "broker.toml").write_text('state_dir = "state"\n')
    async with agency(state=tmp_path / "state", lab=laboratory()) as place:
        ada = await place.enrol("ada")
        answer = await ada.call("lab__blob", {"mime": mime, "data": spelled(data)})
        size = len(spelled(data))
        assert f"{line} in result/content/0/data  ({size} characters, {GUARD['binary']})" in shown(
            tmp_path, call_of(answer)
        )


MODEL = {
    ANNA: ["pseudonymise email in prompt", "restore email in completion"],
    "account DE89370400440532013000": ["flag iban in prompt", "redact iban in completion"],
    "born 1990-01-02": ["flag date-of-birth in prompt", "flag date-of-birth in completion"],
    "insurance number AB123456C": ["flag uk-nino in prompt", "block uk-nino in completion"],
    "VAT DE136695976": ["redact vat-id in prompt"],
    "server 8.8.4.4": ["block ip-address in prompt"],
}
"""What is done about a text that a model is asked to repeat."""


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with python_upstream("providers.py", log=tmp_path_factory.mktemp("provider") / "log") as url:
        yield url


async def test_what_guards_did_in_prompts_and_completions_is_shown(tmp_path: Path, provider: str):
    (tmp_path / "broker.toml").write_text('state_dir = "state"\n')
    async with desk(tmp_path, provider, files={"guardrails/personal.yaml": MODEL_RULES}) as at:
        for text, lines in MODEL.items():
            places = {"prompt": "/messages/0/content", "completion": "/choices/0/message/content"}
            expected = [f"{line}{places[line.rpartition(' ')[2]]}" for line in lines]
            assert await _lines(at, tmp_path, f"repeat exactly: {text}") == expected


async def _lines(at: Desk, folder: Path, prompt: str) -> list[str]:
    """What was found in a call of a model, without lengths."""
    body = {"model": "openai__small-1", "messages": [{"role": "user", "content": prompt}]}
    try:
        call: str | None = (await at.ask(Method.CHAT, body, Listener())).call
    except Blocked as refused:
        call = refused.call_id
    return [line.partition("  (")[0] for line in shown(folder, str(call))]
