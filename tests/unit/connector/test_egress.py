"""Which addresses may be connected to?"""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.connector import EgressRefused, check_egress, egress_permits

PUBLIC = ["8.8.8.8", "1.1.1.1", "93.184.216.34", "2606:4700::1111", "2001:4860:4860::8888", "::ffff:8.8.8.8"]
PRIVATE = [
    "127.0.0.1",
    "127.8.9.10",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "::1",
    "fc00::1",
    "fd12:3456::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
]
NEVER = [
    "0.0.0.0",  # noqa: S104  # judged, not bound to
    "0.1.2.3",
    "169.254.169.254",
    "169.254.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "168.63.129.16",
    "100.100.100.200",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "2001:4860:4860::8888%eth0",
    "fec0::1",
    "ff02::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "2001::1",
    "2001:db8::1",
    "100::1",
    "5f00::1",
    "fd00:ec2::254",
    "::ffff:169.254.169.254",
    "::ffff:0.0.0.0",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_may_be_connected_to(address):
    assert egress_permits(address)
    assert egress_permits(address, allow_private=True)


@pytest.mark.parametrize("address", PRIVATE)
def test_loopback_and_private_networks_only_if_they_are_meant(address):
    assert not egress_permits(address)
    assert egress_permits(address, allow_private=True)


@pytest.mark.parametrize("address", NEVER)
def test_what_is_never_meant_is_never_connected_to(address):
    assert not egress_permits(address)
    assert not egress_permits(address, allow_private=True)


@pytest.mark.parametrize("text", ["", "localhost", "2130706433", "0x7f000001", "127.1", "1.2.3.4 ", "[::1]"])
def test_text_that_is_no_address_is_not_permitted(text):
    assert not egress_permits(text, allow_private=True)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_alike_in_all_its_forms(address: IPv4Address):
    mapped = IPv6Address(int(address) | 0xFFFF << 32)
    for private in (False, True):
        verdict = egress_permits(address, allow_private=private)
        assert egress_permits(str(address), allow_private=private) == verdict
        assert egress_permits(mapped, allow_private=private) == verdict


@given(st.ip_addresses())
def test_nothing_is_permitted_that_python_does_not_hold_for_global(address):
    if egress_permits(address):
        inner = getattr(ip_address(address), "ipv4_mapped", None) or address
        assert inner.is_global
        assert not inner.is_multicast


@given(st.ip_addresses())
def test_meaning_private_networks_only_ever_adds(address):
    assert egress_permits(address, allow_private=True) or not egress_permits(address)


def test_a_refusal_says_what_the_operator_can_do():
    with pytest.raises(EgressRefused, match=r"`db` is at the private address 10\.0\.0\.1; set allow_private"):
        check_egress("10.0.0.1", name="db", allow_private=False)
    with pytest.raises(EgressRefused, match=r"169\.254\.169\.254, which is never connected to"):
        check_egress("169.254.169.254", name="meta", allow_private=True)
    check_egress("8.8.8.8", name="dns", allow_private=False)
