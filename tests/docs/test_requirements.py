"""Is what the security page promises really tried? Both ways: no promise without tests, no attack without one."""

import ast
import re
from functools import cache

import pytest

from tests._requirements import PAGE, Requirement, made, requirements
from tests.docs.pages import ROOT

TESTS = ROOT / "tests"
ATTACKS = sorted(path.relative_to(TESTS).as_posix() for path in (TESTS / "attacks").glob("test_*.py"))
SHAPE = re.compile(r"[a-z]+:[a-z_]+(:[a-z_]+)?")


@cache
def functions_of(file: str) -> frozenset[str]:
    """The tests of a file, by what stands in it."""
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(n.name for n in tree.body if isinstance(n, functions) and n.name.startswith("test_"))


@pytest.mark.parametrize("requirement", requirements(), ids=lambda r: r.id)
def test_a_requirement_has_a_well_formed_id_and_tests_that_exist(requirement: Requirement):
    assert SHAPE.fullmatch(requirement.id)
    assert requirement.tests
    missing = {
        file: [name for name in names if name not in functions_of(file)]
        for file, names in requirement.tests.items()
    }
    assert {file: names for file, names in missing.items() if names} == {}


@pytest.mark.parametrize("file", ATTACKS)
def test_every_attack_is_named_by_a_requirement(file: str):
    named = {name for requirement in requirements() for name in requirement.tests.get(file, ())}
    assert sorted(functions_of(file) - named) == []


def test_no_requirement_is_listed_twice():
    ids = [requirement.id for requirement in requirements()]
    assert len(ids) == len(set(ids))


def test_the_security_page_says_what_the_list_says():
    page = PAGE.read_text(encoding="utf-8")
    assert page == made(page), "run `python -m tests._requirements`"
