"""Which public keys does somebody else sign with, and did they? JWK, JWKS (RFC 7517) and signatures.

A key decides which algorithms fit it, never the token: so a public key is no shared secret, and no
curve is taken for another one (RFC 8725 §3.1).
"""

import secrets
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import cast

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from broker.errors import InvalidRequest
from broker.identity import strict_json
from broker.identity.compact import Unverified
from broker.identity.interface import AgentKey
from broker.model import Json

ALGORITHMS = ("ES256", "Ed25519", "EdDSA", "RS256", "PS256")
"""What clients may sign with. EdDSA is the older name of Ed25519 (RFC 9864 §2.2)."""

RSA_BITS = range(2048, 4097)
MAX_KEYS = 64
LARGEST_JWKS = 256 << 10
"""Largest key set of somebody else, in bytes."""

_USES = ("sig", "jwt-svid")
"""RFC 7517 §4.2; SPIFFE Trust Domain and Bundle §4.2.2."""
_RSA = frozenset({"RS256", "PS256"})
_EDWARDS = frozenset({"Ed25519", "EdDSA"})
_PUBLIC_MEMBERS = {"EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x"), "RSA": ("e", "kty", "n")}


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One public key: `kid` is its thumbprint (RFC 7638), `alias` what its owner calls it."""

    kid: str
    alias: str | None
    algorithms: frozenset[str]
    jwk: Json = field(repr=False)
    key: ECKey | OKPKey | RSAKey = field(repr=False)

    def stored(self, now: int) -> AgentKey:
        """What is kept of it: the public members alone, and its name. `now` is Unix seconds."""
        return AgentKey(self.kid, orjson.dumps(self.jwk).decode(), now)

    def fits(self, algorithm: str, kid: str | None) -> bool:
        """Whether a token with this header may be checked with this key."""
        return algorithm in self.algorithms and (kid is None or kid in {self.kid, self.alias})

    def signed(self, token: Unverified) -> bool:
        """Whether this key made the signature of a token."""
        algorithm = JWSRegistry.algorithms[token.header["alg"]]
        try:
            return algorithm.verify(token.content, token.signature, self.key)
        except (JoseError, ValueError):
            return False


def read_key(jwk: Json) -> PublicKey:
    """A public key.

    Raises:
        InvalidRequest: it is private, no signing key, too weak, or of a kind that is not accepted.
    """
    if "d" in jwk or "k" in jwk or "p" in jwk:
        raise InvalidRequest(
            "this is a private key",
            hint="keep it where it is and give its public half; make a new one if it was shared",
        )
    if jwk.get("use", "sig") not in _USES or "verify" not in jwk.get("key_ops", ["verify"]):
        raise InvalidRequest("this key is not for signatures", hint='give one with `"use": "sig"`')
    key, algorithms = _imported(jwk)
    wanted = jwk.get("alg")
    if wanted is not None:
        algorithms &= _EDWARDS if wanted in _EDWARDS else {wanted}
    if not algorithms:
        raise InvalidRequest(f"this key is for another algorithm; accepted: {', '.join(ALGORITHMS)}")
    alias = jwk.get("kid")
    public = {name: jwk[name] for name in _PUBLIC_MEMBERS[cast("str", jwk["kty"])]}
    named = {"kid": alias} if isinstance(alias, str) and 0 < len(alias) <= 256 else {}
    pinned = {"alg": wanted} if wanted is not None else {}
    return PublicKey(key.thumbprint(), named.get("kid"), frozenset(algorithms), public | named | pinned, key)


def read_key_set(content: bytes) -> tuple[PublicKey, ...]:
    """The keys of a JWK or a JWKS as JSON.

    Raises:
        InvalidRequest: it is neither, holds no key, or one that is not accepted.
    """
    return tuple(read_key(key) for key in _members(content))


def _members(content: bytes) -> list[Json]:
    try:
        document = strict_json.loads(content)
    except ValueError as error:
        raise InvalidRequest(f"this is not a JWK: {error}", hint="give JSON as in RFC 7517 §4") from None
    keys = document.get("keys", [document])
    if not isinstance(keys, list) or not 0 < len(cast("list[object]", keys)) <= MAX_KEYS:
        raise InvalidRequest(
            f"`keys` has to hold 1 to {MAX_KEYS} keys", hint="give a JWK or a JWKS (RFC 7517)"
        )
    return list(_objects(cast("list[object]", keys)))


def usable_keys(content: bytes) -> tuple[PublicKey, ...]:
    """The keys of a JWKS of somebody else, without those that are not accepted.

    Raises:
        InvalidRequest: it is no JWKS, or no key of it is accepted.
    """
    found: list[PublicKey] = []
    for key in _members(content):
        with suppress(InvalidRequest):
            found.append(read_key(key))
    if not found:
        raise InvalidRequest(f"no key of it is accepted; accepted: {', '.join(ALGORITHMS)}")
    return tuple(found)


@lru_cache(maxsize=1024)
def stored_key(stored: AgentKey) -> PublicKey:
    """A key that was accepted before."""
    return read_key(orjson.loads(stored.jwk))


def signer_of(token: Unverified, keys: Sequence[PublicKey]) -> PublicKey | None:
    """Which of these keys signed a token. Where none fits, a key that nobody has is tried, so that a
    stranger's token takes the time of a known one's.
    """
    algorithm, kid = token.header["alg"], token.header.get("kid")
    fitting = [key for key in keys if key.fits(algorithm, kid)] or [_nobody(algorithm)]
    return next((key for key in fitting if key.signed(token)), None)


def _imported(jwk: Json) -> tuple[ECKey | OKPKey | RSAKey, set[str]]:
    kinds = {"EC": ECKey, "OKP": OKPKey, "RSA": RSAKey}
    kind = kinds.get(jwk["kty"]) if isinstance(jwk.get("kty"), str) else None
    if kind is None:
        raise InvalidRequest("`kty` has to be EC, OKP or RSA", hint="symmetric keys are not accepted")
    try:
        key = kind.import_key({name: jwk[name] for name in _PUBLIC_MEMBERS[kind.key_type]})
        return key, _fitting(key)
    except (JoseError, UnsupportedAlgorithm, ValueError, KeyError, TypeError) as error:
        raise InvalidRequest(f"this JWK cannot be read: {error}") from error


def _fitting(key: ECKey | OKPKey | RSAKey) -> set[str]:
    if isinstance(key, RSAKey):
        public = key.public_key
        if public.key_size not in RSA_BITS or public.public_numbers().e != 65537:
            raise InvalidRequest("RSA keys have 2048 to 4096 bits and the exponent 65537")
        return set(_RSA)
    curves = {"P-256": {"ES256"}, "Ed25519": set(_EDWARDS)}
    if key.curve_name not in curves:
        raise InvalidRequest(f"`{key.curve_name}` is not accepted", hint="use P-256 or Ed25519")
    return curves[key.curve_name]


def _objects(keys: Iterable[object]) -> Iterable[Json]:
    for key in keys:
        if not isinstance(key, dict):
            raise InvalidRequest("a key of the set is not a JSON object", hint="give a JWKS (RFC 7517 §5)")
        yield cast("Json", key)


@cache
def _nobody(algorithm: str) -> PublicKey:
    if algorithm in _RSA:  # a modulus that nobody can factor needs no primes, and takes no time to make
        modulus = secrets.randbits(2048) | 1 << 2047 | 1
        key = RSAKey.import_key(RSAPublicNumbers(65537, modulus).public_key())
    elif algorithm in _EDWARDS:
        key = OKPKey.generate_key("Ed25519", private=False)
    else:
        key = ECKey.generate_key("P-256", private=False)
    return PublicKey("", None, frozenset({algorithm}), {}, key)
