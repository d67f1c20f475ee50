"""What is remembered of a catalogue is what the catalogue was."""

import anyio
import pytest

from broker.catalog.facts import load_facts
from broker.catalog.known import CatalogueNote, known_catalogue, supposed
from broker.catalog.mount import Facts, Mount
from broker.catalog.names import Names
from broker.connector import Offer
from broker.errors import ConfigurationError
from broker.model import Kind, SideEffect


def plain(*_: object) -> Facts:
    return Facts()


def mount(name: str, prefix: str, offer: Offer) -> Mount:
    return Mount(name, None, Names(prefix), 5, offer=offer)


OFFER = Offer(
    tools=[
        {"name": "log", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}},
        {"name": "commit", "inputSchema": {"type": "object"}},
    ],
    resources=[{"uri": "file:///repo"}],
    templates=[{"uriTemplate": "file:///{path}"}],
    prompts=[{"name": "review"}],
    facts={"commit": {"price": "0.01", "side_effect": "destroys", "labels": frozenset({"code", "a"})}},
)


async def noted(folder, *mounts: Mount):
    note = CatalogueNote(folder, clock=lambda: 1_700_000_000.5)
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(note.follow, mounts)
            note.stale()
            while (known := known_catalogue(folder)) is None:
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
    return known


async def test_a_catalogue_is_remembered_with_everything_that_policies_look_at(tmp_path):
    mounts = [mount("git", "git", OFFER), mount("plain", "", Offer(tools=[{"name": "ask"}]))]
    known = await noted(tmp_path, *mounts)
    before = [target for each in mounts for target in each.targets(plain)]
    assert known.targets(plain) == before
    assert [t.definition for t in known.targets(plain)] == [t.definition for t in before]
    assert known.noted_at == 1_700_000_000
    assert (tmp_path / "catalogue.json").stat().st_mode & 0o077 == 0


async def test_the_facts_of_the_operator_are_those_of_today_and_not_those_that_were_noted(tmp_path):
    known = await noted(tmp_path, mount("git", "git", OFFER))
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "x.yaml").write_text("tools:\n  - {match: git__commit, labels: [new]}\n")
    by_name = {t.name: t for t in known.targets(load_facts(tmp_path))}
    assert by_name["git__commit"].labels == {"new", "code", "a"}
    assert by_name["git__commit"].side_effect is SideEffect.DESTROYS


def test_where_no_broker_has_run_nothing_is_known(tmp_path):
    assert known_catalogue(tmp_path) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1, "noted_at": 0, "connectors": {"x": 1}}'])
def test_a_note_that_cannot_be_read_is_an_error_that_says_what_to_do(tmp_path, text):
    (tmp_path / "catalogue.json").write_text(text)
    with pytest.raises(ConfigurationError, match=r"catalogue\.json: is no note") as error:
        known_catalogue(tmp_path)
    assert error.value.hint is not None


def test_a_note_of_another_version_is_not_guessed_at(tmp_path):
    (tmp_path / "catalogue.json").write_text('{"format": 99, "noted_at": 0, "connectors": {}}')
    with pytest.raises(ConfigurationError, match="is of format 99"):
        known_catalogue(tmp_path)


@pytest.mark.parametrize(
    ("kind", "name", "connector"),
    [
        (Kind.TOOL, "git__git_log", "git"),
        (Kind.TOOL, "a__b__c", "a"),
        (Kind.TOOL, "Odd__name with space", "Odd"),
        (Kind.TOOL, "bare", ""),
        (Kind.PROMPT, "git__review", "git"),
        (Kind.RESOURCE, "git+file:///repo", "git"),
        (Kind.TEMPLATE, "kb://{article}", ""),
        (Kind.MODEL, "small-model", ""),
        (Kind.AGENT, "planner", ""),
    ],
)
def test_a_target_that_nothing_offers_is_supposed_to_have_the_name_that_was_asked_for(kind, name, connector):
    target = supposed(kind, name, plain)
    assert (target.kind, target.name, target.connector) == (kind, name, connector)


def test_the_facts_of_the_operator_hold_for_what_is_supposed_too(tmp_path):
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "x.yaml").write_text(
        'tools:\n  - {match: "bank__*", labels: [money], side_effect: writes, price_usd: "0.5"}\n'
    )
    target = supposed(Kind.TOOL, "bank__pay", load_facts(tmp_path))
    assert (target.labels, target.price) == ({"money"}, 500_000)
