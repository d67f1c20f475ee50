"""Which keys are the broker's own? Loaded once at start; the first start makes them."""

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from broker.identity.interface import KeyStore, KeyUse, StoredKey
from broker.identity.token_keys import TokenKeys, unreadable
from broker.model import Clock

SYMMETRIC_BYTES = 32
"""256 bits: AES-256-GCM and HMAC-SHA-256."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The broker's own keys. The newest of a use makes; all of them are still accepted."""

    tokens: TokenKeys = field(repr=False)
    seal: bytes = field(repr=False)
    retired_seals: tuple[bytes, ...] = field(repr=False)
    digest: bytes = field(repr=False)
    checkpoint: Ed25519PrivateKey = field(repr=False)


async def load_keys(store: KeyStore, clock: Clock) -> Keys:
    """Read every key, making those of a first start.

    Raises:
        ConfigurationError: a stored key cannot be read.
    """
    now = int(clock())
    tokens = TokenKeys(store, clock)
    await tokens.refresh()
    seals = await store.keys(KeyUse.SEALS, lambda: _new_symmetric_key(KeyUse.SEALS, now))
    digests = await store.keys(KeyUse.DIGESTS, lambda: _new_symmetric_key(KeyUse.DIGESTS, now))
    checkpoints = await store.keys(KeyUse.CHECKPOINTS, lambda: _new_checkpoint_key(now))
    seal, *retired = _symmetric(seals)
    return Keys(
        tokens=tokens,
        seal=seal,
        retired_seals=tuple(retired),
        digest=_symmetric(digests)[0],
        checkpoint=_checkpoint(checkpoints[0]),
    )


def _new_checkpoint_key(now: int) -> StoredKey:
    key = OKPKey.generate_key("Ed25519")
    return StoredKey(KeyUse.CHECKPOINTS, key.thumbprint(), _private_jwk(key), now)


def _new_symmetric_key(use: KeyUse, now: int) -> StoredKey:
    material = secrets.token_urlsafe(SYMMETRIC_BYTES)
    return StoredKey(use, secrets.token_urlsafe(9), material, now)


def _private_jwk(key: OKPKey) -> str:
    return orjson.dumps(key.as_dict(private=True)).decode()


def _checkpoint(stored: StoredKey) -> Ed25519PrivateKey:
    try:
        private = OKPKey.import_key(orjson.loads(stored.material)).private_key
    except (JoseError, UnsupportedAlgorithm, ValueError, KeyError) as error:
        raise unreadable(stored) from error
    if not isinstance(private, Ed25519PrivateKey):
        raise unreadable(stored)
    return private


def _symmetric(stored: Sequence[StoredKey]) -> list[bytes]:
    return [_symmetric_key(key) for key in stored]


def _symmetric_key(stored: StoredKey) -> bytes:
    try:
        material = base64.urlsafe_b64decode(stored.material + "=" * (-len(stored.material) % 4))
    except ValueError as error:
        raise unreadable(stored) from error
    if len(material) != SYMMETRIC_BYTES:
        raise unreadable(stored)
    return material
