"""What was said in a call, and whom is it about? Kept apart from the log, so that it can be forgotten.

The tree holds a commitment, `SHA-256(label || salt || content)`, which says nothing without the salt. Salt
and content are encrypted together under a random key of their own (AES-256-GCM). That key is wrapped (AES
key wrap, RFC 3394) under one that is made of the key of the day *and* the keys of all people whom the content
is about. Without any of these it cannot be read, in whichever copy; every hash of the log stays as it is.
"""

import hashlib
import hmac
import os
import unicodedata
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from broker.audit.interface import Entry, Facts

KEY_BYTES = 32
SALT_BYTES = 32
_WRAPPED_BYTES = KEY_BYTES + 8
_ONCE = bytes(12)
"""The nonce: a key that encrypts one content needs no other (NIST SP 800-38D §8)."""

MOST_PEOPLE = 32
"""About more people than this no content is kept: it could not be told whose it is."""

SubjectId = NewType("SubjectId", str)
"""A random pseudonym, `ps_…`. It may stand in the log: after an erasure nothing leads from it to anybody."""


class Part(StrEnum):
    """Which direction."""

    ARGUMENTS = "arguments"
    """The parameters of the request, as they were sent on."""
    RESULT = "result"
    """The result, as it was handed out."""


@dataclass(frozen=True, slots=True)
class Identifier:
    """What names a person: the text where an argument is declared to be one, its keyed hash where only a
    guard has seen it.
    """

    text: str | None = field(default=None, repr=False)
    handle: bytes = b""


@dataclass(frozen=True, slots=True)
class Payload:
    """The exact bytes of one direction of a call, and the people whom it is about.

    `complete` is False where more people may be in it than are named: then its content is not kept.
    """

    part: Part
    content: bytes = field(repr=False)
    people: tuple[Identifier, ...] = ()
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Opened:
    """A payload that was read again. `content` is None where only its salt was kept; `holds` says whether
    it is what the record in the log commits to.
    """

    log: str
    call: str
    seq: int
    part: Part
    salt: bytes = field(repr=False)
    content: bytes | None = field(repr=False)
    holds: bool
    lost: bool = False
    """Whether it cannot be read because a key of it is gone: it was destroyed, or never came here."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A person, as far as the broker knows them. `identity` is what a declared argument called them; None
    where only a guard has seen them. Times are Unix seconds.
    """

    id: SubjectId
    log: str
    identity: str | None = field(repr=False)
    created_at: int
    payloads: int


@dataclass(frozen=True, slots=True)
class About:
    """All that is kept about a person: the records that speak of them, and what was said in those calls."""

    subject: Subject
    records: tuple[tuple[int, bytes], ...]
    """Sequence number and exact bytes."""
    payloads: tuple[Opened, ...]


@dataclass(frozen=True, slots=True)
class Erased:
    """What was destroyed of one person, and the record that says so."""

    subject: SubjectId
    log: str
    payloads: int
    seq: int
    leaf: str


class PayloadStore(Protocol):
    """What payloads and people need from a backend. Writing payloads is the journal's.

    Raises (all methods):
        StorageUnavailable: nothing can be read or written now.
    """

    def handle(self, text: str) -> bytes:
        """The keyed hash of what names a person: the same for every spelling of it."""
        ...

    async def read(self, call: str, entry: Callable[[str, Sequence[Part]], Entry]) -> Sequence[Opened]:
        """Record that the payloads of a call are read, *then* read them; `entry` is given log and parts.
        Where there are none nothing is recorded.
        """
        ...

    async def kept(self, log: str, first: int, end: int) -> frozenset[int]:
        """The numbers of those records of a log, from `first` to before `end`, of whose payload something is
        kept, if only its salt.
        """
        ...

    def broken(self) -> AsyncIterator[tuple[str, int]]:
        """Log and number of each record whose payload is not what it commits to. Nothing is shown of it."""
        ...

    async def subjects(self) -> Sequence[Subject]:
        """All people who are known, by organisation and age."""
        ...

    async def about(
        self, who: str, log: str | None, entry: Callable[[Subject, Sequence[Part]], Entry]
    ) -> Sequence[About]:
        """Record that what is known of a person is read, *then* read it; once for each organisation.

        Args:
            who: what names them, or their pseudonym.
            log: only in this organisation.
            entry: the record, given the person and which parts are read.
        """
        ...

    async def erase(
        self, who: str, log: str | None, entry: Callable[[SubjectId, str, int], Entry]
    ) -> Sequence[Erased]:
        """Destroy the keys of a person *and then*, in one transaction, everything that is kept about them,
        *and* record it. Interrupted in between, it is completed by doing it again.

        Args:
            who: what names them, or their pseudonym.
            log: only in this organisation.
            entry: the record, given pseudonym, organisation and how many payloads there were.
        """
        ...


def spelling(text: str) -> bytes:
    """What names a person, in one spelling: `Anna@Example.com ` and `anna@example.com` are the same."""
    return "".join(unicodedata.normalize("NFKC", text).split()).casefold().encode("utf-8", "surrogatepass")


def handle_of(key: bytes, text: str) -> bytes:
    """The keyed hash by which a person is found again. Without the key nobody can try out who it is."""
    return hmac.digest(key, spelling(text), "sha256")


def commitment(part: Part, salt: bytes, content: bytes) -> str:
    """What the tree holds of a payload, in hex."""
    label = b"args/v1" if part is Part.ARGUMENTS else b"result/v1"
    return hashlib.sha256(label + salt + content).hexdigest()


def committed(payload: Payload, salt: bytes) -> Facts:
    """Length and commitment, as facts of a record."""
    return {"bytes": len(payload.content), "commitment": commitment(payload.part, salt, payload.content)}


def seal(
    day: bytes, people: Sequence[bytes], content: bytes | None, *, secret: bytes, bound_to: bytes
) -> bytes:
    """Encrypt a salt, and with it a content if it is kept.

    Args:
        day: the key of the day.
        people: those of everybody whom it is about.
        content: what is kept besides the salt.
        secret: fresh random bytes: a key, and the salt.
        bound_to: what it belongs to; nothing else opens it.
    """
    key, salt = secret[:KEY_BYTES], secret[KEY_BYTES:]
    wrapped = aes_key_wrap(_wrapping(day, people), key)
    return wrapped + AESGCM(key).encrypt(_ONCE, salt if content is None else salt + content, bound_to)


def unseal(day: bytes, people: Sequence[bytes], sealed: bytes, *, bound_to: bytes) -> tuple[bytes, bytes]:
    """The salt and the content of what was sealed with these keys.

    Raises:
        BrokenSealError: these are not its keys, it belongs elsewhere, or it was altered.
    """
    try:
        key = aes_key_unwrap(_wrapping(day, people), sealed[:_WRAPPED_BYTES])
        plain = AESGCM(key).decrypt(_ONCE, sealed[_WRAPPED_BYTES:], bound_to)
    except (InvalidUnwrap, InvalidTag, ValueError) as error:
        raise BrokenSealError from error
    return plain[:SALT_BYTES], plain[SALT_BYTES:]


class BrokenSealError(Exception):
    """What was sealed cannot be opened."""


def fresh_secret() -> bytes:
    """Random bytes for one seal."""
    return os.urandom(KEY_BYTES + SALT_BYTES)


def _wrapping(day: bytes, people: Sequence[bytes]) -> bytes:
    """The key that wraps: of the day, and of everybody. A part alone is worth nothing."""
    return hashlib.sha256(b"payload/v1" + day + b"".join(sorted(people))).digest() if people else day
