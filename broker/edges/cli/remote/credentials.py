"""How does a client get its tokens? client_credentials (RFC 6749 §4.4), renewed before they expire.

`broker.client` has the same for agents, over httpx2. The bridge relays raw lines over one aiohttp session,
and its tokens come through that session: with the other's it would hold two pools and two sets of
certificates. So this knows a secret and nothing else: no keys, no discovery, no delegation.
"""

import base64
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast
from urllib.parse import quote

import aiohttp
import anyio
import orjson

from broker.errors import ConfigurationError, Unauthenticated, UpstreamRefused, UpstreamUnreachable
from broker.model import Clock, Json

DEFAULT_URL = "http://127.0.0.1:8321"
ENDPOINT_PATH, TOKEN_PATH = "/mcp", "/oauth/token"
_RENEW_AT = 0.8
"""Share of its life after which a token is renewed."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who a client is, and where its broker is: `url` is scheme://host[:port]."""

    url: str
    client_id: str
    secret: str = field(repr=False)


def credentials(
    url: str | None, client_id: str | None, secret_file: str | None, environ: Mapping[str, str]
) -> Credentials:
    """Credentials from options and environment; the secret never comes from the command line.

    Raises:
        ConfigurationError: something is missing; says what to set.
    """
    if not client_id:
        raise ConfigurationError("whose token?", hint="set BROKER_CLIENT_ID or give --client-id")
    return Credentials(base_url(url), client_id, _secret(client_id, secret_file, environ))


def base_url(url: str | None) -> str:
    """scheme://host[:port] of a broker, also from the URL of its MCP endpoint."""
    return (url or DEFAULT_URL).rstrip("/").removesuffix(ENDPOINT_PATH)


def _secret(client_id: str, secret_file: str | None, environ: Mapping[str, str]) -> str:
    if secret_file == "-":
        secret = sys.stdin.readline()
    elif secret_file:
        try:
            secret = Path(secret_file).expanduser().read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(
                f"cannot read the secret in `{secret_file}`: {error.strerror}",
                hint=f"`broker agent add {client_id} --secret-file {secret_file}` writes one",
            ) from error
    else:
        secret = environ.get("BROKER_CLIENT_SECRET", "")
    if not secret.strip():
        raise ConfigurationError(
            f"no secret for `{client_id}`", hint="set BROKER_CLIENT_SECRET or give --secret-file PATH"
        )
    return secret.strip()


@dataclass(frozen=True, slots=True)
class Grant:
    """A token and when to replace it (by the client's own clock)."""

    token: str = field(repr=False)
    expires_in: int
    renew_at: float


class Tokens:
    """The current token of one client; many requests share it and one of them renews it."""

    def __init__(self, http: aiohttp.ClientSession, who: Credentials, clock: Clock = time.monotonic) -> None:
        self._http = http
        self._who = who
        self._clock = clock
        self._lock = anyio.Lock()
        self._grant: Grant | None = None

    async def token(self, *, refused: str | None = None) -> str:
        """A token that is still good. `refused`: the one that was not accepted; it is not given again.

        Raises:
            Unauthenticated: the client is unknown or its secret is wrong.
            UpstreamUnreachable: no broker answers.
        """
        async with self._lock:
            grant = self._grant
            if grant is None or grant.token == refused or self._clock() >= grant.renew_at:
                grant = self._grant = await self.fetch()
            return grant.token

    async def fetch(self) -> Grant:
        """A new token from the token endpoint."""
        who = self._who
        pair = f"{quote(who.client_id, safe='')}:{quote(who.secret, safe='')}"  # RFC 6749 §2.3.1
        try:
            async with self._http.post(
                who.url + TOKEN_PATH,
                data={"grant_type": "client_credentials"},
                headers={"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()},
                allow_redirects=False,
            ) as response:
                status, body = response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise unreachable(who.url, error) from error
        return self._granted(status, _object(body))

    def _granted(self, status: int, answer: Json) -> Grant:
        token, lifetime = answer.get("access_token"), answer.get("expires_in")
        if status == 200 and isinstance(token, str) and isinstance(lifetime, int):
            return Grant(token, lifetime, self._clock() + lifetime * _RENEW_AT)
        reason = str(answer.get("error_description") or answer.get("error") or f"HTTP {status}")
        if status in {400, 401}:
            raise Unauthenticated(
                f"no token for `{self._who.client_id}`: {reason}",
                hint="check client id and secret; `broker agent show` tells whether the agent is active",
            )
        raise UpstreamRefused(f"no token for `{self._who.client_id}`: {reason}", hint="try again later")


def unreachable(url: str, error: Exception) -> UpstreamUnreachable:
    """Nobody we can speak to answers at `url`."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return UpstreamUnreachable(
            f"the certificate of `{url}` is not trusted here", hint="SSL_CERT_FILE names a file with its CA"
        )
    why = "it did not answer in time" if isinstance(error, TimeoutError) else "connection failed"
    return UpstreamUnreachable(
        f"no broker at `{url}`: {why}", hint="start one with `broker serve`, or set BROKER_URL"
    )


def _object(body: bytes) -> Json:
    try:
        answer: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return cast("Json", answer) if isinstance(answer, dict) else {}
