import json
import re
import shlex
import stat
import sys
import tomllib
from pathlib import Path

import pytest

from broker.edges.cli import main as cli
from broker.edges.cli.hosts.formats import HOSTS, Registration, Scope, Transport, command

URL = "http://127.0.0.1:8321"
SECRET_FILE = Path("/home/dana/.config/broker/researcher.secret")
BROKER = command()
ARGS = ["stdio", "--url", URL, "--client-id", "researcher", "--secret-file", str(SECRET_FILE)]
REGISTRATION = Registration("broker", URL, "researcher", SECRET_FILE)
BRIDGE = {"command": BROKER, "args": ARGS}

STDIO = {
    "claude-code": {"mcpServers": {"broker": {"type": "stdio", **BRIDGE}}},
    "claude-desktop": {"mcpServers": {"broker": BRIDGE}},
    "cursor": {"mcpServers": {"broker": BRIDGE}},
    "vscode": {"servers": {"broker": {"type": "stdio", **BRIDGE}}},
    "codex": {"mcp_servers": {"broker": BRIDGE}},
    "gemini-cli": {"mcpServers": {"broker": BRIDGE}},
    "windsurf": {"mcpServers": {"broker": BRIDGE}},
    "zed": {"context_servers": {"broker": BRIDGE}},
    "json": {"mcpServers": {"broker": BRIDGE}},
}
HELPER = shlex.join([BROKER, "token", "--header", *ARGS[1:]])
HTTP = {
    "claude-code": {"mcpServers": {"broker": {"type": "http", "url": f"{URL}/mcp", "headersHelper": HELPER}}},
    "cursor": {
        "mcpServers": {
            "broker": {"url": f"{URL}/mcp", "headers": {"Authorization": "Bearer ${env:BROKER_TOKEN}"}}
        }
    },
    "vscode": {
        "servers": {
            "broker": {
                "type": "http",
                "url": f"{URL}/mcp",
                "headers": {"Authorization": "Bearer ${input:broker-token}"},
            }
        },
        "inputs": [
            {
                "type": "promptString",
                "id": "broker-token",
                "description": "Access token of the broker (`broker token`)",
                "password": True,
            }
        ],
    },
    "codex": {"mcp_servers": {"broker": {"url": f"{URL}/mcp", "bearer_token_env_var": "BROKER_TOKEN"}}},
    "gemini-cli": {
        "mcpServers": {
            "broker": {
                "type": "http",
                "url": f"{URL}/mcp",
                "headers": {"Authorization": "Bearer $BROKER_TOKEN"},
            }
        }
    },
    "windsurf": {
        "mcpServers": {
            "broker": {"serverUrl": f"{URL}/mcp", "headers": {"Authorization": "Bearer ${env:BROKER_TOKEN}"}}
        }
    },
    "json": {
        "mcpServers": {
            "broker": {
                "type": "http",
                "url": f"{URL}/mcp",
                "headers": {"Authorization": "Bearer ${BROKER_TOKEN}"},
            }
        }
    },
}


def run(*words: str) -> int:
    return cli.run(None, ["host", *words])


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BROKER_CLIENT_SECRET", raising=False)
    return tmp_path


@pytest.mark.parametrize("host", HOSTS)
def test_over_stdio_every_host_gets_the_bridge_in_its_own_format(host):
    assert HOSTS[host].document(REGISTRATION, Transport.STDIO) == STDIO[host]


@pytest.mark.parametrize("host", HTTP)
def test_over_http_a_host_gets_its_own_format_and_never_a_token(host):
    assert HOSTS[host].document(REGISTRATION, Transport.HTTP) == HTTP[host]


@pytest.mark.parametrize("host", sorted(HOSTS.keys() - HTTP.keys()))
def test_a_host_that_cannot_refer_to_a_token_says_so(host, capsys):
    assert run("print", host, "--client-id", "a", "--transport", "http") == 2
    assert "use --transport stdio" in capsys.readouterr().err


def test_printing_gives_the_text_of_the_file(home, capsys):
    assert run("print", "codex", "--client-id", "a", "--secret-file", "/s") == 0
    assert tomllib.loads(capsys.readouterr().out)["mcp_servers"]["broker"]["args"][-1] == "/s"
    assert run("print", "cursor", "--client-id", "a", "--name", "gate") == 0
    assert json.loads(capsys.readouterr().out)["mcpServers"]["gate"]["command"] == BROKER


def test_adding_to_a_host_without_a_file_makes_one_that_only_the_user_reads(home, capsys):
    assert run("add", "cursor", "--client-id", "a") == 0
    file = home / ".cursor" / "mcp.json"
    assert json.loads(file.read_text())["mcpServers"]["broker"]["args"][0] == "stdio"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "is not there yet" in capsys.readouterr().err


def test_adding_twice_changes_nothing_the_second_time(home, capsys):
    run("add", "cursor", "--client-id", "a")
    capsys.readouterr()
    before = (home / ".cursor" / "mcp.json").stat()
    assert run("add", "cursor", "--client-id", "a", "--json") == 0
    assert json.loads(capsys.readouterr().out)["changed"] is False
    assert (home / ".cursor" / "mcp.json").stat().st_mtime_ns == before.st_mtime_ns
    assert list((home / ".cursor").glob("*.bak")) == []


def test_adding_keeps_everything_else_and_the_old_file(home, capsys):
    file = home / ".gemini" / "settings.json"
    file.parent.mkdir()
    old = '{"theme":"dark","mcpServers":{"other":{"command":"x"},"broker":{"command":"old"}}}'
    file.write_text(old)
    file.chmod(0o644)
    assert run("add", "gemini-cli", "--client-id", "a", "--json") == 0
    new = json.loads(file.read_text())
    assert (new["theme"], new["mcpServers"]["other"]) == ("dark", {"command": "x"})
    assert new["mcpServers"]["broker"]["command"] == BROKER
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    backup = Path(json.loads(capsys.readouterr().out)["backup"])
    assert backup.read_text() == old


def test_adding_to_toml_keeps_comments(home):
    file = home / ".codex" / "config.toml"
    file.parent.mkdir()
    file.write_text('# mine\nmodel = "m" # best\n\n[mcp_servers.other]\ncommand = "x"\n')
    assert run("add", "codex", "--client-id", "a") == 0
    text = file.read_text()
    assert text.startswith('# mine\nmodel = "m" # best\n')
    assert tomllib.loads(text)["mcp_servers"].keys() == {"other", "broker"}
    assert run("add", "codex", "--client-id", "a") == 0
    assert file.read_text() == text


def test_inputs_of_vscode_are_added_once(home):
    file = home / ".vscode" / "mcp.json"
    file.parent.mkdir()
    file.write_text('{"inputs": [{"type": "promptString", "id": "mine"}], "servers": {}}')
    for name in ("one", "two"):
        assert run("add", "vscode", "--client-id", "a", "--transport", "http", "--name", name) == 0
    document = json.loads(file.read_text())
    assert [entry["id"] for entry in document["inputs"]] == ["mine", "broker-token"]
    assert document["servers"].keys() == {"one", "two"}


@pytest.mark.parametrize("text", ['{"a": 1, // comment\n}', "[]", '{"context_servers": []}'])
def test_a_file_that_cannot_be_merged_is_left_as_it_is(home, capsys, text):
    file = home / ".config" / "zed" / "settings.json"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert run("add", "zed", "--client-id", "a") == 2
    assert file.read_text() == text
    assert "broker host print" in capsys.readouterr().err


def test_a_link_to_a_file_stays_a_link(home):
    (home / "dotfiles.json").write_text("{}")
    (home / ".cursor").mkdir()
    (home / ".cursor" / "mcp.json").symlink_to(home / "dotfiles.json")
    assert run("add", "cursor", "--client-id", "a") == 0
    assert (home / ".cursor" / "mcp.json").is_symlink()
    assert "broker" in json.loads((home / "dotfiles.json").read_text())["mcpServers"]


@pytest.mark.parametrize("host", ["claude-code", "vscode"])
def test_a_host_that_keeps_the_user_s_servers_itself_is_told_by_its_own_command(home, capsys, host):
    assert run("add", host, "--client-id", "a", "--scope", "user") == 0
    words = shlex.split(capsys.readouterr().out)
    assert json.loads(words[-1])["args"][0] == "stdio"
    assert words[0] in {"claude", "code"}
    assert not any(home.iterdir())


def test_a_secret_is_written_only_when_asked_and_never_into_the_arguments(home, monkeypatch, capsys):
    monkeypatch.setenv("BROKER_CLIENT_SECRET", "bk_topsecret")
    run("print", "cursor", "--client-id", "a")
    assert "bk_topsecret" not in capsys.readouterr().out
    run("print", "cursor", "--client-id", "a", "--write-secret")
    entry = json.loads(capsys.readouterr().out)["mcpServers"]["broker"]
    assert entry["env"] == {"BROKER_CLIENT_SECRET": "bk_topsecret"}
    assert "bk_topsecret" not in " ".join(entry["args"])


def test_a_secret_that_is_to_be_written_has_to_be_there(home, capsys):
    assert run("print", "cursor", "--client-id", "a", "--write-secret") == 2
    assert "export BROKER_CLIENT_SECRET" in capsys.readouterr().err


def test_an_unknown_host_is_answered_with_the_known_ones(home, capsys):
    assert run("print", "emacs", "--client-id", "a") == 5
    assert "claude-code" in capsys.readouterr().err


def test_every_host_is_listed_with_its_files(capsys):
    assert run("list", "--json") == 0
    rows = {row["host"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["cursor"]["files"] == ["~/.cursor/mcp.json", ".cursor/mcp.json"]
    assert rows["claude-desktop"]["transports"] == ["stdio"]
    assert rows.keys() == HOSTS.keys()


def test_what_a_host_starts_is_there_and_is_this_installation():
    assert Path(BROKER).is_absolute()
    assert Path(BROKER).parent == Path(sys.executable).parent
    assert re.fullmatch(r"broker(\.exe)?", Path(BROKER).name)
    assert {scope for host in HOSTS.values() for scope in host.files} == set(Scope)
