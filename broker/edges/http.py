"""What do all HTTP edges share? Who may talk to us at all, bearer tokens, challenges, bodies."""

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from broker.errors import BrokerError, InvalidRequest, Unauthenticated
from broker.identity.jwks import ALGORITHMS
from broker.identity.tokens import DEFAULT_SCOPES
from broker.settings import Settings

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
DEFAULT_PORTS = {"http": 80, "https": 443}

_NOT_QUOTABLE = re.compile(r"[^\x20\x21\x23-\x5b\x5d-\x7e]")
"""What RFC 6750 §3 does not allow in error_description."""


class TooLarge(InvalidRequest):
    """The body is larger than this endpoint reads (HTTP 413)."""

    code = "too_large"


class JsonResponse(Response):
    """A JSON response, written by orjson."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The body's bytes."""
        return orjson.dumps(content)


def refusal(status: int, error: BrokerError, headers: Mapping[str, str] | None = None) -> JsonResponse:
    """A refusal in the one shape of errors."""
    return JsonResponse(error.as_object(), status, headers)


def too_large(error: TooLarge) -> JsonResponse:
    """413. The connection stays open and the server discards the rest of the body: closing it would
    reset it under a client that is still sending, which then never sees the answer.
    """
    return refusal(413, error)


class HostGuard:
    """Serves only requests that were meant for this broker: Host and Origin are checked on every route.

    A web page on another site can make a browser send requests to a broker on loopback, by rebinding
    its own name to 127.0.0.1 or simply across origins. Both show in these two headers.

    Args:
        app: what is guarded.
        settings: `public_url` is always accepted, loopback names where the broker listens on
            loopback, and what `allowed_hosts` and `allowed_origins` add.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._hosts = frozenset(host.lower().encode() for host in _hosts(settings))
        self._origins = frozenset(origin.lower().encode() for origin in _origins(settings))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it: 400 not exactly one Host, 421 foreign Host, 403 foreign Origin."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        hosts: list[bytes] = []
        origins: list[bytes] = []
        for name, value in scope["headers"]:
            if name == b"host":
                hosts.append(value)
            elif name == b"origin":
                origins.append(value)
        if len(hosts) == 1 and not origins and hosts[0] in self._hosts:
            await self._app(scope, receive, send)
            return
        refused = self._refusal(hosts, origins)
        await (refused or self._app)(scope, receive, send)

    def _refusal(self, hosts: list[bytes], origins: list[bytes]) -> JsonResponse | None:
        if len(hosts) != 1:
            return refusal(400, InvalidRequest("a request has exactly one Host header"))
        if hosts[0].lower() not in self._hosts:
            message = f"`{_shown(hosts[0])}` is not a name of this broker"
            hint = "use the broker's public URL, or add the name to server.allowed_hosts"
            return refusal(421, InvalidRequest(message, hint=hint))
        if any(origin.lower() not in self._origins for origin in origins):
            message = f"pages of `{_shown(origins[0])}` may not use this broker"
            return refusal(403, InvalidRequest(message, hint="add the origin to server.allowed_origins"))
        return None


def _hosts(settings: Settings) -> Iterable[str]:
    public = urlsplit(settings.public_url)
    yield from _authorities(public.scheme, public.netloc)
    yield from settings.server.allowed_hosts
    if listens_on_loopback(settings):
        for name in LOOPBACK_NAMES:
            yield from _authorities(_own_scheme(settings), f"{name}:{settings.server.port}")


def _origins(settings: Settings) -> Iterable[str]:
    yield settings.public_url
    yield from settings.server.allowed_origins
    if listens_on_loopback(settings):
        scheme = _own_scheme(settings)
        for name in LOOPBACK_NAMES:
            for authority in _authorities(scheme, f"{name}:{settings.server.port}"):
                yield f"{scheme}://{authority}"


def _authorities(scheme: str, authority: str) -> tuple[str, ...]:
    """An authority with and without a port that goes without saying."""
    default = f":{DEFAULT_PORTS.get(scheme)}"
    bare = authority.removesuffix(default)
    named = bare.rpartition("]")[2].partition(":")[1]
    return (authority,) if named else (bare, bare + default)


def listens_on_loopback(settings: Settings) -> bool:
    """Whether the broker can only be reached from its own computer."""
    host = settings.server.host.strip("[]")
    return host in {"localhost", "::1"} or host.startswith("127.")


def _own_scheme(settings: Settings) -> str:
    return "https" if settings.server.tls_certificate else "http"


def _shown(value: bytes) -> str:
    return value[:200].decode("ascii", "replace")


def bearer(scope: Scope) -> str | None:
    """The bearer token of a request (RFC 6750 §2.1); None if there is none, or more than one Authorization.

    Tokens in the query or in a form are never read: they end up in logs.
    """
    return _authorization(scope, b"bearer")


def bound(scope: Scope) -> tuple[str, str] | None:
    """The DPoP-bound token of a request and its proof (RFC 9449 §7.1); None unless there is one of each."""
    token = _authorization(scope, b"dpop")
    proofs = [value for name, value in scope["headers"] if name == b"dpop"]
    return (token, proofs[0].decode("latin-1")) if token and len(proofs) == 1 else None


def _authorization(scope: Scope, wanted: bytes) -> str | None:
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(values) != 1:
        return None
    scheme, _, token = values[0].partition(b" ")
    if scheme.lower() != wanted:
        return None
    return token.strip(b" \t").decode("latin-1") or None


def peer_address(scope: Scope) -> str:
    """The address a request comes from, as the server saw it or a trusted proxy told it."""
    client = scope.get("client")
    return client[0] if client else "unknown"


def bound_challenge(settings: Settings, error: Unauthenticated) -> str:
    """The WWW-Authenticate of a 401 for a request with the DPoP scheme (RFC 9449 §7.1)."""
    told = f'error="invalid_token", error_description="{_quotable(error.message)}"'
    return f'DPoP {told}, algs="{" ".join(ALGORITHMS)}", {_where(settings)}, {_scope(DEFAULT_SCOPES)}'


def challenge(settings: Settings, error: Unauthenticated | None) -> str:
    """The WWW-Authenticate of a 401: where to learn how to get a token, and which scope to ask for.

    Args:
        settings: names the resource metadata (RFC 9728 §5.1).
        error: why the token was refused; None where none was presented, for then the challenge
            says nothing about an error (RFC 6750 §3.1).
    """
    told = f'error="invalid_token", error_description="{_quotable(error.message)}", ' if error else ""
    return f"Bearer {told}{_where(settings)}, {_scope(DEFAULT_SCOPES)}"


def insufficient_scope(settings: Settings, scopes: Iterable[str]) -> str:
    """The WWW-Authenticate of a 403 for a token that lacks scope; `scopes` are all that the operation needs.

    Only for what a client can get by asking: a refusal by policy is never an HTTP 403.
    """
    return f'Bearer error="insufficient_scope", {_scope(scopes)}, {_where(settings)}'


def _where(settings: Settings) -> str:
    return f'resource_metadata="{settings.public_url}/.well-known/oauth-protected-resource/mcp"'


def _scope(scopes: Iterable[str]) -> str:
    return f'scope="{" ".join(sorted(scopes))}"'


def _quotable(text: str) -> str:
    return _NOT_QUOTABLE.sub("'", text)


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The whole body of a request, at most `limit` bytes, with or without a Content-Length.

    Raises:
        TooLarge: it is larger; no more than `limit` bytes were kept.
        ClientDisconnect: the client went away before it was complete.
    """
    if _declared_length(scope) > limit:
        raise _over(limit)
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise _over(limit)
        more = message.get("more_body", False)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _declared_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value[:20])
    return 0


def _over(limit: int) -> TooLarge:
    return TooLarge(f"the body is larger than {limit} bytes", hint="send less at once")
