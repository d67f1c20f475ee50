"""Which addresses in a text would carry data out when they are opened, or merely shown?"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from urllib.parse import unquote

from broker.documents import Node
from broker.guardrails.interface import Hits, Span, Stage
from broker.guardrails.message import Message
from broker.patterns import matches

_ENOUGH = 3
_MOST_KNOWN = 10_000
_OPENINGS = frozenset("(<\"'= :")
"""What stands right before an address that is shown or linked."""
_URL = re.compile(r"(?:https?:)?//[^\s\"'<>\[\]{}|\\^`\x00-\x1f]{4,4096}", re.IGNORECASE)
_PARTS = re.compile(r"[A-Za-z0-9+_-]{24,}={0,2}")
_HEX = re.compile(r"[0-9a-fA-F]+")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_CATCHERS = re.compile(
    r"(?:^|\.)(?:webhook\.site|ngrok(?:-free)?\.(?:io|app|dev)|oast\.\w+|interact\.sh|burpcollaborator\.net|"
    r"requestbin\.\w+|pipedream\.net|beeceptor\.com|hookbin\.com|requestcatcher\.com|dnslog\.cn|ceye\.io|"
    r"trycloudflare\.com|loca\.lt|serveo\.net|localtunnel\.me|pastebin\.com|transfer\.sh|file\.io|0x0\.st|"
    r"canarytokens\.com|postb\.in|mockbin\.org|typedwebhook\.tools|webhook\.cool|smee\.io|bore\.pub|localhost\.run)$"
)
_MAIL = re.compile(r"[\w.+-]+(?:@|%40)[\w-]+\.[a-z]{2,}", re.IGNORECASE)
_IMAGE_BEFORE = re.compile(
    r"(?:!\[[^\]\n]{0,300}\]\(\s{0,8}<?|\bsrc\s{0,3}=\s{0,3}[\"']?|url\(\s{0,3}[\"']?|"
    r"^\s{0,3}\[[^\]\n]{1,80}\]:\s{0,8}<?)$",
    re.IGNORECASE | re.MULTILINE,
)
_LINK_BEFORE = re.compile(r"(?:\]\(\s{0,8}<?|\bhref\s{0,3}=\s{0,3}[\"']?)$", re.IGNORECASE)

_EVERYWHERE = (
    "github.com",
    "*.github.com",
    "*.githubusercontent.com",
    "gitlab.com",
    "*.shields.io",
    "*.readthedocs.io",
    "*.readthedocs.org",
    "*.python.org",
    "docs.rs",
    "*.wikipedia.org",
    "*.wikimedia.org",
    "*.mozilla.org",
    "*.microsoft.com",
    "*.google.com",
    "*.googleapis.com",
    "*.amazonaws.com",
    "*.zoom.us",
    "zoom.us",
    "codecov.io",
    "badge.fury.io",
    "*.owasp.org",
    "owasp.org",
    "*.ietf.org",
    "*.w3.org",
)
"""Hosts of documentation, code and signed downloads, whose addresses are long by nature."""


class Exfiltration:
    """The detector `exfiltration`: addresses that carry more than an address needs."""

    name = "exfiltration"
    version = 1
    always = False
    literals = frozenset({"//"})
    stages = frozenset({Stage.ARGUMENTS, Stage.RESULT, Stage.COMPLETION})
    types: Mapping[str, str] = {"carrying-image": "image", "carrying-link": "link"}

    def __init__(
        self, everywhere: Sequence[str] = (), by_connector: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self._everywhere = (*_EVERYWHERE, *everywhere)
        self._by_connector = by_connector or {}
        self._known: dict[tuple[str, str], bool] = {}

    def detect(self, message: Message, _: Hits, /) -> Sequence[Span]:
        """See `Detector.detect`."""
        return list(self._carrying(message))

    def _carrying(self, message: Message) -> Iterator[Span]:
        text, connector = message.text, message.scene.target.connector
        for found in message.matches(_URL):
            start, url = found.start(), found[0].rstrip(").,;:!?*_")
            host = _host(url)
            if not host or self._lets_through(connector, host):
                continue
            shown = linked = False
            if text[start - 1 : start] in _OPENINGS:
                before = text[max(message.starts[message.number_at(start)], start - 320) : start]
                shown = _IMAGE_BEFORE.search(before) is not None
                linked = shown or _LINK_BEFORE.search(before) is not None
            if url.startswith("//") and not linked:
                continue  # a comment, or a path
            tail = _tail(text, start + len(url)) if linked else ""
            if points(url + tail, host, shown=shown) >= _ENOUGH:
                yield Span(
                    start, start + len(url) + len(tail), "carrying-image" if shown else "carrying-link"
                )

    def _lets_through(self, connector: str, host: str) -> bool:
        known = self._known.get((connector, host))
        if known is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            allowed = (*self._everywhere, *self._by_connector.get(connector, ()))
            known = self._known[connector, host] = any(matches(glob, host) for glob in allowed)
        return known


def _host(url: str) -> str:
    authority = url.partition("//")[2].partition("/")[0].partition("?")[0].partition("#")[0]
    return authority.rpartition("@")[2].partition(":")[0].lower()


_TAIL = re.compile(r" [^\n)\]\"'<>]{1,2000}(?=[)\"'>])")


def _tail(text: str, end: int) -> str:
    """What follows a space inside `![ ]( … )` or quotes: renderers are lenient about it."""
    found = _TAIL.match(text, end)
    title = found and found[0].lstrip().startswith(('"', "'"))
    return found[0] if found and not title else ""


def points(url: str, host: str, *, shown: bool) -> int:
    """How much speaks for data being carried: payload, catcher, prose, somebody's address, shown at once."""
    rest = url.partition("//")[2][len(host) :]
    score = 0
    if any(_is_payload(part) for part in _PARTS.findall(rest)):
        score += 3
    if _CATCHERS.search(host):
        score += 2
    said = (unquote(value, errors="replace") for name, value in _VALUE.findall(rest) if name not in _ASKS)
    prose = max((value.count(" ") for value in said), default=0)
    score += 3 if prose >= 3 else min(prose, 1)
    score += shown and unquote(rest.partition("?")[0], errors="replace").count(" ") >= 3
    if _MAIL.search(rest):
        score += 2
    return score + (2 if shown and (score or "?" in rest) else 0)


def _is_payload(part: str) -> bool:
    """Whether a part of an address is encoded data, and no name, slug, digest or identifier."""
    plain = part.strip("=-_")
    if _UUID.search(plain) or len(plain) < 20:
        return False
    if _HEX.fullmatch(plain):
        return _reads_as_text(plain)
    separators = sum(plain.count(c) for c in "-_+")
    if separators > len(plain) // 10:
        return False  # words
    mixed = any(c.islower() for c in plain) and any(c.isupper() for c in plain)
    changes = sum(a.isupper() != b.isupper() or a.isdigit() != b.isdigit() for a, b in pairwise(plain))
    return mixed and changes >= len(plain) // 4


def _reads_as_text(hexadecimal: str) -> bool:
    """Whether hexadecimal digits spell out characters, which digests and identifiers do not."""
    raw = bytes.fromhex(hexadecimal[: len(hexadecimal) // 2 * 2])
    return sum(32 <= byte < 127 for byte in raw) >= 0.95 * len(raw)


_VALUE = re.compile(r"[?&]([^=&]*)=?([^&\n]{16,})")
_ASKS = frozenset(("q", "query", "search", "s", "title", "subject", "body", "text", "name", "label"))
"""Parameters in which words are usual."""


def make_exfiltration(settings: Node | None) -> Exfiltration:
    """The guard `exfiltration`; `everywhere` and `connectors` name hosts whose addresses may be long.

    Raises:
        ConfigurationError: a mistake in the settings.
    """
    if settings is None:
        return Exfiltration()
    fields = settings.mapping(("everywhere", "connectors"))
    everywhere = [item.text() for item in fields["everywhere"].items()] if "everywhere" in fields else []
    connectors = {
        name.text(): [item.text() for item in hosts.items()]
        for name, hosts in (fields["connectors"].pairs() if "connectors" in fields else ())
    }
    return Exfiltration(everywhere, connectors)
