"""Which MCP server, and how is it reached? The connector's section in `broker.toml`."""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

from broker.connector import ConfigurationError, check_egress

_WHOLE = re.compile(r"(?:env|file):.+", re.DOTALL)
_EMBEDDED = re.compile(r"\$\{((?:env|file):[^}]+)\}")
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "x-api-key", "api-key", "cookie"})
_OWN_HEADERS = frozenset(
    {"host", "accept", "accept-encoding", "content-type", "content-length", "connection", "transfer-encoding"}
)


class McpSettings(BaseModel):
    """An MCP server: either a `command` that the broker starts, or a `url` that it calls.

    Values of `env` and `headers` may be references (`env:NAME`, `file:PATH`), or text with references
    in it (`Bearer ${env:NAME}`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="program and arguments; no shell reads them"
    )
    env: dict[str, str] = Field(
        default_factory=dict, description="variables it gets besides PATH, HOME, LANG, LC_* and TMPDIR"
    )
    cwd: Path | None = Field(default=None, description="folder it is started in; default: the broker's")
    url: str | None = Field(default=None, description="endpoint of a server that speaks Streamable HTTP")
    headers: dict[str, str] = Field(default_factory=dict, description="headers to send with every request")
    allow_private: bool = Field(
        default=False, description="whether `url` may be plain http, on this machine or in a private network"
    )
    isolation: Literal["shared", "organisation", "agent"] = Field(
        default="shared", description="who may share a session (or process) of the server"
    )
    idle_s: float = Field(
        default=600.0, gt=0, description="seconds after which an unused session or process is ended"
    )

    @model_validator(mode="after")
    def _one_transport(self) -> Self:
        if (self.command is None) == (self.url is None):
            raise ValueError("give either `command` or `url`")
        if self.command is not None and (self.headers or self.allow_private):
            raise ValueError("`headers` and `allow_private` belong to a `url`, not to a `command`")
        if not all(_VARIABLE_NAME.fullmatch(name) for name in self.env):
            raise ValueError("a name in `env` is none that a variable can have")
        if self.url is not None and (self.env or self.cwd):
            raise ValueError("`env` and `cwd` belong to a `command`, not to a `url`")
        return self

    @model_validator(mode="after")
    def _safe_url(self) -> Self:
        if self.url is None:
            return self
        parts = urlsplit(self.url)
        if parts.scheme not in ("https", "http") or not parts.hostname:
            raise ValueError("`url` must look like https://host/path")
        if parts.username is not None or parts.password is not None or parts.fragment:
            raise ValueError("`url` must not hold credentials or a fragment; credentials belong to `headers`")
        if parts.scheme == "http" and not self.allow_private:
            raise ValueError("use https, or set allow_private = true for a server on this machine or network")
        literal = None
        with suppress(ValueError):
            literal = ip_address(parts.hostname)
        if literal is not None:
            check_egress(str(literal), name=parts.hostname, allow_private=self.allow_private)
        return self

    @model_validator(mode="after")
    def _plain_headers(self) -> Self:
        for name, value in self.headers.items():
            lower = name.lower()
            if not _HEADER_NAME.fullmatch(name) or any(c in value for c in "\r\n\0"):
                raise ValueError(f"header `{name}` cannot be sent as it is written")
            if lower in _OWN_HEADERS or lower.startswith("mcp-"):
                raise ValueError(f"header `{name}` is set by the broker itself")
            if lower in _SECRET_HEADERS and not has_reference(value):
                raise ValueError(f"header `{name}` holds a secret: write a reference, e.g. `env:NAME`")
        return self


def check_headers(headers: Mapping[str, str], name: str) -> None:
    """Refuse resolved headers that cannot be sent, without repeating a secret.

    Raises:
        ConfigurationError: a value holds a line break.
    """
    for header, value in headers.items():
        if any(c in value for c in "\r\n\0"):
            raise ConfigurationError(
                f"connector `{name}`: what header `{header}` refers to holds a line break",
                hint="keep only the secret itself in the file or variable",
            )


def has_reference(value: str) -> bool:
    """Whether a configured value refers to a secret."""
    return bool(_WHOLE.fullmatch(value) or _EMBEDDED.search(value))


def resolve_all(
    values: Mapping[str, str], secret: Callable[[str], str]
) -> tuple[dict[str, str], frozenset[str]]:
    """The values with every reference resolved, and the secrets that are now in them.

    Raises:
        ConfigurationError: what `secret` raises for a reference that cannot be resolved.
    """
    secrets: set[str] = set()

    def look_up(reference: str) -> str:
        found = secret(reference)
        secrets.add(found)
        return found

    resolved = {
        name: look_up(value)
        if _WHOLE.fullmatch(value)
        else _EMBEDDED.sub(lambda match: look_up(match[1]), value)
        for name, value in values.items()
    }
    return resolved, frozenset(secrets)
