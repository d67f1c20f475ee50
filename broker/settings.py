"""Every setting, in one model. `docs/reference/settings.md` is made from it.

One file, `broker.toml`; the environment overrides it (`BROKER_SERVER__PORT=9000`); secrets are only
ever references (`env:NAME`, `file:PATH`). Without any file the defaults run: SQLite, loopback only.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A part of the configuration: closed, so that a typo is an error and not a default."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerSettings(Section):
    """Where the broker listens and what it is called from outside."""

    host: str = Field(default="127.0.0.1", description="address to listen on; any but loopback needs TLS")
    port: int = Field(default=8321, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    public_url: str | None = Field(
        default=None,
        description="scheme://host[:port] by which clients reach the broker; default: http://<host>:<port>",
    )
    allowed_hosts: tuple[str, ...] = Field(
        default=(), description="further values of the Host header to accept besides that of public_url"
    )
    allowed_origins: tuple[str, ...] = Field(
        default=(), description="values of the Origin header to accept besides that of public_url"
    )
    behind_proxy: bool = Field(default=False, description="a proxy in front of the broker terminates TLS")
    tls_certificate: Path | None = Field(default=None, description="PEM file with the certificate chain")
    tls_key: Path | None = Field(default=None, description="PEM file with the private key")


class TokenSettings(Section):
    """Access tokens."""

    lifetime_s: int = Field(default=600, ge=60, le=3600, description="seconds an access token is valid")
    manifest_mismatch: Literal["refuse", "narrow"] = Field(
        default="refuse",
        description="what happens when a client assertion contradicts the agent's signed manifest: no token,"
        " or a token while the agent is at level A0 until an operator has looked at it",
    )
    manifest_required: bool = Field(
        default=False,
        description="an agent with a signed manifest has to name it in its client assertion",
    )
    strict_audience: bool = Field(
        default=False,
        description="client assertions must name the issuer; the token endpoint is no audience",
    )


class FederationSettings(Section):
    """An issuer whose tokens authenticate agents, so that they need no secret of the broker's."""

    issuer: str = Field(
        pattern=r"^[a-z][a-z0-9+.-]*://\S+$", description="the `iss` of its tokens, compared as a text"
    )
    jwks: Path = Field(description="file with its public keys (RFC 7517); a new version is taken into use")
    audience: str | None = Field(
        default=None, description="the `aud` its tokens must have; default: the broker's issuer"
    )
    agents: dict[str, Annotated[dict[str, str], Field(min_length=1)]] = Field(
        min_length=1,
        description="for each agent the claims that its token must have, exactly: "
        '`researcher = { sub = "system:serviceaccount:agents:researcher" }`',
    )


class LimitSettings(Section):
    """Sizes above which nothing is read, and times after which nothing is waited for."""

    request_bytes: int = Field(default=4 << 20, ge=1024, description="largest request body")
    argument_bytes: int = Field(default=1 << 20, ge=1024, description="largest arguments of one call")
    result_bytes: int = Field(default=4 << 20, ge=1024, description="largest result of one call")
    depth: int = Field(default=64, ge=8, le=256, description="deepest nesting of arguments and results")
    json_answer_within_s: float = Field(
        default=15.0, gt=0, description="a call that takes longer is answered as an event stream"
    )


class AuditSettings(Section):
    """The log."""

    publish_to: Path | None = Field(
        default=None, description="file outside the state to which every signed checkpoint is appended"
    )


class ApprovalSettings(Section):
    """Calls that a human has to agree to."""

    pending_s: int = Field(default=900, ge=10, le=604_800, description="seconds in which a human can answer")
    use_s: int = Field(
        default=600,
        ge=10,
        le=86_400,
        description="seconds in which an approved call has to be made; a refusal stands as long",
    )
    wait_s: float = Field(
        default=10.0,
        ge=0,
        le=600,
        description="seconds an open call waits for the answer before it is told to come back",
    )
    most_pending: int = Field(default=20, ge=1, le=1000, description="questions one agent can have open")


class ConnectorSettings(Section):
    """One connector. `use` names an installed connector, `settings` is its own section."""

    use: str = Field(description="name of the installed connector (entry point mcp_tool_broker.connectors)")
    prefix: str | None = Field(
        default=None,
        description='names are `<prefix>__<tool>`; default: the name; "" passes names on',
    )
    timeout_s: float = Field(default=300.0, gt=0, description="seconds after which a call counts as lost")
    max_concurrent: int | None = Field(
        default=None,
        ge=1,
        description="calls at a time; further ones wait, each agent in its turn; default: no limit",
    )
    agent: str | None = Field(
        default=None,
        description="the agent that the upstream acts as: calls to it hand their caller's authority on",
    )
    settings: dict[str, Any] = Field(default_factory=dict, description="the connector's own settings")


class Settings(Section):
    """Everything."""

    deployment: str = Field(
        default="broker.local", pattern=r"^[a-z0-9.-]+$", description="name of this deployment in log origins"
    )
    state_dir: Path = Field(default=Path(".broker"), description="where the broker keeps its state")
    policies_dir: Path | None = Field(default=None, description="policies; default: the shipped ones")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="what is written to stderr"
    )
    server: ServerSettings = Field(default_factory=ServerSettings, description="where the broker listens")
    tokens: TokenSettings = Field(default_factory=TokenSettings, description="access tokens")
    limits: LimitSettings = Field(default_factory=LimitSettings, description="sizes and times")
    audit: AuditSettings = Field(default_factory=AuditSettings, description="the log")
    approvals: ApprovalSettings = Field(
        default_factory=ApprovalSettings, description="calls that a human has to agree to"
    )
    connectors: dict[str, ConnectorSettings] = Field(
        default_factory=dict, description="the connectors that are enabled, by name"
    )

    federation: dict[str, FederationSettings] = Field(
        default_factory=dict, description="other issuers whose tokens authenticate agents, by name"
    )

    @property
    def public_url(self) -> str:
        """`scheme://host[:port]`, no slash at the end."""
        if self.server.public_url:
            return self.server.public_url.rstrip("/")
        scheme = "https" if self.server.tls_certificate else "http"
        host = f"[{self.server.host}]" if ":" in self.server.host else self.server.host
        return f"{scheme}://{host}:{self.server.port}"

    @property
    def issuer(self) -> str:
        """The authorization server's issuer (RFC 8414): a URL with a path, compared as a string."""
        return f"{self.public_url}/oauth"

    @property
    def resource(self) -> str:
        """The one resource tokens are for (RFC 8707): the MCP endpoint."""
        return f"{self.public_url}/mcp"
