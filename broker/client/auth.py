"""How do other HTTP clients get the agent's tokens? As the `auth` of an httpx2 client."""

from collections.abc import AsyncGenerator, Mapping
from typing import NoReturn
from urllib.parse import urlsplit

import httpx2

from broker.client.presenting import Presenting
from broker.client.tokens import Tokens
from broker.errors import ConfigurationError

_PORTS = {"https": 443, "http": 80}


class TokenAuth(httpx2.Auth):
    """Puts a fresh token on every request to the broker; a refused one is replaced once.

    Requests do not wait for each other, except for the first token.

    Args:
        tokens: where the tokens come from.
        url: the broker that they are for; they are sent nowhere else.
        presenting: how they are presented.
    """

    requires_request_body = True

    def __init__(self, tokens: Tokens, url: str, presenting: Presenting) -> None:
        self._tokens = tokens
        self._presenting = presenting
        self._origin = _origin(url)

    async def async_auth_flow(
        self, request: httpx2.Request
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """Send a request with a token, and once more with a new one if the first is refused.

        Raises:
            ConfigurationError: the request goes to somebody else.
            BrokerError: there is no token; see `Tokens.token`.
        """
        if _origin(str(request.url)) != self._origin:
            raise ConfigurationError(
                f"a token for `{self._origin[1]}` is not sent to `{request.url.host}`",
                hint="use a client of its own for each server",
            )
        token = await self._tokens.token()
        request.headers.update(self._presented(request, token))
        response = yield request
        if response.status_code == 401:
            request.headers.update(self._presented(request, await self._tokens.token(refused=token)))
            yield request

    def _presented(self, request: httpx2.Request, token: str) -> Mapping[str, str]:
        url = str(request.url.copy_with(query=None, fragment=None))
        return self._presenting.using(token, request.method, url)

    def sync_auth_flow(self, request: httpx2.Request) -> NoReturn:
        """Refuse: tokens are got asynchronously."""
        raise ConfigurationError(
            f"a token for `{request.url.host}` needs an asynchronous client", hint="use httpx2.AsyncClient"
        )


def _origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port (RFC 6454 §4)."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme)
