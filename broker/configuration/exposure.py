"""Can somebody on the network listen in? Refuses a configuration that sends tokens in the clear."""

import ipaddress
from urllib.parse import urlsplit

from broker.errors import ConfigurationError
from broker.settings import ServerSettings


def check_exposure(server: ServerSettings, host_origin: str, url_origin: str) -> None:
    """Refuse an address that others can reach without TLS, and a public URL that cannot work.

    Raises:
        ConfigurationError: says which setting, where it comes from and what to set.
    """
    if (server.tls_certificate is None) != (server.tls_key is None):
        raise ConfigurationError("`server.tls_certificate` and `server.tls_key` go together", hint="set both")
    if not (server.tls_certificate or server.behind_proxy or is_loopback(server.host)):
        raise ConfigurationError(
            f"{host_origin}: `{server.host}` can be reached from other computers, unencrypted",
            hint="set server.tls_certificate and server.tls_key,"
            " or server.behind_proxy = true where a proxy terminates TLS",
        )
    if server.public_url is not None:
        _check_public_url(server.public_url, url_origin)
    elif server.behind_proxy or _is_any_address(server.host):
        raise ConfigurationError(
            "`server.public_url` is missing: clients cannot be told where the broker is",
            hint='set it to what they connect to, e.g. public_url = "https://broker.example"',
        )


def is_loopback(host: str) -> bool:
    """Whether an address or host name can only be reached from this computer."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _is_any_address(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_unspecified
    except ValueError:
        return False


def _check_public_url(url: str, origin: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/") or parts.query:
        raise ConfigurationError(
            f"{origin}: `server.public_url` must be scheme://host[:port], not `{url}`",
            hint='e.g. public_url = "https://broker.example"',
        )
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ConfigurationError(
            f"{origin}: `{url}` would send tokens unencrypted over the network", hint="use https"
        )
