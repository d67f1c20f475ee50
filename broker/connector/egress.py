"""May the broker connect to this address? Pure; asked for every address a name resolves to.

`is_global` alone is not enough: it lets multicast, NAT64 (`64:ff9b::/96`) and 6to4 (`2002::/16`)
through, and the last two carry an IPv4 address that nobody has checked.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_PRIVATE = (
    IPv4Network("10.0.0.0/8"),
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.168.0.0/16"),
    IPv4Network("100.64.0.0/10"),
    IPv4Network("127.0.0.0/8"),
    IPv6Network("::1/128"),
    IPv6Network("fc00::/7"),
)
_NEVER = (
    IPv4Network("168.63.129.16/32"),  # Azure's metadata service has a public address
    IPv4Network("100.100.100.200/32"),  # Alibaba Cloud's
    IPv6Network("fd00:ec2::/32"),  # AWS's
    IPv4Network("192.0.0.0/24"),  # IETF protocol assignments; Oracle's metadata service
    IPv4Network("192.88.99.0/24"),  # 6to4 relays
    IPv6Network("2001::/23"),  # Teredo (an unchecked IPv4 address inside); IETF protocol assignments
    IPv6Network("2002::/16"),  # 6to4: an unchecked IPv4 address inside
)
_IPV6_UNICAST = IPv6Network(
    "2000::/3"
)  # leaves out NAT64, IPv4-compatible, site-local and what is unassigned


class EgressRefused(ValueError):
    """An address that must not be connected to. The message names it and says what to do."""


def egress_permits(address: str | IPv4Address | IPv6Address, *, allow_private: bool = False) -> bool:
    """Whether an outbound connection to an address is permitted.

    Public unicast addresses always are. `allow_private` adds loopback and private networks (RFC
    1918, RFC 6598, RFC 4193). Link-local, multicast, unspecified and reserved addresses, cloud
    metadata services and transition prefixes never are. An IPv4-mapped address is judged by the
    IPv4 address inside.

    Args:
        address: an IP address, as text or parsed; text that is no address is not permitted.
        allow_private: whether loopback and private networks are meant.
    """
    try:
        ip = ip_address(address) if isinstance(address, str) else address
    except ValueError:
        return False
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if _within(ip, _NEVER):
        return False
    if _within(ip, _PRIVATE):
        return allow_private
    return _is_public_unicast(ip)


def _within(ip: IPv4Address | IPv6Address, networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    return any(ip in network for network in networks if ip.version == network.version)


def _is_public_unicast(ip: IPv4Address | IPv6Address) -> bool:
    if isinstance(ip, IPv6Address) and (ip.scope_id is not None or ip not in _IPV6_UNICAST):
        return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved)


def check_egress(address: str, *, name: str, allow_private: bool) -> None:
    """Refuse an address that must not be connected to.

    Args:
        address: an address that `name` resolved to, or `name` itself.
        name: the host as the operator wrote it.
        allow_private: whether loopback and private networks are meant.

    Raises:
        EgressRefused: it is not permitted.
    """
    if egress_permits(address, allow_private=allow_private):
        return
    if not allow_private and egress_permits(address, allow_private=True):
        raise EgressRefused(
            f"`{name}` is at the private address {address}; set allow_private = true if it is meant"
        )
    raise EgressRefused(f"`{name}` is at {address}, which is never connected to")
