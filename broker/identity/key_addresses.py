"""Where may public keys be fetched from? Rules for a `jwks_uri`, the same for a setting and for a command."""

from contextlib import suppress
from ipaddress import ip_address
from urllib.parse import urlsplit

from broker.connector import EgressRefused, check_egress
from broker.errors import InvalidRequest

_LONGEST = 2048


def key_address(url: str, *, allow_private: bool) -> str:
    """An address that keys may be fetched from; what its name resolves to is checked at every fetch.

    Args:
        url: as the operator gives it.
        allow_private: whether it may be in a private network, or on this machine, there also by plain
            http. Over a network keys never come by plain http: whoever is on the way could swap them.

    Raises:
        InvalidRequest: it is not one; says why.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        raise _refused(url, "it cannot be read") from None
    if len(url) > _LONGEST or not url.isascii() or not url.isprintable() or " " in url:
        raise _refused(url, "it is too long, or holds characters that no URL has")
    if parts.scheme not in {"https", "http"} or not host:
        raise _refused(url, "it is no https URL")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise _refused(url, "credentials and fragments do not belong there: public keys are public")
    if parts.scheme == "http" and not allow_private:
        raise _refused(url, "keys that come by plain http could be swapped on the way")
    with suppress(ValueError):  # a name, then
        literal = ip_address(host)
        try:
            check_egress(literal.exploded, name=host, allow_private=allow_private)
        except EgressRefused as error:
            raise InvalidRequest(str(error)) from None
        if parts.scheme == "http" and not literal.is_loopback:
            raise _refused(url, "plain http does not leave this machine")
    return url


def _refused(url: str, why: str) -> InvalidRequest:
    return InvalidRequest(f"`{url[:200]}` is no address of keys: {why}", hint="write https://host/path")
