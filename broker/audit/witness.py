"""Who else has seen a log grow? Cosignatures of witnesses (C2SP tlog-witness, tlog-cosignature).

A witness signs only what is consistent with what it has signed before. A deployment that shows different logs
to different people needs it to help, even with its own key.
"""

import base64
import binascii
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from broker.audit.checkpoint import BadNote, Note
from broker.audit.interface import SYSTEM_LOG, Log
from broker.audit.tiles import TiledTree
from broker.errors import ConfigurationError, UpstreamRefused

_COSIGNATURE = b"\4"
_STALE = 409

Post = Callable[[bytes], Awaitable[tuple[int, bytes]]]
"""Sends a request to `add-checkpoint`; status and body of the answer.

Raises:
    UpstreamError: there was none.
"""


@dataclass(frozen=True, slots=True)
class WitnessKey:
    """The key of a witness: its name, the four bytes that name it in a note, and 32 raw bytes (Ed25519)."""

    name: str
    id: bytes
    public: bytes

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read `<name>+<id>+<key>`, as a witness publishes it (C2SP signed-note, type 0x04).

        Raises:
            ConfigurationError: it is no such key.
        """
        name, _, rest = line.strip().partition("+")
        identity, _, encoded = rest.partition("+")
        try:
            key = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            key = b""
        named = hashlib.sha256(name.encode() + b"\n" + key).digest()[:4]
        if len(key) != 33 or key[:1] != _COSIGNATURE or named.hex() != identity:
            raise ConfigurationError(
                f"`{line[:100]}` is no Ed25519 key of a witness",
                hint="its operator publishes one: `<name>+<id>+<key>`",
            )
        return cls(name, named, key[1:])

    def time_of(self, note: Note) -> int | None:
        """When the witness has seen what a note says, in Unix seconds; None if it has not signed it."""
        for name, blob in note.signatures:
            if name == self.name and blob[:4] == self.id and len(blob) == 76:
                time = int.from_bytes(blob[4:12])
                said = f"cosignature/v1\ntime {time}\n{note.text}".encode()
                try:
                    Ed25519PublicKey.from_public_bytes(self.public).verify(blob[12:], said)
                except InvalidSignature:
                    return None
                return time
        return None


class Witness:
    """Has the newest checkpoint of the system log cosigned, which tells of those of all other logs.

    Args:
        key: the witness's.
        log: where checkpoints and proofs are read, and cosignatures kept.
        post: sends to the witness.
    """

    def __init__(self, key: WitnessKey, *, log: Log, post: Post) -> None:
        self._key = key
        self._log = log
        self._post = post
        self._seen: int | None = None

    async def look(self) -> bool:
        """Ask for a cosignature, if the newest checkpoint has none; whether there is one now.

        Raises:
            UpstreamError: the witness cannot be asked, or refuses.
        """
        notes = [Note.parse(text) for text in await self._log.checkpoints(SYSTEM_LOG)]
        if not notes:
            return False
        newest = notes[-1]
        if self._key.time_of(newest) is not None:
            return True
        if self._seen is None:
            signed = [note.checkpoint.size for note in notes if self._key.time_of(note) is not None]
            self._seen = max(signed, default=0)
        status, answer = await self._ask(newest, self._seen)
        if status == _STALE and answer.strip().isdigit():  # it has seen more, or forgotten
            self._seen = int(answer)
            if self._seen <= newest.checkpoint.size:
                status, answer = await self._ask(newest, self._seen)
        if status != 200:
            raise UpstreamRefused(f"the witness `{self._key.name}` answered HTTP {status}")
        await self._keep(newest, answer)
        return True

    async def _ask(self, note: Note, old: int) -> tuple[int, bytes]:
        size = note.checkpoint.size
        proof: list[bytes] = []
        if 0 < old < size:
            proof = await TiledTree(partial(self._log.tile, SYSTEM_LOG)).consistency(old, size)
        lines = "".join(f"{base64.b64encode(step).decode()}\n" for step in proof)
        return await self._post(f"old {old}\n{lines}\n{note.whole}".encode())

    async def _keep(self, note: Note, answer: bytes) -> None:
        text = note.whole + answer.decode("utf-8", "replace").strip("\n") + "\n"
        try:
            cosigned = Note.parse(text)
        except BadNote as error:
            raise UpstreamRefused(f"the witness `{self._key.name}` gave no signature: {error}") from error
        if cosigned.checkpoint != note.checkpoint or self._key.time_of(cosigned) is None:
            raise UpstreamRefused(f"the witness `{self._key.name}` gave a signature that is not its own")
        await self._log.cosign(SYSTEM_LOG, note.checkpoint.size, text)
        self._seen = note.checkpoint.size
