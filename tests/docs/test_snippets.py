"""Is everything that the pages show understood by the broker? Each block goes through the real loader."""

import importlib.metadata
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from broker.approvals.people import read_people
from broker.catalog.facts import load_facts
from broker.catalog.installed import GROUP, installed, load
from broker.catalog.known import supposed
from broker.configuration.load import load_settings
from broker.guardrails.conduct import load_conduct
from broker.guardrails.registry import GUARDS
from broker.ledger.rules import load_budgets
from broker.ledger.tables import load_prices
from broker.model import OWN_CONNECTOR
from broker.policy.cases import load_cases
from broker.policy.engine import PolicyEngine
from broker.policy.load import shipped_policies
from connectors.anthropic import AnthropicSettings
from connectors.mcp_upstream.settings import McpSettings
from connectors.openai_compatible import OpenAiSettings
from tests.docs.pages import ROOT, Block, Page, blocks, pages

MEANT_TO_BE_WRONG = {"policies/roles/broken.yaml"}
"""Files that a page shows for the mistake in them; the console test of the page holds what is said of it."""

TOML = [block for block in blocks("toml") if "project" not in tomllib.loads(block.text)]
PACKAGES = [block for block in blocks("toml") if "project" in tomllib.loads(block.text)]
YAML = [block for block in blocks("yaml") if block.file not in MEANT_TO_BE_WRONG]
RUN_WITH_THEIR_EXAMPLE = {"docs/agents.md"}
"""Needs agents of its own: `tests/e2e/test_examples.py` runs it."""
LANGUAGES = {"", "sh", "console", "text", "toml", "yaml", "cedar", "python", "json"}


def test_every_block_is_in_a_language_that_is_looked_at():
    assert {block.language for block in blocks()} <= LANGUAGES


def test_no_block_shows_commands_where_nobody_runs_them():
    unseen = [b.place for b in blocks() if b.language != "console" and b.text.lstrip().startswith("$ ")]
    indented = [
        page.name for page in pages() if any(line.startswith("    $ ") for line in page.prose.split("\n"))
    ]
    assert (unseen, indented) == ([], [])


@pytest.mark.parametrize("block", TOML, ids=str)
def test_a_configuration_is_one_that_the_broker_loads(block: Block, tmp_path: Path):
    file = tmp_path / "broker.toml"
    file.write_text(block.text)
    settings = load_settings(file, {}, {}).settings
    for name, section in settings.connectors.items():
        if section.use == OWN_CONNECTOR:
            continue  # made by the broker itself; the settings have been read above
        if section.use in installed():
            load(section.use).settings.model_validate(section.settings)
        else:
            assert any(section.use in _offered(package) for package in PACKAGES), (
                f"{block.place}: no page makes the connector `{section.use}` of `{name}`"
            )


@pytest.mark.parametrize("block", PACKAGES, ids=str)
def test_a_package_makes_its_connector_known_where_the_broker_looks(block: Block):
    modules = {b.file for b in block.page.blocks("python")}
    targets = _offered(block).values()
    assert targets
    assert {f"{target.partition(':')[0]}.py" for target in targets} <= modules


def _offered(package: Block) -> dict[str, str]:
    return tomllib.loads(package.text)["project"]["entry-points"][GROUP]


@pytest.mark.parametrize("block", YAML, ids=str)
def test_a_policy_file_is_one_that_the_broker_loads(block: Block, tmp_path: Path):
    keys = yaml.safe_load(block.text).keys()
    if "role" in keys:
        _declared_on(block.page, tmp_path)
        _into(tmp_path / "roles" / "shown.yaml", block)
        assert PolicyEngine(tmp_path).roles == {yaml.safe_load(block.text)["role"]}
    elif "tests" in keys:
        _into(tmp_path / "tests" / "shown.yaml", block)
        assert load_cases(tmp_path, lambda kind, name: supposed(kind, name, load_facts(tmp_path)))
    elif "approvers" in keys:
        (tmp_path / "approvals.yaml").write_text(block.text)
        assert set(read_people(tmp_path).roles or ()) == set(yaml.safe_load(block.text)["approvers"])
    elif keys & {"tools", "resources", "connectors"}:
        _into(tmp_path / "tools" / "shown.yaml", block)
        load_facts(tmp_path)
    elif keys & {"budgets", "rates"}:
        _into(tmp_path / "budgets" / "shown.yaml", block)
        load_budgets(tmp_path)
    elif "prices" in keys:
        _into(tmp_path / "prices" / "shown.yaml", block)
        assert load_prices(tmp_path)
    else:
        _into(tmp_path / "guardrails" / Path(block.file).name, block)
        load_conduct(tmp_path, shipped_policies(), GUARDS)


@pytest.mark.parametrize("block", blocks("cedar"), ids=str)
def test_a_rule_is_one_that_the_broker_compiles(block: Block, tmp_path: Path):
    _declared_on(block.page, tmp_path)
    _into(tmp_path / "rules" / "shown.cedar", block)
    PolicyEngine(tmp_path)


def _declared_on(page: Page, folder: Path) -> None:
    """What the page declares of tools, so that its roles and rules can speak of arguments."""
    (folder / "tools").mkdir()
    for number, block in enumerate(page.blocks("yaml")):
        if "tools" in yaml.safe_load(block.text):
            (folder / "tools" / f"{number}.yaml").write_text(block.text)


def test_the_secrets_file_that_is_shown_first_is_the_one_that_is_shipped():
    shown, *_ = [b for b in YAML if b.file == "policies/guardrails/secrets.yaml"]
    shipped = (shipped_policies() / "guardrails" / "secrets.yaml").read_text()
    assert yaml.safe_load(shown.text) == yaml.safe_load(shipped)


def _into(path: Path, block: Block) -> None:
    path.parent.mkdir()
    path.write_text(block.text)


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_code_that_is_said_to_be_of_this_repository_stands_there_as_shown(block: Block):
    if block.file and (ROOT / block.file).exists():
        assert block.text.partition("\n")[2] == (ROOT / block.file).read_text()


@pytest.mark.parametrize(
    "page", [p for p in pages() if p.blocks("python") and p.name not in RUN_WITH_THEIR_EXAMPLE], ids=str
)
def test_the_code_of_a_page_runs_and_its_tests_pass(page: Page, tmp_path: Path):
    shown = [(block.file or f"block_{n}.py", block) for n, block in enumerate(page.blocks("python"))]
    shown += [(block.file, block) for block in page.blocks("toml") if block in PACKAGES and block.file]
    for name, block in shown:
        (tmp_path / Path(name).name).write_text(block.text)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    for path in sorted(tmp_path.glob("*.py")):
        _python(path.name, cwd=tmp_path, environment=environment)
    if list(tmp_path.glob("test_*.py")):
        _python("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=tmp_path, environment=environment)


def _python(*arguments: str, cwd: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_setting_of_the_mcp_connector_is_explained():
    page = (ROOT / "docs" / "connectors.md").read_text()
    assert [name for name in McpSettings.model_fields if f"| `{name}` |" not in page] == []


def test_every_setting_of_the_connectors_to_models_is_explained():
    page = (ROOT / "docs" / "connectors.md").read_text()
    names = {*OpenAiSettings.model_fields, *AnthropicSettings.model_fields}
    assert [name for name in sorted(names) if f"| `{name}` |" not in page] == []


def test_the_built_in_connectors_are_those_of_the_package():
    ours = importlib.metadata.distribution("mcp-tool-broker").entry_points.select(group=GROUP)
    page = (ROOT / "docs" / "connectors.md").read_text()
    assert [entry.name for entry in ours if f'use = "{entry.name}"' not in page] == []
