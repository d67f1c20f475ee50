"""How does an agent use a broker? One context: it gets tokens, lists, calls and delegates."""

import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import anyio
import httpx2

from broker.client.answer import Answer, OnProgress, Tool, ToolFailed
from broker.client.auth import TokenAuth
from broker.client.context import delegation
from broker.client.credentials import (
    ClientKey,
    ClientSecret,
    Credential,
    WorkloadToken,
    private_key,
    read_secret,
    stating,
)
from broker.client.delegation import ACCESS_TOKEN, JWT, Grant, Tools, Wish
from broker.client.endpoint import MCP_PATH, Endpoint
from broker.client.oauth import AuthorizationServer
from broker.client.tokens import Tokens
from broker.errors import ConfigurationError
from broker.messages.refusals import refusal_in
from broker.model import Json

DEFAULT_URL = "http://127.0.0.1:8321"
CONNECT_WITHIN_S = 10.0
IDLE_S = 4.0
"""The broker closes a connection after 5 s on which nothing is asked: it is not used again shortly before."""
SILENCE_S = 60.0
"""The broker says something every 15 s while a call is open: after this long it is gone."""


class Broker:
    """An agent's connection to a broker; an asynchronous context manager, safe for parallel calls.

    Args:
        url: scheme://host[:port] of the broker, as its operator publishes it.
        client_id: the agent.
        client_secret: its secret; or
        private_key: its private key (Ed25519, P-256 or RSA) as PEM or JWK; or
        assertion_file: the file in which the platform keeps the token of this workload.
        manifest: the agent's signed manifest (a compact JWS), which it then says it runs under; needs a key.
        transport: how HTTP is done, e.g. with a proxy or certificates of one's own.

    Raises:
        ConfigurationError: the URL or the credential cannot be used.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        client_id: str,
        client_secret: str | None = None,
        private_key: str | Mapping[str, Any] | None = None,
        assertion_file: str | None = None,
        manifest: str | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = _base(url)
        self._credential = _credential(self.url, client_id, client_secret, private_key, assertion_file)
        if manifest is not None:
            self._credential = stating(self._credential, manifest)
        self._http = httpx2.AsyncClient(
            transport=transport,
            timeout=httpx2.Timeout(SILENCE_S, connect=CONNECT_WITHIN_S, pool=None),
            limits=httpx2.Limits(max_keepalive_connections=20, keepalive_expiry=IDLE_S),
            follow_redirects=False,
        )
        self._server = AuthorizationServer(self._http, self.url, self._credential)
        self._tokens = Tokens(self._server)
        self._endpoint = Endpoint(self._http, self.url, self._tokens)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """A connection as the environment says.

        BROKER_URL (default: `http://127.0.0.1:8321`), BROKER_CLIENT_ID, and one of BROKER_CLIENT_SECRET,
        BROKER_CLIENT_SECRET_FILE, BROKER_CLIENT_KEY_FILE and BROKER_CLIENT_ASSERTION_FILE; beside a key
        BROKER_CLIENT_MANIFEST_FILE, if the agent has a signed manifest.

        Raises:
            ConfigurationError: something is missing; says what to set.
        """
        client_id = environ.get("BROKER_CLIENT_ID")
        if not client_id:
            raise ConfigurationError("which agent is this?", hint="set BROKER_CLIENT_ID")
        secret, key = environ.get("BROKER_CLIENT_SECRET"), None
        if path := environ.get("BROKER_CLIENT_SECRET_FILE"):
            secret = read_secret(path, "client secret")
        if path := environ.get("BROKER_CLIENT_KEY_FILE"):
            key = read_secret(path, "private key")
        manifest = environ.get("BROKER_CLIENT_MANIFEST_FILE")
        return cls(
            environ.get("BROKER_URL") or DEFAULT_URL,
            client_id=client_id,
            client_secret=secret,
            private_key=key,
            assertion_file=environ.get("BROKER_CLIENT_ASSERTION_FILE"),
            manifest=read_secret(manifest, "manifest") if manifest else None,
        )

    def __repr__(self) -> str:
        return f"Broker({self.url!r}, client_id={self._credential.client_id!r})"

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._http.__aexit__(kind, error, traceback)

    @property
    def mcp_url(self) -> str:
        """The MCP endpoint, for clients of one's own."""
        return self.url + MCP_PATH

    async def tools(self) -> list[Tool]:
        """All tools that this agent may use under some arguments.

        Raises:
            Unauthenticated: the credential is not accepted, or the agent may not act.
            UpstreamUnreachable: no broker answers.
        """
        return [Tool.of(definition) for definition in await self._endpoint.tools()]

    async def call(
        self, name: str, arguments: Mapping[str, Any] | None = None, *, on_progress: OnProgress | None = None
    ) -> Answer:
        """Call a tool. Leaving this early cancels the call.

        Args:
            name: the tool, as `tools` lists it.
            arguments: as its schema says.
            on_progress: is called with each `Progress` that the tool reports.

        Raises:
            Refused: the broker did not do it, or does not hand out the answer: see `code`, `because`, `hint`.
            ToolFailed: the tool was called and says that it failed.
            UpstreamError: the remote system; after `UpstreamLost` the call may have had its effect.
            Unauthenticated: the credential is not accepted, or the agent may not act.
        """
        result = await self._endpoint.call(name, dict(arguments or {}), on_progress)
        refusal = refusal_in(result)
        if refusal is not None:
            raise refusal
        answer = Answer(result)
        if result.get("isError") is True:
            raise ToolFailed(name, answer)
        return answer

    @asynccontextmanager
    async def delegate(
        self,
        to: str,
        *,
        task: str | None = None,
        purpose: str | None = None,
        tools: Tools | None = None,
        budget_usd: str | Decimal | None = None,
        max_calls: int | None = None,
        max_depth: int | None = None,
        expires_in_s: int | None = None,
    ) -> AsyncGenerator[Grant]:
        """Hand part of this agent's authority on, for the time of a block; then it is taken back.

        Within `acting_on` it is the authority of that delegation that is handed on, so the chain grows.
        What the other agent may do is what everybody in the chain may do, within these limits.

        Args:
            to: the agent that may act.
            task: what for, in a few words; it is recorded.
            purpose: the reason behind the task; it is recorded.
            tools: what it may use, as names or globs, or with conditions on arguments; default: all.
            budget_usd: what it may spend, in US dollars, e.g. `"0.05"`.
            max_calls: how many calls it may make.
            max_depth: how many hops the whole chain may have.
            expires_in_s: seconds until it ends by itself; default: with this agent's own token.

        Raises:
            Denied: the policies do not permit it, or it would widen what this agent has itself.
            InvalidRequest: the budget is no amount, or the tools are no list.
            BrokerError: no token; see `token`. On leaving: it could not be taken back, and ends by itself.
        """
        wish = Wish(to, task, purpose, tools, budget_usd, max_calls, max_depth, expires_in_s)
        subject = delegation()
        form = (
            wish.form(subject, JWT)
            if subject
            else wish.form(await self._tokens.token(lasting_s=expires_in_s or 0), ACCESS_TOKEN)
        )
        answer = await self._server.grant(form, f"delegation to `{to}`")
        grant = Grant(to, answer["access_token"], answer["expires_in"])
        try:
            yield grant
        finally:
            with anyio.CancelScope(shield=True):
                await self._server.revoke(grant.token)

    async def request(self, method: str, params: Mapping[str, Any] | None = None) -> Json:
        """The raw result of any MCP request, e.g. `prompts/list` or `resources/read`.

        Raises:
            BrokerError: it was refused or failed.
        """
        return await self._endpoint.ask(method, dict(params or {}))

    async def token(self) -> str:
        """An access token that is good now; renewed when it is needed."""
        return await self._tokens.token()

    def auth(self) -> httpx2.Auth:
        """The agent's tokens for an `httpx2.AsyncClient`, and with it for `mcp.Client`.

        Good as long as this context is open. Calls do not wait for each other.
        """
        return TokenAuth(self._tokens, self.url)


def _base(url: str) -> str:
    base = url.rstrip("/").removesuffix(MCP_PATH)
    parts = urlsplit(base)
    if parts.scheme not in {"https", "http"} or not parts.hostname or parts.path or parts.query:
        raise ConfigurationError(
            f"`{url}` is no URL of a broker", hint="write https://host or https://host:port"
        )
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise ConfigurationError(f"secrets would cross the network in the clear to `{url}`", hint="use https")
    return base


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _credential(
    url: str, client_id: str, secret: str | None, key: str | Mapping[str, Any] | None, token: str | None
) -> Credential:
    if sum(map(bool, (secret, key, token))) != 1:
        raise ConfigurationError(
            f"`{client_id}` needs one credential: a secret, a private key or a workload token",
            hint="set one of BROKER_CLIENT_SECRET, BROKER_CLIENT_SECRET_FILE, BROKER_CLIENT_KEY_FILE"
            " and BROKER_CLIENT_ASSERTION_FILE",
        )
    if secret:
        return ClientSecret(client_id, secret)
    if token:
        return WorkloadToken(client_id, token)
    return ClientKey(client_id, private_key(key or ""), f"{url}/oauth")
