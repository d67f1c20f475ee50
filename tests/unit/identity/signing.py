"""What a client has: a key pair, and assertions signed with it, as wrong as a test wants them."""

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass, field
from typing import Any

from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from broker.model import Json
from tests.unit.identity.memory import NOW

EC, ED = ECKey.generate_key("P-256"), OKPKey.generate_key("Ed25519")
RSA = RSAKey.generate_key(2048)
OF = {"ES256": EC, "Ed25519": ED, "EdDSA": ED, "RS256": RSA, "PS256": RSA}


def public(key: Any) -> Json:
    return key.as_dict(private=False)


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(algorithm: str, key: Any, header: str, claims: str) -> str:
    """A genuine signature over any header and any claims."""
    content = f"{encode(header.encode())}.{encode(claims.encode())}"
    signature = JWSRegistry.algorithms[algorithm].sign(content.encode(), key)
    return f"{content}.{encode(signature)}"


def with_secret(secret: bytes, claims: Json) -> str:
    """Signed as if the secret were shared (HS256)."""
    content = f"{encode(json.dumps({'alg': 'HS256'}).encode())}.{encode(json.dumps(claims).encode())}"
    return f"{content}.{encode(hmac.new(secret, content.encode(), hashlib.sha256).digest())}"


@dataclass
class Signer:
    """Signs as `client` for `audience`."""

    client: str
    audience: Any
    key: Any = field(default_factory=lambda: EC)
    algorithm: str = "ES256"
    now: int = NOW
    made: int = field(default=0)

    def claims(self) -> Json:
        self.made += 1
        own = {"iss": self.client, "sub": self.client, "aud": self.audience}
        return own | {"iat": self.now, "exp": self.now + 60, "jti": f"id-{self.made}"}

    def assertion(self, header: Json | None = None, claims: Json | None = None, without: str = "") -> str:
        wanted = {k: v for k, v in (self.claims() | (claims or {})).items() if k != without}
        top = {"alg": self.algorithm} | (header or {})
        return signed(self.algorithm, self.key, json.dumps(top), json.dumps(wanted))
