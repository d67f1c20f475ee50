"""The command itself: help, usage, streams, errors."""

import io
import subprocess
import sys
from pathlib import Path

import pytest

from broker.edges.cli import main as cli
from broker.edges.cli.ink import Ink, visible
from broker.edges.cli.output import Output, dollars
from broker.edges.cli.reference import commands_page, settings_page

REFERENCE = Path(__file__).parents[3] / "docs" / "reference"


def test_help_loads_nothing_that_a_verb_needs():
    heavy = "typer, pydantic, aiohttp, starlette, mcp, cedarpy, apsw, rich, orjson"
    script = (
        "import sys; sys.argv = ['broker', '--help']\n"
        "from broker.__main__ import main\n"
        "try: main()\n"
        f"finally: assert not (loaded := set(sys.modules) & set('{heavy}'.split(', '))), loaded"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    assert all(noun in done.stdout for noun in cli.NOUNS)


@pytest.mark.parametrize("noun", cli.NOUNS)
def test_every_command_explains_itself(noun, capsys):
    assert cli.run(None, [noun, "--help"]) == 0
    assert f"Usage: broker {noun}" in capsys.readouterr().out


def test_an_unknown_command_is_a_usage_error_with_the_one_that_was_meant(capsys):
    assert cli.run(None, ["serv"]) == 2
    assert capsys.readouterr().err.endswith("hint: did you mean `broker serve`?\n")


def test_an_unknown_option_is_a_usage_error(capsys):
    assert cli.run(None, ["config", "show", "--jsn"]) == 2
    assert "--jsn" in capsys.readouterr().err


def test_the_version_is_that_of_the_distribution(capsys):
    assert cli.run(None, ["--version"]) == 0
    assert capsys.readouterr().out == "broker 0.1.0\n"


def test_an_error_is_text_on_stderr_and_an_object_on_stdout_with_json(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broker.toml").write_text("prot = 1\n")
    assert cli.run(None, ["config", "show"]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err) == (
        "",
        "configuration: broker.toml:1: unknown key `prot`\nhint: `broker config schema` lists every setting\n",
    )
    assert cli.run(None, ["config", "show", "--json"]) == 2
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out == (
        '{"error": {"code": "configuration", "message": "broker.toml:1: unknown key `prot`",'
        ' "hint": "`broker config schema` lists every setting"}}\n'
    )


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_list_is_aligned_on_a_terminal_tabbed_in_a_pipe_and_an_array_in_json():
    rows = [{"name": "a", "roles": ["x", "y"], "cap": None}, {"name": "longer", "roles": [], "cap": True}]
    seen: dict[str, str] = {}
    for what, stream in (("terminal", Terminal()), ("pipe", io.StringIO()), ("json", Terminal())):
        Output(as_json=what == "json", out=stream, err=io.StringIO()).rows(
            ("name", "roles", "cap"), rows, empty=""
        )
        seen[what] = stream.getvalue()
    assert seen["pipe"] == "name\troles\tcap\na\tx,y\t-\nlonger\t-\tyes\n"
    plain = seen["terminal"].replace("\x1b[2m", "").replace("\x1b[0m", "")
    assert plain == "NAME    ROLES  CAP\na       x,y    -\nlonger  -      yes\n"
    assert seen["json"].startswith('[\n  {\n    "name": "a"')


def test_colours_only_where_somebody_reads_them(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert Ink.on(Terminal())("red", "x") == "\x1b[31mx\x1b[0m"
    assert Ink.on(io.StringIO())("red", "x") == "x"
    monkeypatch.setenv("NO_COLOR", "1")
    assert Ink.on(Terminal())("red", "x") == "x"


def test_what_an_agent_wrote_cannot_steer_the_terminal():
    assert visible("a\x1b[2Jb\x07\u202ec") == "a\\x1b[2Jb\\x07\\u202ec"


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (0, "0.00 USD"),
        (1, "0.000001 USD"),
        (2_500, "0.0025 USD"),
        (1_230_000, "1.23 USD"),
        (-5, "-0.000005 USD"),
    ],
)
def test_money_is_shown_exactly(micros, text):
    assert dollars(micros) == text


@pytest.mark.parametrize(("page", "made"), [("settings.md", settings_page), ("cli.md", commands_page)])
def test_the_reference_pages_are_up_to_date(page, made):
    assert (REFERENCE / page).read_text(encoding="utf-8") == made(), (
        "run python -m broker.edges.cli.reference"
    )
