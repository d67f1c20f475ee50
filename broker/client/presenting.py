"""How is a token shown to be one's own? By having it, or by a key that it is bound to (RFC 9449)."""

import base64
import secrets
import time
from collections.abc import Mapping
from hashlib import sha256
from typing import Protocol

import orjson
from joserfc import jws
from joserfc.jwk import OKPKey

from broker.model import Clock, Json

ALGORITHM = "Ed25519"


class Presenting(Protocol):
    """A way to present access tokens."""

    def asking(self, url: str) -> Mapping[str, str]:
        """What a request to the token endpoint at `url` carries, so that the token can be presented."""
        ...

    def using(self, token: str, method: str, url: str) -> Mapping[str, str]:
        """What a request with a token carries."""
        ...


class Bearer:
    """Whoever has the token may use it (RFC 6750)."""

    def asking(self, url: str) -> Mapping[str, str]:  # noqa: ARG002 - nothing is bound
        """See `Presenting`."""
        return {}

    def using(self, token: str, method: str, url: str) -> Mapping[str, str]:  # noqa: ARG002 - as above
        """See `Presenting`."""
        return {"Authorization": f"Bearer {token}"}


class Bound:
    """Only who has the key may use the token. The key is made here, lives as long as this, and never leaves.

    Args:
        clock: Unix time in seconds.
    """

    def __init__(self, clock: Clock = time.time) -> None:
        self._clock = clock
        self._key = OKPKey.generate_key("Ed25519")
        self._public = self._key.as_dict(private=False)

    def asking(self, url: str) -> Mapping[str, str]:
        """See `Presenting`."""
        return {"DPoP": self._proof("POST", url, {})}

    def using(self, token: str, method: str, url: str) -> Mapping[str, str]:
        """See `Presenting`. Each proof is good for one request."""
        digest = base64.urlsafe_b64encode(sha256(token.encode()).digest()).rstrip(b"=").decode()
        return {"Authorization": f"DPoP {token}", "DPoP": self._proof(method, url, {"ath": digest})}

    def _proof(self, method: str, url: str, more: Json) -> str:
        header = {"typ": "dpop+jwt", "alg": ALGORITHM, "jwk": self._public}
        claims = {"jti": secrets.token_urlsafe(16), "htm": method, "htu": url, "iat": int(self._clock())}
        payload = orjson.dumps(claims | more)
        return jws.serialize_compact(header, payload, self._key, algorithms=[ALGORITHM])
