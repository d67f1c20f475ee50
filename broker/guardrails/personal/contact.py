"""Where does a person live, on which line, on which address? E-mail, network addresses, phones, births."""

import ipaddress
import re

LOCAL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._%+'-"
"""Characters of a mailbox, as far as they are in use."""

DOMAIN = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,6}[A-Za-z]{2,24}(?![A-Za-z0-9])")
_RESERVED = re.compile(
    r"(?:^|\.)(?:example|invalid|test|localhost|local|internal|lan|example\.(?:com|org|net|edu))$|"
    r"\.(?:png|jpe?g|gif|svg|webp|css|js|py|ts|md|txt|html?)$",
    re.IGNORECASE,
)
_SERVICES = frozenset(
    ("git", "hg", "svn", "noreply", "no-reply", "donotreply", "do-not-reply", "postmaster", "mailer-daemon")
)
"""Mailboxes that are nobody's."""


def is_email(text: str, after: str) -> bool:
    """Whether an address is one of somebody: no reserved name (RFC 2606, RFC 6762), no `git@host:path`."""
    local, _, domain = text.rpartition("@")
    return not (_RESERVED.search(domain) or local.lower() in _SERVICES or after in (":", "/"))


IPV4 = re.compile(r"\d\d{0,2}(?:\.\d{1,3}){3}")
IPV6 = re.compile(r"[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}")
_NO_ADDRESS = re.compile(r"version|\bv(?:er)?\.? ?$|release|firmware|build|oid|section|chapter|§")


def is_address(text: str, before: str) -> bool:
    """Whether an address may be that of a person's connection: public, and no number of a version."""
    if _NO_ADDRESS.search(before[-24:]):
        return False
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if address.version == 6 and (len(text) < 8 or text.count(":") < 3):
        return False
    local = address.is_loopback or address.is_unspecified or address.is_multicast or address.is_link_local
    documentation = any(
        address in network for network in _DOCUMENTATION if network.version == address.version
    )
    public = address.version == 6 or (not address.is_private and not address.is_reserved)
    return not local and not documentation and public


_DOCUMENTATION = tuple(
    ipaddress.ip_network(n) for n in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
)
"""RFC 5737 and RFC 3849."""

DATE = re.compile(
    r"\d(?:\d?[./-]\d{1,2}[./-](?:19|20)\d\d|(?:(?<=1)9|(?<=2)0)\d\d[./-]\d{1,2}[./-]\d{1,2})(?!\d)"
)
BIRTH = re.compile(
    r"birth|\bdob\b|\bborn\b|geb\.|geboren|geburt|naissance|\bné[e]?\b|nacimiento|nacid[oa]|nascita|"
    r"nat[oa] il|"
    r"geboorte|urodz|född|født|syntym|narozen|narodeni|születés|născut|naștere|rojen|rođen|sündi|dzim|gim|γέννησ|"
    r"\u0440\u043e\u0434\u0435\u043d"
)

PHONE_WORDS = re.compile(
    r"phone|\bfon\b|\btel|mobil|\bcell|\bcall|\bfax\b|handy|\brufe?n?\b|reach|anruf|rückruf|"
    r"appel|joign|llam|contact at|"
    r"\bmóvil|cellulare|chiam|\bgsm\b|bellen|bereik|dzwon|kom[oó]rk|puhelin|\bring|sms|whatsapp|signal|númer|numéro|"
    r"τηλ|\u0442\u0435\u043b"
)
_GROUPED = re.compile(
    r"0[1-9](?:[ .]\d\d){4}|0\d{1,4}[ /-]\d{3,4}[ -]?\d{2,5}|\(0\d{1,5}\) ?\d[\d ./-]{3,12}\d|"
    r"0\d{2,4}/\d{4,8}|"
    r"0\d{4,5} \d{5,6}|(?:\(\d{3}\) ?|\d{3}[.-])\d{3}[.-]\d{4}(?:x\d+)?"
)


def is_phone(text: str, digits: int, before: str, *, alone: bool) -> bool:
    """Whether a number is a telephone's: international, announced by a word, or grouped as numbers are.

    Args:
        text: the number as it is written.
        digits: how many digits it has.
        before: what stands before it, in lower case.
        alone: whether no more digits follow.
    """
    if not 7 <= digits <= 15 or DATE.fullmatch(text) or not _WRITTEN.fullmatch(text):
        return False
    if text.startswith(("+", "(+")) and digits >= 8:
        return True
    if PHONE_WORDS.search(before[-32:]):
        return True
    if not alone or _COUNTED.search(before[-16:]):
        return False
    return _GROUPED.fullmatch(text) is not None or (
        text.startswith("00") and _SEPARATED.search(text) is not None
    )


_WRITTEN = re.compile(r"[+(\d][\d() ./+-]*(?:x\d+)?")
_SEPARATED = re.compile(r"\d[ /-]\d")
_COUNTED = re.compile(r"\d[\d ,.]*$|order|invoice|ticket|\bid\b|\bno\b|ref|sku|tracking|version|#")
