"""Every setting, in one model. `docs/reference/settings.md` is made from it.

One file, `broker.toml`; the environment overrides it (`BROKER_SERVER__PORT=9000`); secrets are only
ever references (`env:NAME`, `file:PATH`). Without any file the defaults run: SQLite, loopback only.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from broker.model import OWN_CONNECTOR


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
    private_jwks_uris: bool = Field(
        default=False,
        description="keys of agents may be fetched from private networks, and from this machine also by http",
    )


class FederationSettings(Section):
    """An issuer whose tokens authenticate agents, so that they need no secret of the broker's."""

    issuer: str = Field(
        pattern=r"^[a-z][a-z0-9+.-]*://\S+$", description="the `iss` of its tokens, compared as a text"
    )
    jwks: Path | None = Field(
        default=None, description="file with its public keys (RFC 7517); a new version is taken into use"
    )
    jwks_uri: str | None = Field(default=None, description="instead: the address where it publishes them")
    allow_private: bool = Field(
        default=False, description="`jwks_uri` may be in a private network, or on this machine also by http"
    )
    audience: str | None = Field(
        default=None, description="the `aud` its tokens must have; default: the broker's issuer"
    )
    agents: dict[str, Annotated[dict[str, str], Field(min_length=1)]] = Field(
        min_length=1,
        description="for each agent the claims that its token must have, exactly: "
        '`researcher = { sub = "system:serviceaccount:agents:researcher" }`',
    )

    @model_validator(mode="after")
    def _one_place_of_keys(self) -> Self:
        if (self.jwks is None) == (self.jwks_uri is None):
            raise ValueError("give either `jwks` or `jwks_uri`")
        if self.allow_private and self.jwks_uri is None:
            raise ValueError("`allow_private` belongs to a `jwks_uri`")
        return self


class LimitSettings(Section):
    """Sizes above which nothing is read, and times after which nothing is waited for."""

    request_bytes: int = Field(default=4 << 20, ge=1024, description="largest request body")
    argument_bytes: int = Field(default=1 << 20, ge=1024, description="largest arguments of one call")
    result_bytes: int = Field(default=4 << 20, ge=1024, description="largest result of one call")
    depth: int = Field(default=64, ge=8, le=256, description="deepest nesting of arguments and results")
    json_answer_within_s: float = Field(
        default=15.0, gt=0, description="a call that takes longer is answered as an event stream"
    )


SIX_MONTHS_DAYS = 183
"""How long records of a high-risk system have to be kept (Regulation (EU) 2024/1689, 19(1) and 26(6))."""


class FeedSettings(Section):
    """A continuous export of all logs: each record at least once, in order."""

    format: Literal["jsonl", "ocsf", "otlp", "cef"] = Field(
        description="`jsonl`: every record, byte for byte; the others tell of ended calls and of tokens"
    )
    file: Path | None = Field(default=None, description="file to which lines are appended")
    url: str | None = Field(
        default=None,
        pattern=r"^https?://\S+$",
        description="instead: address to which they are posted: a webhook, or a collector's `/v1/traces`",
    )
    headers: dict[str, str] = Field(
        default_factory=dict[str, str],
        description="headers of the posts; each value is a reference (`env:NAME`, `file:PATH`)",
    )
    allow_private: bool = Field(
        default=False, description="`url` may be in a private network, or on this machine also by http"
    )

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.file is None) == (self.url is None):
            raise ValueError("give either `file` or `url`")
        if self.url is None and (self.headers or self.allow_private):
            raise ValueError("`headers` and `allow_private` belong to a `url`")
        return self


class WitnessSettings(Section):
    """A witness that cosigns the checkpoints of the `system` log, which tells of those of all others."""

    url: str = Field(
        pattern=r"^https?://\S+$", description="its prefix: `add-checkpoint` (C2SP tlog-witness) is below it"
    )
    key: str = Field(description="its verifier key, `<name>+<id>+<key>`")
    allow_private: bool = Field(
        default=False, description="`url` may be in a private network, or on this machine also by http"
    )


class AuditSettings(Section):
    """The log."""

    publish_to: Path | None = Field(
        default=None, description="file outside the state to which every signed checkpoint is appended"
    )
    payloads: Literal["commit", "keep"] = Field(
        default="commit",
        description="arguments and results of calls: `commit` keeps only what proves to whoever holds them"
        " what they were, `keep` keeps them too, encrypted, for `payload_days`",
    )
    payload_key: str | None = Field(
        default=None,
        description="reference to the key that wraps the keys of payloads, 64 hexadecimal digits"
        " (`env:NAME`, `file:PATH`); default: `payload.key` in the state, made at the first start",
    )
    payload_days: int = Field(
        default=30, ge=1, le=3650, description="days after which payloads and their keys are destroyed"
    )
    record_days: int = Field(
        default=400,
        ge=1,
        le=36_500,
        description="days after which the bodies of records are removed; their hashes stay for ever",
    )
    high_risk: bool = Field(
        default=False,
        description="an agent is part of a high-risk AI system (EU AI Act 19, 26): records stay six months",
    )
    feeds: dict[str, FeedSettings] = Field(
        default_factory=dict[str, FeedSettings], description="continuous exports, by name"
    )
    witnesses: dict[str, WitnessSettings] = Field(
        default_factory=dict[str, WitnessSettings], description="who cosigns checkpoints, by name"
    )

    @model_validator(mode="after")
    def _long_enough(self) -> Self:
        if self.high_risk and self.record_days < SIX_MONTHS_DAYS:
            raise ValueError(f"with `high_risk` records stay for at least {SIX_MONTHS_DAYS} days")
        if self.payload_days > self.record_days:
            raise ValueError("`payload_days` cannot be more than `record_days`")
        return self


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


class ResultSettings(Section):
    """Answers that are kept for those who send the same call again."""

    kept_s: int = Field(
        default=86_400, ge=60, le=2_592_000, description="seconds for which an idempotency key holds"
    )
    most_bytes: int = Field(
        default=256 << 10, ge=1024, description="largest answer that is kept for an idempotency key"
    )
    agent_bytes: int = Field(
        default=16 << 20, ge=1024, description="all answers that are kept for the keys of one agent"
    )
    cache_bytes: int = Field(
        default=32 << 20, ge=0, description="memory for answers of tools that declare `cache_s`"
    )


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
    pin: Literal["first-use", "approve"] = Field(
        default="first-use",
        description="when a tool is new: `first-use` serves it as it is, unless something speaks against it;"
        " `approve` waits for `broker connector approve`",
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
    results: ResultSettings = Field(
        default_factory=ResultSettings, description="answers that are kept for repeated calls"
    )
    connectors: dict[str, ConnectorSettings] = Field(
        default_factory=dict, description="the connectors that are enabled, by name"
    )

    federation: dict[str, FederationSettings] = Field(
        default_factory=dict, description="other issuers whose tokens authenticate agents, by name"
    )

    @field_validator("connectors")
    @classmethod
    def _own_name(cls, connectors: dict[str, ConnectorSettings]) -> dict[str, ConnectorSettings]:
        for name, section in connectors.items():
            called = {name, name if section.prefix is None else section.prefix}
            fits = called == {OWN_CONNECTOR} if section.use == OWN_CONNECTOR else OWN_CONNECTOR not in called
            if not fits:
                raise ValueError('`broker` names the broker\'s own tools: `use = "broker"`, and nothing else')
        return connectors

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
