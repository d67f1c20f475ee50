"""Does who sends this request have the key that its token is bound to? DPoP proofs (RFC 9449)."""

import base64
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import urlsplit

from broker.errors import InvalidRequest
from broker.identity import compact
from broker.identity.compact import Unverified, seconds, text
from broker.identity.interface import ReplayStore
from broker.identity.jwks import ALGORITHMS, PublicKey, read_key
from broker.model import Clock, Json

WINDOW_S = 60
"""How old a proof may be, in seconds."""
LEEWAY_S = 30
"""How far a client's clock may be ahead of ours, in seconds."""

_HEADER = frozenset({"typ", "alg", "jwk"})
_PORTS = {"http": 80, "https": 443}


class HeldToken(str):
    """An access token whose sender has proved, for this request, to have a key: `thumbprint` (RFC 7638).

    It goes wherever a bearer token does; only what checks the binding sees the difference.
    """

    __slots__ = ("thumbprint",)
    thumbprint: str

    @classmethod
    def of(cls, token: str, thumbprint: str) -> "HeldToken":
        """A token together with the key that was proved."""
        held = cls(token)
        held.thumbprint = thumbprint
        return held


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof that is genuine, and for one request; not yet used. `until` is Unix seconds."""

    thumbprint: str
    jti: str
    until: int


class Proofs:
    """Checks proofs. Each is good for one request.

    Args:
        replays: which were used before.
        clock: Unix time in seconds.
    """

    def __init__(self, replays: ReplayStore, clock: Clock) -> None:
        self._replays = replays
        self._clock = clock

    def read(self, proof: str, *, method: str, url: str, token: str | None = None) -> Proof:
        """A proof that its sender has a key (RFC 9449 §4.3). Does no I/O.

        Args:
            proof: the DPoP header.
            method: HTTP method of the request.
            url: the address that was asked, without query and fragment.
            token: the access token that was sent with it; at the token endpoint there is none.

        Raises:
            InvalidRequest: the proof is not one for this request.
        """
        try:
            found = compact.read(proof)
            key = _key(found)
            issued_at = self._current(found.claims, method, url, token)
            jti = text(found.claims, "jti")
        except (ValueError, InvalidRequest):
            raise _refused() from None
        if not key.signed(found):
            raise _refused()
        return Proof(key.kid, jti, issued_at + WINDOW_S + LEEWAY_S)

    async def use(self, proof: Proof) -> None:
        """Use a proof up. Only after its sender is known: what strangers send must not fill the store.

        Raises:
            InvalidRequest: it was used before.
            StorageUnavailable: it cannot be noted as used.
        """
        if not await self._replays.first_use(f"proof {proof.thumbprint}", proof.jti, proof.until):
            raise _refused()

    def _current(self, claims: Json, method: str, url: str, token: str | None) -> int:
        if text(claims, "htm") != method or _plain(text(claims, "htu", 2048)) != _plain(url):
            raise ValueError("for another request")
        if token is not None and text(claims, "ath") != _hash(token):
            raise ValueError("for another token")
        issued_at = seconds(claims, "iat")
        if not -LEEWAY_S <= self._clock() - issued_at <= WINDOW_S:
            raise ValueError("not made just now")
        return issued_at


def _key(proof: Unverified) -> PublicKey:
    header = proof.header
    if header.keys() != _HEADER or header["typ"] != "dpop+jwt" or header["alg"] not in ALGORITHMS:
        raise ValueError("not the header of a proof")
    jwk = header["jwk"]
    if not isinstance(jwk, dict):
        raise ValueError("no key")  # noqa: TRY004 - one exception for every unreadable proof
    key = read_key(jwk)  # pyright: ignore[reportUnknownArgumentType] - an object of JSON
    if not key.fits(header["alg"], None):
        raise ValueError("the key is for another algorithm")
    return key


def _plain(url: str) -> tuple[str, str, str]:
    """What of an address is compared: neither query nor fragment, nor a port that goes without saying."""
    parts = urlsplit(url)
    authority = parts.netloc.lower().removesuffix(f":{_PORTS.get(parts.scheme.lower())}")
    return parts.scheme.lower(), authority, parts.path or "/"


def _hash(token: str) -> str:
    return base64.urlsafe_b64encode(sha256(token.encode()).digest()).rstrip(b"=").decode()


def _refused() -> InvalidRequest:
    return InvalidRequest("this is no DPoP proof for this request", hint="make a new proof for every request")
