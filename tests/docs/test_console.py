"""Does what the guides tell somebody to type do what they say? Followed in order, with real processes."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import Page, pages
from tests.docs.terminal import Terminal, matches

QUICKSTART = "docs/quickstart.md"
NEEDS_NO_DEPLOYMENT = {QUICKSTART}

PAGES = {page.name: page for page in pages() if page.blocks("console")}


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of somebody who has followed the quickstart and then stopped the broker."""
    folder = tmp_path_factory.mktemp("quickstart")
    with Terminal(folder) as terminal:
        terminal.follow(PAGES[QUICKSTART].blocks())
    return folder


@pytest.fixture
def terminal(deployment: Path, tmp_path: Path) -> Iterator[Terminal]:
    """A terminal in a copy of that deployment, whose broker serves again."""
    shutil.copytree(deployment / "home", tmp_path / "home", symlinks=True)
    (tmp_path / "home" / ".exports").unlink()
    (tmp_path / "home" / ".folder").write_text(str(tmp_path / "home" / "deployment"))
    with Terminal(tmp_path) as terminal:
        yield terminal


def test_the_quickstart_does_what_it_says(deployment: Path) -> None:
    assert (deployment / "home" / "deployment" / ".broker" / "broker.db").exists()


@pytest.mark.parametrize("page", [p for p in PAGES.values() if p.name not in NEEDS_NO_DEPLOYMENT], ids=str)
def test_what_a_page_says_is_what_happens_in_the_deployment_of_the_quickstart(
    page: Page, terminal: Terminal
) -> None:
    terminal.serve_again()
    terminal.follow(page.blocks())


@pytest.mark.parametrize(
    ("expected", "shown", "same"),
    [
        ("ok 12 ms", "ok 12 ms\n", True),
        ("ok ... ms", "ok 12 ms", True),
        ("ok ... ms", "ok 12\n ms", False),
        ("first\n...\nlast", "first\nsecond\nthird\nlast", True),
        ("first\n...\nlast", "first\nlast", True),
        ("first\nlast", "first\nsecond\nlast", False),
        ("a+b (c)", "a+b (c)", True),
        ("", "said something", False),
    ],
)
def test_three_dots_stand_for_anything_and_nothing_else_does(expected: str, shown: str, same: bool) -> None:
    assert matches(expected, shown) is same
