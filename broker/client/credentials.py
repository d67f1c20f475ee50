"""How does an agent prove who it is? With a secret, or better with a key that never leaves it."""

import base64
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol, cast
from urllib.parse import quote

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.util import urlsafe_b64decode

from broker.errors import ConfigurationError
from broker.model import Clock, Json

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_LIFETIME_S = 60

SigningKey = ECKey | OKPKey | RSAKey

_BY_TYPE: Mapping[str, type[SigningKey]] = {"EC": ECKey, "OKP": OKPKey, "RSA": RSAKey}
_BY_PEM: Mapping[type, type[SigningKey]] = {
    EllipticCurvePrivateKey: ECKey,
    Ed25519PrivateKey: OKPKey,
    RSAPrivateKey: RSAKey,
}
_BY_CURVE = {"P-256": "ES256", "Ed25519": "Ed25519"}


@dataclass(frozen=True, slots=True)
class Proof:
    """What a request to the token endpoint carries besides its own parameters."""

    form: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


class Credential(Protocol):
    """Something that proves who a client is."""

    @property
    def client_id(self) -> str:
        """The OAuth client, which is the agent."""
        ...

    def proof(self) -> Proof:
        """A proof for one request."""
        ...


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """`client_secret_basic` (RFC 6749 §2.3.1)."""

    client_id: str
    secret: str = field(repr=False)

    def proof(self) -> Proof:
        """The HTTP Basic header."""
        pair = f"{quote(self.client_id, safe='')}:{quote(self.secret, safe='')}"
        return Proof({}, {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()})


@dataclass(frozen=True, slots=True)
class ClientKey:
    """`private_key_jwt` (RFC 7523 §2.2): signs a short assertion for each request; the key stays here.

    Args:
        client_id: the OAuth client.
        key: P-256 (ES256), Ed25519 (Ed25519, RFC 9864) or RSA (RS256).
        issuer: of the broker's authorization server, the only audience of an assertion.
        statement: further claims: what the agent says it is, such as `manifest_sha256`.
        clock: Unix time in seconds.
    """

    client_id: str
    key: SigningKey = field(repr=False)
    issuer: str
    statement: Mapping[str, str] = field(default_factory=dict[str, str])
    clock: Clock = time.time

    def proof(self) -> Proof:
        """A fresh assertion; each is good for one request."""
        now = int(self.clock())
        claims: Json = {
            **self.statement,
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": self.issuer,
            "iat": now,
            "exp": now + ASSERTION_LIFETIME_S,
            "jti": secrets.token_urlsafe(16),
        }
        algorithm = _algorithm(self.key)
        header = {"alg": algorithm, "kid": self.key.kid or self.key.thumbprint()}
        assertion = jwt.encode(header, claims, self.key, algorithms=[algorithm])
        return _asserted(self.client_id, assertion)


@dataclass(frozen=True, slots=True)
class WorkloadToken:
    """A token that the platform gives this workload (Kubernetes, SPIFFE, CI), as a client assertion.

    Args:
        client_id: the OAuth client.
        path: the file that holds the token; it is read for each request, so it may be renewed at any time.
    """

    client_id: str
    path: str

    def proof(self) -> Proof:
        """The token as it is now.

        Raises:
            ConfigurationError: the file cannot be read, or is empty.
        """
        return _asserted(self.client_id, read_secret(self.path, "workload token"))


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A new key of an agent: the public half is for the broker's operator, the private one for nobody."""

    private_pem: str = field(repr=False)
    public_jwk: Json


def new_key() -> KeyPair:
    """An Ed25519 key pair for `private_key_jwt`."""
    key = OKPKey.generate_key("Ed25519")
    public = {**key.as_dict(private=False), "kid": key.thumbprint(), "use": "sig"}
    return KeyPair(key.as_pem(private=True).decode(), public)


def stating(credential: Credential, manifest: str) -> ClientKey:
    """A key whose assertions say which manifest the agent runs under, and which model that names.

    Args:
        credential: proves who the agent is.
        manifest: a compact JWS, as its operator was given it; the broker checks it, this does not.

    Raises:
        ConfigurationError: it is no manifest, or the credential is no key.
    """
    if not isinstance(credential, ClientKey):
        raise ConfigurationError(
            "a manifest can only be named by an agent that signs with a key", hint="give it a private key"
        )
    try:
        said = cast("Json", orjson.loads(urlsafe_b64decode(manifest.split(".")[1].encode())))
        claims = {"agent_model": str(said["model"]), "agent_model_version": str(said["model_version"])}
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise ConfigurationError("this is no signed manifest", hint="give the compact JWS") from error
    return replace(credential, statement={"manifest_sha256": sha256(manifest.encode()).hexdigest(), **claims})


def private_key(material: str | Mapping[str, Any]) -> SigningKey:
    """A private key from PEM (unencrypted) or JWK.

    Args:
        material: PEM text, a JWK as JSON text, or a JWK.

    Raises:
        ConfigurationError: it is none that can sign here; the key itself is not repeated.
    """
    try:
        key = _read(material)
    except (JoseError, UnsupportedAlgorithm, ValueError, KeyError, TypeError):
        raise _unusable() from None  # the cause may hold the key
    if not key.is_private or not _algorithm(key):
        raise _unusable()
    return key


def _asserted(client_id: str, assertion: str) -> Proof:
    form = {"client_id": client_id, "client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
    return Proof(form, {})


def _read(material: str | Mapping[str, Any]) -> SigningKey:
    if not isinstance(material, str):
        return _BY_TYPE[material["kty"]].import_key(dict(material))
    if not material.lstrip().startswith("-"):
        return _read(cast("Json", orjson.loads(material)))
    loaded = load_pem_private_key(material.encode(), password=None)
    kinds = [kind for pem, kind in _BY_PEM.items() if isinstance(loaded, pem)]
    return (kinds or [OKPKey])[0].import_key(material)


def _algorithm(key: SigningKey) -> str:
    """The one algorithm (RFC 7518, RFC 9864) for a key; empty where there is none."""
    return "RS256" if isinstance(key, RSAKey) else _BY_CURVE.get(key.curve_name, "")


def _unusable() -> ConfigurationError:
    return ConfigurationError(
        "this is no private key that an agent can sign with",
        hint="give an Ed25519, P-256 or RSA key as unencrypted PEM or as a JWK with its private part",
    )


def read_secret(path: str, what: str) -> str:
    """What a file holds, without the line break at its end.

    Raises:
        ConfigurationError: it cannot be read, or is empty.
    """
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigurationError(f"cannot read the {what} in `{path}`: {why}") from error
    if not text:
        raise ConfigurationError(f"the file `{path}` holds no {what}")
    return text
