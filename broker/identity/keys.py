"""Which keys are the broker's own? Loaded once at start; the first start makes them."""

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from broker.identity.interface import KeyState, KeyStore, KeyUse, StoredKey
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
    log: "LogKeys" = field(repr=False)

    @property
    def checkpoint(self) -> Ed25519PrivateKey:
        """The key that signs checkpoints now."""
        return self.log.active


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
    log = LogKeys(store, clock)
    await log.refresh()
    seal, *retired = _symmetric(seals)
    return Keys(
        tokens=tokens,
        seal=seal,
        retired_seals=tuple(retired),
        digest=_symmetric(digests)[0],
        log=log,
    )


@dataclass(frozen=True, slots=True)
class LogKey:
    """A key that signs checkpoints, or has: 32 raw bytes (Ed25519). Times are Unix seconds."""

    kid: str
    public: bytes
    created_at: int
    until: int | None


class LogKeys:
    """The keys of checkpoints. One signs; those before it are kept for ever, without their private half.

    Args:
        store: where they are kept.
        clock: Unix seconds.
    """

    def __init__(self, store: KeyStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._stored: list[StoredKey] = []
        self.all: tuple[LogKey, ...] = ()
        """The one that signs first, then those that did, the newest first."""

    async def refresh(self) -> None:
        """Take into use what is in the store, making what a first start lacks.

        Raises:
            ConfigurationError: a stored key cannot be read; the previous ones stay in use.
        """
        now = int(self._clock())
        stored = list(await self._store.keys(KeyUse.CHECKPOINTS, lambda: new_log_key(now)))
        if stored == self._stored:
            return
        ordered = sorted(stored, key=lambda key: key.state is not KeyState.ACTIVE)
        self.active = _checkpoint(ordered[0])
        self.all = tuple(LogKey(key.kid, _public(key), key.created_at, key.not_after) for key in ordered)
        self._stored = stored

    @property
    def stored(self) -> StoredKey:
        """The one that signs, as it is kept."""
        return next(key for key in self._stored if key.state is KeyState.ACTIVE)

    @property
    def public(self) -> tuple[bytes, ...]:
        """All public keys, the one that signs first."""
        return tuple(key.public for key in self.all)


def new_log_key(now: int) -> StoredKey:
    """A new key for checkpoints; `now` is Unix seconds."""
    key = OKPKey.generate_key("Ed25519")
    return StoredKey(KeyUse.CHECKPOINTS, key.thumbprint(), _private_jwk(key), now)


def public_half(stored: StoredKey) -> StoredKey:
    """A key of checkpoints as it is kept once it signs no more."""
    key = OKPKey.import_key(orjson.loads(stored.material))
    return replace(stored, material=orjson.dumps(key.as_dict(private=False)).decode())


def _new_symmetric_key(use: KeyUse, now: int) -> StoredKey:
    material = secrets.token_urlsafe(SYMMETRIC_BYTES)
    return StoredKey(use, secrets.token_urlsafe(9), material, now)


def _private_jwk(key: OKPKey) -> str:
    return orjson.dumps(key.as_dict(private=True)).decode()


def _checkpoint(stored: StoredKey) -> Ed25519PrivateKey:
    private = _okp(stored).private_key
    if not isinstance(private, Ed25519PrivateKey):
        raise unreadable(stored)
    return private


def _public(stored: StoredKey) -> bytes:
    public = _okp(stored).public_key
    if not isinstance(public, Ed25519PublicKey):
        raise unreadable(stored)
    return public.public_bytes_raw()


def _okp(stored: StoredKey) -> OKPKey:
    try:
        return OKPKey.import_key(orjson.loads(stored.material))
    except (JoseError, UnsupportedAlgorithm, ValueError, KeyError) as error:
        raise unreadable(stored) from error


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
