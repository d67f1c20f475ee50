"""Where does an agent get its tokens? What the broker publishes about itself (RFC 9728, RFC 8414).

Nothing of it is believed that does not name the broker that was asked: an address that somebody else
could choose would get the agent's credentials.
"""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import NoReturn, cast
from urllib.parse import urlsplit

import httpx2

from broker.client.failures import broken
from broker.client.presenting import ALGORITHM
from broker.errors import ConfigurationError, UpstreamRefused
from broker.messages.answers import decoded
from broker.model import Json

MCP_PATH = "/mcp"
_RESOURCE, _SERVER = "/.well-known/oauth-protected-resource", "/.well-known/oauth-authorization-server"


@dataclass(frozen=True, slots=True)
class Server:
    """The authorization server of a broker."""

    issuer: str
    """The audience of client assertions (RFC 7523 §3)."""
    resource: str
    """What its tokens are for (RFC 8707)."""
    token_url: str
    revocation_url: str | None
    binds: bool
    """Whether it binds tokens to keys of ours (RFC 9449 §5.1)."""


async def discover(http: httpx2.AsyncClient, url: str) -> Server:
    """The authorization server that a broker sends its agents to.

    Args:
        http: the connection.
        url: scheme://host[:port] of the broker.

    Raises:
        ConfigurationError: what is published is about another broker, or would have secrets cross the
            network in the clear.
        UpstreamUnreachable: no broker answers.
        UpstreamRefused: it publishes nothing that can be used.
    """
    resource = url + MCP_PATH
    about = await _document(http, url, url + _RESOURCE + MCP_PATH)
    if about.get("resource") != resource:
        raise ConfigurationError(
            f"the broker at `{url}` goes by another name: `{_shown(about.get('resource'))}`",
            hint="use the URL that its operator publishes (server.public_url)",
        )
    issuer = _first(about.get("authorization_servers")) or _unusable(url, "names no authorization server")
    metadata = await _document(http, url, _well_known(issuer))
    if metadata.get("issuer") != issuer:
        _unusable(url, f"names `{_shown(issuer)}`, which says it is `{_shown(metadata.get('issuer'))}`")
    token_url = _safe(metadata.get("token_endpoint")) or _unusable(url, "names no token endpoint")
    algorithms = metadata.get("dpop_signing_alg_values_supported")
    binds = isinstance(algorithms, list) and ALGORITHM in algorithms
    return Server(issuer, resource, token_url, _safe(metadata.get("revocation_endpoint")), binds)


def protected(url: str) -> bool:
    """Whether what is sent to a URL is safe from others on the way: by TLS, or because it stays here."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        return bool(parts.hostname)
    return parts.scheme == "http" and _is_loopback(parts.hostname or "")


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


async def _document(http: httpx2.AsyncClient, url: str, address: str) -> Json:
    try:
        response = await http.get(address, headers={"Accept": "application/json"})
    except httpx2.HTTPError as error:
        raise broken(url, error) from error
    if response.status_code != 200:
        _unusable(url, f"answers HTTP {response.status_code} at {urlsplit(address).path}")
    return decoded(response.content)


def _well_known(issuer: str) -> str:
    """Where an issuer publishes its metadata (RFC 8414 §3.1)."""
    parts = urlsplit(_safe(issuer) or "")
    return f"{parts.scheme}://{parts.netloc}{_SERVER}{parts.path.rstrip('/')}"


def _safe(url: object) -> str | None:
    """A URL that secrets may be sent to."""
    if not isinstance(url, str):
        return None
    if not protected(url):
        raise ConfigurationError(
            f"secrets would cross the network in the clear to `{_shown(url)}`", hint="use https"
        )
    return url


def _first(servers: object) -> str | None:
    found = next(iter(cast("list[object]", servers)), None) if isinstance(servers, list) else None
    return found if isinstance(found, str) else None


def _shown(value: object) -> str:
    return str(value)[:200]


def _unusable(url: str, why: str) -> NoReturn:
    raise UpstreamRefused(f"the broker at `{url}` {why}", hint="is this the URL of a broker?")
