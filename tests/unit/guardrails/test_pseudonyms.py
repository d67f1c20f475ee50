"""What an agent reads instead of a value, where the value is put back, and where it never is."""

import json
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import pytest

from broker.errors import Blocked, ConfigurationError
from broker.guardrails.conduct import load_conduct
from broker.guardrails.interface import Action, Finding
from broker.guardrails.pseudonyms import MOST_NAMES, Disguise, Holder, kind_of
from broker.guardrails.registry import GUARDS
from broker.guardrails.restoring import meant
from broker.guardrails.scene import Scene, Stage
from broker.guardrails.screen import Screen
from broker.model import AgentId, Json, Kind, Target
from broker.policy.load import shipped_policies
from broker.settings import LimitSettings
from broker.storage.sqlite import open_store
from broker.storage.store import Store
from tests.unit.guardrails.kit import KEY

ANNA, BELA = "anna.kovacs@firma-k.hu", "bela.nagy@firma-k.hu"
IBAN = "DE89370400440532013000"
RULES = """
guard: personal
rules:
  - {stages: [arguments], tools: [mail__*], restore: [contact]}
  - {stages: [completion], do: {contact: pseudonymise}, restore: [contact]}
  - {stages: [tool-definition], do: {"*": allow}}
  - {do: {contact: pseudonymise, financial: pseudonymise, birth: pseudonymise, "*": flag}}
"""
CRM = Target(Kind.TOOL, "crm__find", "crm", "find", {})
MAIL = Target(Kind.TOOL, "mail__send", "mail", "send", {})
NOTES = Target(Kind.TOOL, "notes__add", "notes", "add", {})
MODEL = Target(Kind.MODEL, "m__chat", "m", "chat", {})
PLANNER = Holder("acme", "dana", "t-1", AgentId("planner"))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[Store]:
    async with open_store(tmp_path / "broker.db", deployment="broker.test", serve=False) as opened:
        yield opened


def screen_of(folder: Path, rules: str = RULES, limits: LimitSettings | None = None) -> Screen:
    (folder / "guardrails").mkdir(exist_ok=True)
    (folder / "guardrails" / "personal.yaml").write_text(rules)
    conduct = load_conduct(folder, shipped_policies(), GUARDS)
    return Screen(limits or LimitSettings(), conduct, KEY, lambda text: text.encode())


@pytest.fixture
def screen(tmp_path: Path) -> Screen:
    return screen_of(tmp_path)


class Agent:
    """One agent in one transaction: each call of it has a disguise of its own."""

    def __init__(self, screen: Screen, store: Store, holder: Holder = PLANNER) -> None:
        self.screen, self.store, self.holder = screen, store, holder
        self.findings: list[Finding] = []
        self.begin()

    def begin(self) -> None:
        """The next call."""
        self.disguise = Disguise(self.store.pseudonyms, self._who)
        self.findings.clear()

    async def _who(self) -> Holder:
        return self.holder

    async def passes(self, content: Json, stage: Stage, target: Target) -> Json:
        scene = Scene(target, self.holder.agent, frozenset(), self.disguise)
        return await self.screen.screen(content, stage, scene, self.findings)

    async def reads(self, text: str, target: Target = CRM) -> str:
        """What it reads of a result."""
        self.begin()
        return (await self.passes({"text": text}, Stage.RESULT, target))["text"]

    async def sends(self, text: str, target: Target = MAIL) -> str:
        """What a tool is given of what it says."""
        self.begin()
        return (await self.passes({"arguments": {"text": text}}, Stage.ARGUMENTS, target))["arguments"][
            "text"
        ]


@pytest.fixture
def agent(screen: Screen, store: Store) -> Agent:
    return Agent(screen, store)


async def test_a_value_gets_the_same_name_wherever_it_stands_in_a_transaction(agent: Agent):
    assert await agent.reads(f"{ANNA} and {BELA} and {ANNA}") == "<EMAIL_1> and <EMAIL_2> and <EMAIL_1>"
    assert await agent.reads(f"{BELA}, account {IBAN}") == "<EMAIL_2>, account <IBAN_1>"
    assert await agent.reads("nobody") == "nobody"


async def test_a_tool_that_the_policy_names_is_given_the_value_and_no_other_tool_is(agent: Agent):
    await agent.reads(f"{ANNA} {IBAN}")
    assert await agent.sends("Dear <EMAIL_1>, <EMAIL_1>") == f"Dear {ANNA}, {ANNA}"
    assert [(f.guard, f.stage, f.type, f.action, f.place, f.length) for f in agent.findings][:2] == [
        ("personal@1", Stage.ARGUMENTS, "email", Action.RESTORE, "/arguments/text", len(ANNA))
    ] * 2
    assert await agent.sends("Dear <EMAIL_1>", NOTES) == "Dear <EMAIL_1>"
    assert await agent.sends("pay <IBAN_1>") == "pay <IBAN_1>", "only contacts are restored for mail"


async def test_what_is_restored_is_recorded_without_the_value_and_names_whom_it_is_about(agent: Agent):
    await agent.reads(ANNA)
    hidden = agent.findings[0]
    await agent.sends("<EMAIL_1>")
    restored = agent.findings[0]
    assert (hidden.action, hidden.person) == (Action.PSEUDONYMISE, b"")
    assert (restored.action, restored.person) == (Action.RESTORE, ANNA.encode())
    assert restored.digest == hidden.digest
    assert ANNA not in repr(replace(restored, person=b""))


async def test_a_name_that_was_never_issued_stays_as_it_is_and_is_told(agent: Agent):
    await agent.reads(ANNA)
    assert await agent.sends("<EMAIL_7> <EMAIL_1> <B_1> <EMAIL_01>") == f"<EMAIL_7> {ANNA} <B_1> <EMAIL_01>"
    assert [(f.guard, f.type, f.action) for f in agent.findings if f.type == "unknown"] == [
        ("pseudonyms@1", "unknown", Action.FLAG)
    ]


async def test_what_a_raw_value_becomes_on_its_way_to_a_tool_that_may_not_have_it(agent: Agent):
    assert await agent.sends(f"note {ANNA}", NOTES) == "note <EMAIL_1>"
    assert await agent.sends(f"to {ANNA}") == f"to {ANNA}", "mail may have contacts"


async def test_a_tool_that_echoes_what_was_restored_does_not_show_it(agent: Agent, tmp_path: Path):
    lax = screen_of(
        tmp_path,
        RULES.replace(
            "  - {stages: [tool", "  - {tools: [mail__*], do: {contact: flag}}\n  - {stages: [tool"
        ),
    )
    await agent.reads(ANNA)
    agent.screen = lax
    await agent.sends("<EMAIL_1>")
    echo = {"content": [{"text": f"sent to {ANNA.upper()} <{ANNA}>"}], "structuredContent": {"to": ANNA}}
    safe = await agent.passes(echo, Stage.RESULT, MAIL)
    assert ANNA.lower() not in json.dumps(safe).lower()
    assert safe["structuredContent"] == {"to": "<EMAIL_1>"}
    with pytest.raises(Blocked):
        await agent.passes({"structuredContent": {ANNA: 1}}, Stage.RESULT, MAIL)


async def test_an_error_that_quotes_what_was_restored_is_covered(agent: Agent):
    await agent.reads(ANNA)
    await agent.sends("<EMAIL_1>")
    assert agent.disguise.covered(f"{ANNA} is no customer") == "<EMAIL_1> is no customer"


async def test_a_name_that_somebody_outside_writes_is_no_pseudonym(agent: Agent):
    assert await agent.reads(f"{ANNA} <EMAIL_2> <P_1>") == "<EMAIL_1> [EMAIL_2] <P_1>"
    assert ("pseudonyms@1", "look-alike") in [(f.guard, f.type) for f in agent.findings]
    assert await agent.reads(f"{BELA} <EMAIL_1>") == "<EMAIL_2> <EMAIL_1>"


async def test_a_new_name_is_none_that_stands_in_the_same_text(agent: Agent):
    assert await agent.sends(f"{ANNA} <EMAIL_1>", NOTES) == "<EMAIL_2> <EMAIL_1>"


async def test_a_result_that_would_not_fit_its_schema_any_more_is_stopped(agent: Agent):
    strict = replace(CRM, definition={"outputSchema": {"properties": {"mail": {"pattern": "@"}}}})
    with pytest.raises(Blocked, match="outputSchema"):
        await agent.passes({"structuredContent": {"mail": ANNA}}, Stage.RESULT, strict)
    lenient = replace(CRM, definition={"outputSchema": {"properties": {"mail": {"type": "string"}}}})
    safe = await agent.passes({"structuredContent": {"mail": ANNA}}, Stage.RESULT, lenient)
    assert safe == {"structuredContent": {"mail": "<EMAIL_1>"}}


async def test_nothing_is_issued_for_a_result_that_is_stopped(agent: Agent):
    with pytest.raises(Blocked):
        await agent.passes({"text": ANNA, ANNA: 1}, Stage.RESULT, CRM)
    assert await agent.sends("<EMAIL_1>") == "<EMAIL_1>"


async def test_what_cannot_be_put_back_safely_is_redacted(agent: Agent, tmp_path: Path):
    rules = "guard: secrets\nrules:\n  - {do: {'*': pseudonymise}}\n"
    (tmp_path / "guardrails" / "secrets.yaml").write_text(rules)
    agent.screen.adopt(load_conduct(tmp_path, shipped_policies(), GUARDS))
    key = (
        "-----BEGIN RSA PRIVATE KEY-----\n" + "MIIEpAIBAAKCAQEA7bq0" * 20 + "\n-----END RSA PRIVATE KEY-----"
    )
    assert await agent.reads(f"key: {key}") == "key: [redacted:private-key]"
    assert {f.action for f in agent.findings} == {Action.REDACT}


async def test_beyond_so_many_names_values_are_redacted(agent: Agent):
    texts = [f"n{number}@firma-k.hu" for number in range(MOST_NAMES + 1)]
    assert (await agent.reads("\n".join(texts))).splitlines()[-2:] == ["<EMAIL_1000>", "[redacted:email]"]


async def test_restoring_does_not_make_arguments_larger_than_they_may_be(store: Store, tmp_path: Path):
    agent = Agent(screen_of(tmp_path, limits=LimitSettings(argument_bytes=2000)), store)
    await agent.reads(f"{'x' * 60}@firma-k.hu")
    assert len(await agent.sends("<EMAIL_1>" * 20)) > 1000
    with pytest.raises(Blocked):
        await agent.sends("<EMAIL_1>" * 100)


async def test_a_model_reads_names_and_its_caller_the_values_that_it_has_said_itself(agent: Agent):
    await agent.reads(BELA)
    agent.begin()
    prompt = {"messages": [{"content": f"write to {ANNA}, {IBAN}, not to <EMAIL_1>"}]}
    told = await agent.passes(prompt, Stage.PROMPT, MODEL)
    assert told["messages"][0]["content"] == "write to <EMAIL_2>, <IBAN_1>, not to <EMAIL_1>"
    answer = await agent.passes({"text": "<EMAIL_2> <EMAIL_1> <IBAN_1>"}, Stage.COMPLETION, MODEL)
    assert answer["text"] == f"{ANNA} <EMAIL_1> <IBAN_1>", (
        "not what it was not shown, not what no rule restores"
    )
    assert [(f.type, f.action) for f in agent.findings if f.stage is Stage.COMPLETION] == [
        ("email", Action.RESTORE)
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
async def test_in_a_stream_names_are_put_back_however_it_is_cut(agent: Agent, size: int):
    await agent.passes({"text": f"{ANNA} {BELA}"}, Stage.PROMPT, MODEL)
    scene = Scene(MODEL, agent.holder.agent, frozenset(), agent.disguise)
    text = (
        "a <EMAIL_1> < <EMAIL_ <EMAIL_3> <EMAIL_2>, " + "x" * 90
    ) * 9 + f"{'y' * 200} eva@firma-k.hu <EMAIL_1"
    stream = agent.screen.stream(Stage.COMPLETION, scene, agent.findings)
    out = "".join(stream.feed(text[at : at + size]) for at in range(0, len(text), size)) + stream.close()
    expected = text.replace("<EMAIL_1>", ANNA).replace("<EMAIL_2>", BELA)
    assert out == expected.replace("eva@firma-k.hu", "[redacted:email]")
    assert sum(f.action is Action.RESTORE for f in agent.findings) == 18


async def test_the_transaction_remembers_what_a_result_means_not_what_is_shown_of_it(agent: Agent):
    agent.begin()
    shown = await agent.passes({"text": ANNA}, Stage.RESULT, CRM)
    assert meant(shown, agent.disguise) == {"text": ANNA}


async def test_without_a_transaction_values_are_redacted(screen: Screen):
    findings: list[Finding] = []
    safe = await screen.screen({"text": ANNA}, Stage.RESULT, Scene(CRM), findings)
    assert (safe["text"], findings[0].action) == ("[redacted:email]", Action.REDACT)


async def test_a_rule_in_shadow_restores_nothing(agent: Agent, tmp_path: Path):
    await agent.reads(ANNA)
    agent.screen = screen_of(tmp_path, RULES.replace("tools: [mail__*]", "tools: [mail__*], mode: shadow"))
    assert await agent.sends("<EMAIL_1>") == "<EMAIL_1>"


async def test_a_rule_that_restores_nothing_ends_the_list(agent: Agent, tmp_path: Path):
    await agent.reads(ANNA)
    none = "  - {stages: [arguments], tools: [mail__send], restore: []}\n"
    agent.screen = screen_of(tmp_path, RULES.replace("rules:\n", f"rules:\n{none}"))
    assert await agent.sends("<EMAIL_1>") == "<EMAIL_1>"


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("{restore: [contact]}", "only arguments and completions are restored"),
        ("{stages: [arguments], restore: [contact]}", "which tools may read the values"),
        ("{stages: [arguments], tools: [a], restore: [mail]}", "`mail` is not one of"),
        ("{stages: [result]}", "the rule says nothing"),
        ("{do: {contact: restore}}", "`restore` is not one of"),
        ("{stages: [tool-definition], do: {contact: pseudonymise}}", "belongs to no transaction"),
    ],
)
def test_a_rule_that_would_restore_more_than_is_meant_is_refused(tmp_path: Path, rule: str, why: str):
    with pytest.raises(ConfigurationError, match=why):
        screen_of(tmp_path, f"guard: personal\nrules:\n  - {rule}\n  - {{do: {{'*': flag}}}}\n")


def test_every_type_makes_a_name_that_can_be_read_again():
    assert [kind_of(t) for t in ("email", "de-tax-id", "3d", "é", "x" * 60, "a_-_b")] == [
        "EMAIL",
        "DE_TAX_ID",
        "VALUE_3D",
        "VALUE",
        "X" * 39,
        "A_B",
    ]
