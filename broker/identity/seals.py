"""Did the broker itself hand this out, for this purpose, and not too long ago?

A seal keeps state at the client instead of in a process: session ids and `requestState` are sealed,
so that any worker can serve any request. Nobody can read, change, or use one for another purpose.
"""

import base64
import os
import time

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from broker.errors import InvalidRequest
from broker.model import Clock, Json

VERSION = b"\x01"
NONCE_BYTES = 12
EXPIRY_BYTES = 8
_HEAD = len(VERSION) + NONCE_BYTES


class Sealer:
    """Seals with AES-256-GCM (RFC 5116); version and purpose are authenticated with the content.

    A token is base64url without padding of `version(1) nonce(12) ciphertext tag(16)`: visible ASCII,
    fit for a header. Nonces are random, so one key is good for 2^32 seals (NIST SP 800-38D §8.3).

    Args:
        key: 256 bits; new seals are made with it.
        retired: older keys whose seals are still opened.
        clock: Unix time in seconds.
    """

    def __init__(self, key: bytes, *retired: bytes, clock: Clock = time.time) -> None:
        self._ciphers = tuple(AESGCM(k) for k in (key, *retired))
        self._clock = clock

    def seal(self, purpose: str, claims: Json, ttl_s: int) -> str:
        """A token that only `open` with the same purpose can read, for `ttl_s` seconds."""
        nonce = os.urandom(NONCE_BYTES)
        expiry = (int(self._clock()) + ttl_s).to_bytes(EXPIRY_BYTES, "big")
        content = self._ciphers[0].encrypt(nonce, expiry + orjson.dumps(claims), _aad(purpose))
        return base64.urlsafe_b64encode(VERSION + nonce + content).rstrip(b"=").decode()

    def open(self, purpose: str, token: str) -> Json:
        """The claims of a token.

        Raises:
            InvalidRequest: not made by this broker, for another purpose, altered, or expired.
        """
        content = self._decrypt(purpose, _decode(purpose, token))
        if int.from_bytes(content[:EXPIRY_BYTES], "big") <= self._clock():
            raise InvalidRequest(f"this {purpose} has expired", hint="start again without it")
        return orjson.loads(content[EXPIRY_BYTES:])

    def _decrypt(self, purpose: str, data: bytes) -> bytes:
        nonce, content, aad = data[len(VERSION) : _HEAD], data[_HEAD:], _aad(purpose)
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(nonce, content, aad)
            except InvalidTag:
                continue
        raise _foreign(purpose)


def _aad(purpose: str) -> bytes:
    return VERSION + purpose.encode()


def _decode(purpose: str, token: str) -> bytes:
    try:
        data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise _foreign(purpose) from None
    # One spelling per token: what is compared or revoked as text must not have a twin.
    canonical = base64.urlsafe_b64encode(data).rstrip(b"=").decode()
    if data[: len(VERSION)] != VERSION or len(data) < _HEAD or canonical != token:
        raise _foreign(purpose)
    return data


def _foreign(purpose: str) -> InvalidRequest:
    return InvalidRequest(f"this {purpose} was not issued by this broker", hint="start again without it")
