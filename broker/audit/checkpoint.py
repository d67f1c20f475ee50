"""Who vouches for the end of a log? Signed checkpoints (C2SP tlog-checkpoint, signed-note, Ed25519).

The key's name in a note is the log's origin; one key signs for all logs of a deployment.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_ED25519 = b"\1"
_DASH = "\u2014"


class BadNote(Exception):
    """A note that is not well-formed, or that none of the given keys has signed."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What is vouched for: the log `origin` had this RFC 9162 root when it held `size` records."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The signed text."""
        return f"{self.origin}\n{self.size}\n{_b64(self.root)}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A parsed note, not yet believed: the checkpoint and `(name, key id + signature)` per signature."""

    checkpoint: Checkpoint
    text: str
    signatures: tuple[tuple[str, bytes], ...]

    @classmethod
    def parse(cls, note: str) -> Self:
        """Read a note without checking who signed it.

        Raises:
            BadNote: it is not a signed checkpoint.
        """
        text, blank, tail = note.rpartition("\n\n")
        lines = text.split("\n")
        if not blank or len(lines) < 3 or not note.endswith("\n"):
            raise BadNote("a checkpoint has three lines of text, an empty line and signatures")
        origin, size, root = lines[:3]
        if not origin or not size.isascii() or not size.isdigit() or size != str(int(size)):
            raise BadNote("a checkpoint begins with its origin and its size")
        checkpoint = Checkpoint(origin, int(size), _unb64(root))
        return cls(checkpoint, text + "\n", tuple(_signature(line) for line in tail[:-1].split("\n")))

    @property
    def whole(self) -> str:
        """The note again, signatures and all."""
        lines = (f"{_DASH} {name} {_b64(blob)}\n" for name, blob in self.signatures)
        return f"{self.text}\n{''.join(lines)}"

    def verified_by(self, keys: Iterable[bytes]) -> bool:
        """Whether one of these Ed25519 public keys (32 raw bytes) has signed it as its origin.

        Signatures of others are passed over; a bad one under a known key's id spoils the note.
        """
        known = {key_id(self.checkpoint.origin, key): key for key in keys}
        valid = False
        for name, blob in self.signatures:
            key = known.get(blob[:4]) if name == self.checkpoint.origin else None
            if key is None:
                continue
            try:
                Ed25519PublicKey.from_public_bytes(key).verify(blob[4:], self.text.encode())
            except InvalidSignature:
                return False
            valid = True
        return valid


@dataclass(frozen=True, slots=True)
class PastKey:
    """A public key (32 raw bytes) that signed checkpoints between two times, in Unix seconds."""

    public: bytes
    since: int
    until: int


class Signer:
    """The deployment's key for checkpoints."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = key.public_key().public_bytes_raw()

    def sign(self, checkpoint: Checkpoint) -> str:
        """The signed note."""
        signature = self._key.sign(checkpoint.text.encode())
        blob = key_id(checkpoint.origin, self.public) + signature
        return f"{checkpoint.text}\n{_DASH} {checkpoint.origin} {_b64(blob)}\n"


def notes_in(text: str) -> list[str]:
    """The notes in a file of them: one after the other, with any number of blank lines between.

    A file from an editor or a copy from a terminal counts too, whatever ends its lines. What does
    not look like notes comes back as it is, for whoever parses it to say why.
    """
    lines = "\n".join(line.rstrip() for line in text.splitlines())
    groups = re.split(r"\n{2,}", lines.strip("\n"))
    texts, signatures = groups[::2], groups[1::2]
    if len(texts) != len(signatures) or not all(group.startswith(_DASH) for group in signatures):
        return [text]
    return [f"{said}\n\n{signed}\n" for said, signed in zip(texts, signatures, strict=True)]


def key_id(name: str, public: bytes) -> bytes:
    """The four bytes that say which key a signature is from (C2SP signed-note)."""
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:4]


def verifier_key(origin: str, public: bytes) -> str:
    """The line by which others pin this key for one log: `<name>+<id>+<key>` (C2SP signed-note)."""
    return f"{origin}+{key_id(origin, public).hex()}+{_b64(_ED25519 + public)}"


def _signature(line: str) -> tuple[str, bytes]:
    dash, name, encoded = (*line.split(" "), "", "", "")[:3]
    blob = _unb64(encoded)
    if dash != _DASH or not name or len(blob) < 5 or line.count(" ") != 2:
        raise BadNote("a signature line reads `\u2014 <name> <signature>`")
    return name, blob


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _unb64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadNote("a hash, key or signature is not base64") from error
