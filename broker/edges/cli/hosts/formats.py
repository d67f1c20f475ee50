"""What does each host want to read? One entry per host and transport, exactly in its own format.

Over stdio a host starts `broker stdio`, which gets and renews tokens by itself; that works everywhere.
Over HTTP a host needs a token, and only some can run a command for one. No entry holds a secret,
unless it was asked to: it names the file the secret is in, or a variable.
"""

import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from broker.model import Json

TOKEN_VARIABLE = "BROKER_TOKEN"


class Transport(StrEnum):
    """How the host speaks to the broker."""

    STDIO = "stdio"
    HTTP = "http"


class Scope(StrEnum):
    """Which of a host's files: that of the folder's project, or the user's own."""

    PROJECT = "project"
    USER = "user"


@dataclass(frozen=True, slots=True)
class Registration:
    """What a host is told: `url` is scheme://host[:port]; `secret` only if it is to be written out."""

    name: str
    url: str
    client_id: str
    secret_file: Path
    secret: str | None = field(default=None, repr=False)

    @property
    def endpoint(self) -> str:
        """The MCP endpoint."""
        return f"{self.url}/mcp"

    @property
    def _identity(self) -> list[str]:
        where = [] if self.secret else ["--secret-file", str(self.secret_file)]
        return ["--url", self.url, "--client-id", self.client_id, *where]

    def bridge(self) -> Json:
        """`command`, `args` and, for a secret that is to be written out, `env`."""
        entry: Json = {"command": command(), "args": ["stdio", *self._identity]}
        return entry | ({"env": {"BROKER_CLIENT_SECRET": self.secret}} if self.secret else {})

    def header_command(self) -> str:
        """A shell command that prints the headers of a request."""
        return shlex.join([command(), "token", "--header", *self._identity])


@dataclass(frozen=True, slots=True)
class Host:
    """One host: where its servers stand in its file, and what an entry looks like.

    `files` are relative to the project's folder or to the user's home; a scope that is not there is
    not the host's. `http` is None where the host speaks stdio only.
    """

    name: str
    title: str
    key: str
    files: dict[Scope, str]
    stdio: Callable[[Registration], Json]
    http: Callable[[Registration], Json] | None = None
    command: Callable[[Registration, Transport, Scope], str] | None = None
    inputs: bool = False

    def entry(self, registration: Registration, transport: Transport) -> Json:
        """The entry of the broker under the host's key."""
        if transport is Transport.STDIO or self.http is None:
            return self.stdio(registration)
        return self.http(registration)

    def document(self, registration: Registration, transport: Transport) -> Json:
        """A whole file with nothing but the broker in it."""
        document: Json = {self.key: {registration.name: self.entry(registration, transport)}}
        if self.inputs and transport is Transport.HTTP:
            document["inputs"] = [TOKEN_INPUT]
        return document


TOKEN_INPUT: Json = {
    "type": "promptString",
    "id": "broker-token",
    "description": "Access token of the broker (`broker token`)",
    "password": True,
}


def command() -> str:
    """The absolute path of this installation's `broker`: hosts start it without the user's PATH."""
    beside = Path(sys.executable).parent / "broker"
    return str(beside if beside.exists() else Path(sys.argv[0]).absolute())


def _plain(registration: Registration) -> Json:
    return registration.bridge()


def _typed(registration: Registration) -> Json:
    return {"type": "stdio", **registration.bridge()}


def _bearer(reference: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {reference}"}


def _claude_code_http(registration: Registration) -> Json:
    helper = registration.header_command()
    return {"type": "http", "url": registration.endpoint, "headersHelper": helper}


def _claude_code_command(registration: Registration, transport: Transport, scope: Scope) -> str:
    entry = CLAUDE_CODE.entry(registration, transport)
    return shlex.join(["claude", "mcp", "add-json", "--scope", scope, registration.name, json.dumps(entry)])


def _vscode_command(registration: Registration, transport: Transport, scope: Scope) -> str:  # noqa: ARG001
    entry = {"name": registration.name, **VSCODE.entry(registration, transport)}
    return shlex.join(["code", "--add-mcp", json.dumps(entry)])


def _codex_http(registration: Registration) -> Json:
    return {"url": registration.endpoint, "bearer_token_env_var": TOKEN_VARIABLE}


def _http(reference: str, **more: str) -> Callable[[Registration], Json]:
    return lambda registration: {**more, "url": registration.endpoint, "headers": _bearer(reference)}


def _windsurf_http(registration: Registration) -> Json:
    return {"serverUrl": registration.endpoint, "headers": _bearer(f"${{env:{TOKEN_VARIABLE}}}")}


def _desktop_file() -> str:
    if sys.platform == "darwin":
        return "Library/Application Support/Claude/claude_desktop_config.json"
    if sys.platform == "win32":
        return "AppData/Roaming/Claude/claude_desktop_config.json"
    return ".config/Claude/claude_desktop_config.json"


CLAUDE_CODE = Host(
    "claude-code",
    "Claude Code",
    "mcpServers",
    {Scope.PROJECT: ".mcp.json"},
    _typed,
    _claude_code_http,
    command=_claude_code_command,
)
VSCODE = Host(
    "vscode",
    "VS Code",
    "servers",
    {Scope.PROJECT: ".vscode/mcp.json"},
    _typed,
    _http("${input:broker-token}", type="http"),
    command=_vscode_command,
    inputs=True,
)
HOSTS = {
    host.name: host
    for host in (
        CLAUDE_CODE,
        Host("claude-desktop", "Claude Desktop", "mcpServers", {Scope.USER: _desktop_file()}, _plain),
        Host(
            "cursor",
            "Cursor",
            "mcpServers",
            {Scope.USER: ".cursor/mcp.json", Scope.PROJECT: ".cursor/mcp.json"},
            _plain,
            _http(f"${{env:{TOKEN_VARIABLE}}}"),
        ),
        VSCODE,
        Host(
            "codex",
            "Codex CLI",
            "mcp_servers",
            {Scope.USER: ".codex/config.toml", Scope.PROJECT: ".codex/config.toml"},
            _plain,
            _codex_http,
        ),
        Host(
            "gemini-cli",
            "Gemini CLI",
            "mcpServers",
            {Scope.USER: ".gemini/settings.json", Scope.PROJECT: ".gemini/settings.json"},
            _plain,
            _http(f"${TOKEN_VARIABLE}", type="http"),
        ),
        Host(
            "windsurf",
            "Windsurf",
            "mcpServers",
            {Scope.USER: ".codeium/windsurf/mcp_config.json"},
            _plain,
            _windsurf_http,
        ),
        Host(
            "zed",
            "Zed",
            "context_servers",
            {Scope.USER: ".config/zed/settings.json", Scope.PROJECT: ".zed/settings.json"},
            _plain,
        ),
        Host(
            "json", "any other host", "mcpServers", {}, _plain, _http(f"${{{TOKEN_VARIABLE}}}", type="http")
        ),
    )
}
