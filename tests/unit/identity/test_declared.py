"""What a file of agents may say, and how it differs from what there is."""

from dataclasses import replace
from pathlib import Path

import pytest

from broker.errors import ConfigurationError
from broker.identity.declared import Kind, decided, differences, read_agents
from broker.model import Agent, AgentId, AgentStatus, Manifest, MicroUSD, OrganisationId

WHOLE = """\
agents:
  - agent: researcher
    organisation: acme
    team: red
    roles: [reader, writer]
    owner: dana
    purpose: reads invoices
    model: sonnet
    model_version: "5"
    cap: "2.50"
    attributes: {stage: test}
"""
RESEARCHER = Agent(
    AgentId("researcher"),
    OrganisationId("acme"),
    frozenset({"reader", "writer"}),
    team="red",
    cap_micro_usd=MicroUSD(2_500_000),
    owner="dana",
    purpose="reads invoices",
    model="sonnet",
    model_version="5",
    attributes={"stage": "test"},
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "agents.yaml"


def read(file: Path, text: str):
    file.write_text(text)
    return read_agents(file)


def test_a_file_says_everything_about_an_agent(file: Path):
    assert [agent for agent, _ in read(file, WHOLE).values()] == [RESEARCHER]


def test_what_is_left_out_is_nothing(file: Path):
    ((agent, _),) = read(file, "agents: [{agent: bo, roles: [reader], owner: dana}]").values()
    assert agent == Agent(AgentId("bo"), OrganisationId("default"), frozenset({"reader"}), owner="dana")


@pytest.mark.parametrize(
    ("change", "line", "said"),
    [
        (("team: red", "taem: red"), 4, "unknown key `taem`"),
        (("[reader, writer]", "reader"), 5, "a list belongs"),
        (("[reader, writer]", "[]"), 5, "needs a role"),
        (("    owner: dana\n", ""), 2, "`owner` is missing"),
        (('cap: "2.50"', "cap: 2.50"), 10, "a text belongs"),
        (('cap: "2.50"', 'cap: "-1"'), 10, "is not an amount"),
        (('cap: "2.50"', 'cap: "NaN"'), 10, "is not an amount"),
        (("agent: researcher", "agent: Researcher"), 2, "cannot be a name"),
        (("agent: researcher", "agent: ../etc"), 2, "cannot be a name"),
        (("{stage: test}", "{stage: 1}"), 11, "a text belongs"),
        (("{stage: test}", '{stage: ""}'), 11, "is empty"),
        (("{stage: test}", "{größe: a}"), 11, "is no attribute"),
        (("{stage: test}", "[stage]"), 11, "pairs belong"),
        (("reads invoices", "x" * 257), 7, "257 characters"),
        (("agents:\n", "agents:\n  - {agent: researcher, roles: [a], owner: b}\n"), 3, "in the file already"),
    ],
)
def test_a_mistake_is_reported_with_its_line(file: Path, change, line, said):
    with pytest.raises(ConfigurationError) as mistake:
        read(file, WHOLE.replace(*change))
    assert mistake.value.message.startswith(f"{file}:{line}: ")
    assert said in mistake.value.message


def plan(file: Path, *present: Agent, suspend_absent: bool = False):
    found = differences(read(file, WHOLE), present, suspend_absent=suspend_absent)
    return {difference.agent.id: difference for difference in found}


def test_a_file_that_says_what_is_so_differs_in_nothing(file: Path):
    assert plan(file, replace(RESEARCHER, created_at=7, changed_at=9)) == {}


def test_an_agent_that_is_only_in_the_file_is_to_be_added(file: Path):
    assert plan(file)["researcher"].kind is Kind.ADD


def test_a_changed_field_is_reported_both_ways(file: Path):
    found = plan(file, replace(RESEARCHER, roles=frozenset({"operator"}), model=None))["researcher"]
    assert found.kind is Kind.CHANGE
    assert found.fields == {
        "roles": (frozenset({"operator"}), frozenset({"reader", "writer"})),
        "model": (None, "sonnet"),
    }


def test_an_agent_that_the_file_does_not_name_is_suspended_only_on_request(file: Path):
    other = replace(RESEARCHER, id=AgentId("other"))
    gone = replace(RESEARCHER, id=AgentId("gone"), status=AgentStatus.REVOKED)
    assert plan(file, RESEARCHER, other, gone)["other"].kind is Kind.ABSENT
    found = plan(file, RESEARCHER, other, gone, suspend_absent=True)
    assert {name: difference.kind for name, difference in found.items()} == {"other": Kind.SUSPEND}


@pytest.mark.parametrize("status", [AgentStatus.SUSPENDED, AgentStatus.REVOKED])
def test_no_file_brings_back_whom_an_operator_has_stopped(file: Path, status: AgentStatus):
    stopped = replace(RESEARCHER, status=status, model="other")
    assert plan(file, stopped)["researcher"].kind is Kind.INACTIVE
    assert decided(stopped, RESEARCHER).status is status


def test_no_file_moves_an_agent_to_another_organisation(file: Path):
    with pytest.raises(ConfigurationError, match=r"agents.yaml:2: `researcher` belongs to `zenith`"):
        plan(file, replace(RESEARCHER, organisation=OrganisationId("zenith")))


def test_a_file_that_leaves_the_model_out_does_not_contradict_a_signed_manifest(file: Path):
    manifest = Manifest("researcher", "1", "m", "1", "a", "b", "c", "dana", 1, "kid", "d")
    signed = replace(RESEARCHER, model="m", model_version="1", manifest=manifest)
    text = WHOLE.replace("    model: sonnet\n", "").replace('    model_version: "5"\n', "")
    assert differences(read(file, text), [signed], suspend_absent=False) == []
    unsigned = replace(signed, manifest=None)
    assert differences(read(file, text), [unsigned], suspend_absent=False)[0].fields["model"] == ("m", None)
    assert set(plan(file, signed)["researcher"].fields) == {"model", "model_version"}
