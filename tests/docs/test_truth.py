"""Is what the pages mention there? Links, commands and options, errors, dependencies, figures."""

import importlib
import pkgutil
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from urllib.parse import unquote

import click
import pytest
from typer.main import get_command

import broker
from benchmarks.identity import GOALS_MS, GOALS_US, table
from broker.audit.interface import Event, Outcome
from broker.catalog.catalog import RETRY_AFTER_S
from broker.edges.cli.audit import VERIFICATION_FAILED
from broker.edges.cli.main import INTERRUPTED, NOUNS
from broker.edges.translate import wire
from broker.errors import BrokerError, NotDeclared, PendingApproval, RateLimited
from tests.docs.pages import ROOT, Page, pages

_COMMAND = re.compile(r"(?:^|[ (])(broker [^#)]*?)(?=\$\(|\)| \| | && |#|$)")
TOLD_MORE = {NotDeclared, PendingApproval, RateLimited}
"""Errors that are not made of a message alone. Their exit code is that of every refusal."""

OUTSIDE = ("https://", "http://", "mailto:")
DOCUMENTED = [page for page in pages() if not page.name.startswith("tests/")]


@pytest.mark.parametrize("page", DOCUMENTED, ids=str)
def test_every_link_leads_somewhere(page: Page):
    assert [link for link in page.links if not link.startswith(OUTSIDE) and not _resolves(page, link)] == []


def _resolves(page: Page, link: str) -> bool:
    file, _, anchor = unquote(link).partition("#")
    target = (page.path.parent / file).resolve() if file else page.path
    if not target.exists() or not target.is_relative_to(ROOT):
        return False
    return not anchor or anchor in Page(target).anchors


def test_every_page_can_be_found_from_the_readme():
    known, todo = set[Page](), [Page(ROOT / "README.md")]
    while todo:
        page = todo.pop()
        if page in known:
            continue
        known.add(page)
        files = [link.partition("#")[0] for link in page.links if not link.startswith(OUTSIDE)]
        todo += [Page((page.path.parent / file).resolve()) for file in files if file.endswith(".md")]
    guides = {page for page in pages() if page.name.startswith("docs/")}
    assert {page.name for page in guides - known} == set()


def test_every_event_of_the_log_is_documented_and_no_other():
    text = (ROOT / "docs/concepts/log.md").read_text("utf-8").partition("## What is recorded")[2]
    told = re.findall(r"`([a-z]+\.[a-z_]+)`", text.partition("Causes of a call")[0])
    assert sorted(told) == sorted(Event)


@pytest.mark.parametrize("page", DOCUMENTED, ids=str)
def test_every_command_that_is_mentioned_exists_with_its_options(page: Page):
    assert [f"{command}: {wrong}" for command in _mentioned(page) if (wrong := _wrong(command))] == []


def _mentioned(page: Page) -> Iterator[str]:
    yield from (code for code in page.code if code.startswith("broker "))
    for block in page.blocks("console", "sh"):
        for line in block.text.split("\n"):
            if block.language == "sh" or line.startswith("$ "):
                yield from (found[1] for found in _COMMAND.finditer(line))


def _wrong(mentioned: str) -> str | None:
    """What is wrong with `broker NOUN VERB --option …`; alternatives of verbs are written `a|b`."""
    _, noun, *words = [*re.split(r"[\s=]+", mentioned.rstrip("…. ")), ""]
    noun = noun.strip("…")
    if noun.startswith("-") or noun in {"", "COMMAND", "NOUN"}:
        return None
    if noun not in NOUNS:
        return f"there is no `{noun}`"
    verbs = _verbs(noun)
    names = words[0].split("|") if words and words[0] else []
    if None in verbs:
        known = verbs[None]
    elif not names or names == ["…"]:
        return None
    elif missing := [name for name in names if name not in verbs]:
        return f"`{noun}` has no {missing}"
    else:
        known = frozenset[str]().union(*(verbs[name] for name in names))
    unknown = [word for word in words if re.fullmatch(r"--?[a-z][a-z-]*", word) and word not in known]
    return f"no option {unknown}" if unknown else None


@cache
def _verbs(noun: str) -> dict[str | None, frozenset[str]]:
    """The options of each verb; a noun without verbs has the one verb None."""
    command = get_command(importlib.import_module(f"broker.edges.cli.{noun}").app)
    verbs = getattr(command, "commands", {None: command})
    return {name: frozenset(_options(verb)) for name, verb in verbs.items()}


def _options(command: click.Command) -> Iterator[str]:
    yield from ("--help", "-h")
    for parameter in command.params:
        yield from parameter.opts
    for verb in getattr(command, "commands", {}).values():
        yield from _options(verb)


@pytest.mark.parametrize(
    "wrong",
    [
        "broker agent vanish researcher",
        "broker whence x",
        "broker agent add x --cap-usd 5",
        "broker agent add|go x",
    ],
)
def test_a_command_that_does_not_exist_would_be_found(wrong: str):
    assert _wrong(wrong) is not None


def test_every_error_is_explained_and_nothing_else_is():
    for module in pkgutil.walk_packages(broker.__path__, "broker."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    anchors = Page(ROOT / "docs" / "errors.md").anchors - {"errors"}
    assert anchors == {error.code for error in _tree(BrokerError)}


def _tree(error: type[BrokerError]) -> Iterator[type[BrokerError]]:
    if error.__module__.startswith("broker."):
        yield error
    for kind in error.__subclasses__():
        yield from _tree(kind)


def test_the_dependencies_that_are_explained_are_those_that_are_installed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[<>=!; \[]", requirement)[0] for requirement in project["dependencies"]}
    rows = re.findall(r"^\| ([a-z0-9, -]+) \|", (ROOT / "docs" / "dependencies.md").read_text(), re.MULTILINE)
    explained = [name for row in rows if row != "package" for name in row.split(", ")]
    assert sorted(explained) == sorted(needed)


def test_the_figures_in_the_readme_are_those_that_were_measured():
    readme = Page(ROOT / "README.md").prose.replace("\n", " ")
    measured = (ROOT / "docs" / "reference" / "performance.md").read_text()
    conforming = (ROOT / "docs" / "reference" / "conformance.md").read_text()
    figures = re.findall(r"(\d+(?:\.\d+)?) (?:ms|MiB)", readme)
    checks = re.findall(r"\d+ of +\d+", readme)
    assert figures
    assert checks
    assert [figure for figure in figures if figure not in measured] == []
    assert [check for check in checks if re.sub(" +", " ", check) not in conforming] == []


def test_what_identity_costs_is_shown_for_all_that_is_measured_and_within_its_goals():
    page = (ROOT / "docs" / "reference" / "performance.md").read_text()
    zeros = {"endpoint_ms": GOALS_MS, "checks_us": GOALS_US | {"delegation_token": 0.0}}
    for line in list(table({part: dict.fromkeys(found, 0.0) for part, found in zeros.items()}))[2:]:
        what, goal, _ = (cell.strip() for cell in line.strip("| ").split("|"))
        (shown,) = re.findall(
            rf"^\| {re.escape(what)} \| *{re.escape(goal)} *\| ([\d.]+) [mµ]s \|$", page, re.MULTILINE
        )
        assert not goal or float(shown) <= float(goal.split()[0])


def test_the_exit_codes_of_the_guide_are_those_of_the_commands():
    codes = {
        wire(kind("x")).exit_code
        for kind in _tree(BrokerError)
        if not kind.__module__.startswith("broker.client") and kind not in TOLD_MORE
    }
    listed = re.findall(r"^\| (\d+) \|", (ROOT / "docs" / "operations.md").read_text(), re.MULTILINE)
    assert {int(code) for code in listed} == codes | {0, VERIFICATION_FAILED, INTERRUPTED}


def test_the_outcomes_of_the_concepts_are_those_of_the_log():
    listed = re.findall(
        r"^\| `(\w+)` \|", (ROOT / "docs" / "concepts" / "README.md").read_text(), re.MULTILINE
    )
    assert set(listed) == set(Outcome)


def test_the_pauses_of_the_guide_are_those_of_the_catalogue():
    *first, last = (f"{pause:.0f}" for pause in RETRY_AFTER_S)
    guide = " ".join((ROOT / "docs" / "connectors.md").read_text().split())
    assert f"after {', '.join(first)} and then every {last} seconds" in guide


def test_scripts_that_are_mentioned_exist():
    mentioned = {name for page in DOCUMENTED for name in re.findall(r"scripts/([a-z]+)\b", page.text)}
    assert {name for name in mentioned if not (ROOT / "scripts" / name).exists()} == set()


def test_code_paths_that_are_mentioned_exist():
    shape = re.compile(r"(?:broker|connectors|tests|policies|examples|docs|benchmarks|scripts)/[\w./-]+")
    mentioned = {(page.name, code) for page in DOCUMENTED for code in page.code if shape.fullmatch(code)}
    examples = {"policies/approvals.yaml", "policies/tools/", "policies/rules/", "policies/tools/demo.yaml"}
    missing = {(p, c) for p, c in mentioned if not (ROOT / c).exists() and c not in examples}
    # An example speaks of the files beside it.
    assert {
        (p, c) for p, c in missing if not (p.startswith("examples/") and ((ROOT / p).parent / c).exists())
    } == set()
