"""What is binary content really? Images, audio and blobs say what they are; their first bytes say it too.

Nothing is unpacked and no text is looked for inside: an archive is an archive. The signatures are those of
https://www.iana.org/assignments/media-types and of the formats' own specifications; only formats that say
in their first bytes what they are can be told apart.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from functools import cache

from broker.documents import Node
from broker.guardrails.interface import Hits, Span, Stage
from broker.guardrails.message import Blob, Message

_HEAD = 4096
"""Base64 characters that are decoded: 3 KB, more than any signature needs."""

_MOST_STUB = 64 << 10
"""Bytes before the header of a Windows program; what is read there in a text is a larger number."""

_EXECUTABLE = "executable"
_SIGNATURES: Sequence[tuple[int, bytes, str]] = (
    (0, b"\x7fELF", _EXECUTABLE),
    (0, b"\xfe\xed\xfa\xce", _EXECUTABLE),  # Mach-O, both byte orders, 32 and 64 bit
    (0, b"\xfe\xed\xfa\xcf", _EXECUTABLE),
    (0, b"\xce\xfa\xed\xfe", _EXECUTABLE),
    (0, b"\xcf\xfa\xed\xfe", _EXECUTABLE),
    (0, b"\xca\xfe\xba\xbe", _EXECUTABLE),  # Mach-O for several processors, Java class
    (0, b"\x00asm", _EXECUTABLE),
    (0, b"dex\n", _EXECUTABLE),
    (0, b"L\x00\x00\x00\x01\x14\x02\x00", _EXECUTABLE),  # Windows shortcut
    (0, b"#!", _EXECUTABLE),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (8, b"WAVE", "audio/wav"),
    (0, b"fLaC", "audio/flac"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"OggS", "ogg"),
    (0, b"\x1aE\xdf\xa3", "matroska"),
    (4, b"ftyp", "iso-media"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"PK\x03\x04", "zip"),
    (0, b"\x1f\x8b", "application/gzip"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (0, b"Rar!\x1a\x07", "application/vnd.rar"),
    (0, b"SQLite format 3\x00", "application/vnd.sqlite3"),
)

_MEANS: Mapping[str, str] = {
    "image/jpg": "image/jpeg",
    "audio/mp3": "audio/mpeg",
    "audio/x-wav": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/vnd.wave": "audio/wav",
    "audio/x-flac": "audio/flac",
    "audio/ogg": "ogg",
    "audio/opus": "ogg",
    "video/ogg": "ogg",
    "application/ogg": "ogg",
    "audio/webm": "matroska",
    "video/webm": "matroska",
    "video/x-matroska": "matroska",
    "audio/mp4": "iso-media",
    "audio/x-m4a": "iso-media",
    "video/mp4": "iso-media",
    "video/quicktime": "iso-media",
    "image/avif": "iso-media",
    "image/heic": "iso-media",
    "image/heif": "iso-media",
    "application/zip": "zip",
    "application/x-zip-compressed": "zip",
    "application/epub+zip": "zip",
    "application/x-gzip": "application/gzip",
    "application/x-rar-compressed": "application/vnd.rar",
    "application/x-sqlite3": "application/vnd.sqlite3",
}
"""Other names of the same format, or of what one container holds."""

_OF_ZIP = ("application/vnd.openxmlformats-officedocument.", "application/vnd.oasis.opendocument.")
_SAYS_NOTHING = frozenset({"", "application/octet-stream", "binary/octet-stream"})
_CHECKED = frozenset(kind for _, _, kind in _SIGNATURES) - {"audio/mpeg", _EXECUTABLE}
"""Formats that always begin with their signature; an MP3 need not."""


class Binary:
    """The detector `binary`."""

    name = "binary"
    version = 1
    always = True
    literals: frozenset[str] = frozenset()
    stages = frozenset({Stage.RESULT})
    types: Mapping[str, str] = {
        "executable": "executable",
        "other-type": "disguised",
        "text": "unread",
        "not-base64": "unread",
    }

    def detect(self, message: Message, _: Hits, /) -> Sequence[Span]:
        """See `Detector.detect`. A finding about a blob is a place without length."""
        found: list[Span] = []
        for number in message.blobs:
            blob = message.passages[number].blob
            kind = found_in(blob) if blob else None
            if kind is not None:
                found.append(Span(message.starts[number], message.starts[number], kind))
        return found


def found_in(blob: Blob) -> str | None:
    """The type of finding that a blob is, if it is one."""
    try:
        head = base64.b64decode(blob.data[:_HEAD] + "=" * (-len(blob.data[:_HEAD]) % 4), validate=True)
    except (binascii.Error, ValueError):
        return "not-base64"
    real, said = real_type(head), _declared(blob.mime)
    if real == _EXECUTABLE:
        return _EXECUTABLE
    if said not in _SAYS_NOTHING and real != said and (real is not None or said in _CHECKED):
        return "other-type"
    return "text" if real is None and _is_text(head) else None


def real_type(head: bytes) -> str | None:
    """What the first bytes say: a media type, the name of a container, `executable`; None: nothing."""
    if head[:2] == b"MZ" and _is_windows_program(head):
        return _EXECUTABLE
    for at, signature, kind in _SIGNATURES:
        if head.startswith(signature, at):
            return kind
    return None


def _is_windows_program(head: bytes) -> bool:
    """Two letters alone may begin any text; the header that they stand before says where the next one is."""
    at = int.from_bytes(head[60:64], "little")
    beyond = len(head) < at + 4 <= _MOST_STUB
    return len(head) >= 64 and (beyond or head.startswith((b"PE\x00\x00", b"NE", b"LE"), at))


def _declared(mime: str) -> str:
    plain = mime.partition(";")[0].strip().lower()
    if plain.startswith(_OF_ZIP):
        return "zip"
    return _MEANS.get(plain, plain)


def _is_text(head: bytes) -> bool:
    """A text in base64 is one that no other guard has read. The last character may be cut."""
    text = head.decode("utf-8", errors="ignore")
    whole = len(text.encode()) >= len(head) - 3
    return bool(text) and whole and all(c.isprintable() or c in "\n\r\t" for c in text)


@cache
def _shared() -> Binary:
    return Binary()


def make_binary(settings: Node | None) -> Binary:
    """The guard `binary`; it has no settings.

    Raises:
        ConfigurationError: there are some.
    """
    if settings is not None:
        settings.mapping(())
    return _shared()
