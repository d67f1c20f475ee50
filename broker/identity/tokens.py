"""Is this a token of ours? Mints and verifies access tokens (RFC 9068) and delegation tokens, all ES256.

Each kind has one exact header; whatever else a JWT may carry (`crit`, an
embedded key, another algorithm) makes it not ours, so it is refused before any key is touched.
"""

import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, NoReturn, cast

import orjson
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.util import urlsafe_b64decode

from broker.errors import Unauthenticated
from broker.identity import strict_json
from broker.identity.chain_claims import chain_claims
from broker.identity.token_keys import SigningKey, TokenKeys
from broker.model import Agent, AgentId, Clock, Grant, GrantId, Json

DEFAULT_SCOPES = frozenset({"mcp:tools"})
"""Scopes stay coarse: what an agent may really do is policy."""

LEEWAY_S = 5
"""How far the clocks of two broker processes may differ, in seconds."""

MAX_LIFETIME_S = 3600
MAX_TOKEN_CHARS = 4096
MAX_HEADER_CHARS = 512

_ALGORITHMS = ["ES256"]
_HEADER = frozenset({"alg", "typ", "kid"})
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


class Kind(StrEnum):
    """What a token is good for, as its `typ` (RFC 8725 §3.11): one never passes for the other."""

    ACCESS = "at+jwt"
    """A bearer token of its client."""
    DELEGATION = "dlg+jwt"
    """Says on whose behalf its client acts; worth nothing without that client's own access token."""


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What a valid token says. Times are Unix seconds. `grant` is the hop of delegation it stands for."""

    id: str
    client: AgentId
    subject: AgentId
    transaction: str
    scopes: frozenset[str]
    issued_at: int
    expires_at: int
    grant: GrantId | None = None
    bound_to: str | None = None
    """Thumbprint of the key that its sender has to prove (RFC 9449 §6)."""
    credential: str | None = None
    """The client's credential that it was issued for."""
    key: str | None = None
    """Our own key that has signed it."""
    vouched: bool = False
    """Whether what started its client vouched for that when it was issued."""


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A fresh token: `compact` goes to the client and nowhere else."""

    compact: str = field(repr=False)
    claims: AccessToken
    lifetime_s: int

    @property
    def scope(self) -> str:
        """The granted scopes as on the wire (RFC 6749 §3.3)."""
        return " ".join(sorted(self.claims.scopes))


def _new_id() -> str:
    return secrets.token_urlsafe(16)


class AccessTokens:
    """Mints and verifies the access tokens of one issuer for one resource.

    Args:
        keys: the active one signs, all that hold verify.
        issuer: this authorization server (RFC 8414), compared as a string.
        resource: the one audience (RFC 8707).
        lifetime_s: seconds a new token is valid.
        clock: Unix time in seconds.
        new_id: makes token and transaction ids.
    """

    def __init__(
        self,
        keys: TokenKeys,
        *,
        issuer: str,
        resource: str,
        lifetime_s: int,
        clock: Clock,
        new_id: Callable[[], str] = _new_id,
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._resource = resource
        self._lifetime_s = lifetime_s
        self._clock = clock
        self._new_id = new_id

    @property
    def generation(self) -> int:
        """Grows when keys change: what was verified before is to be verified again."""
        return self._keys.generation

    def mint(
        self,
        agent: Agent,
        scopes: frozenset[str],
        bound_to: str | None = None,
        *,
        credential: str | None = None,
        vouched: bool = False,
    ) -> IssuedToken:
        """A token for an authenticated client, starting a new transaction.

        Args:
            agent: the client.
            scopes: as coarse as all scopes.
            bound_to: the thumbprint of a key: it is worth something only to who has that.
            credential: the credential of the agent that it is issued for, if the broker keeps that.
            vouched: whether what started the client vouches for it.
        """
        now = int(self._clock())
        claims = AccessToken(
            id=self._new_id(),
            client=agent.id,
            subject=agent.id,
            transaction=self._new_id(),
            scopes=scopes,
            issued_at=now,
            expires_at=now + self._lifetime_s,
            bound_to=bound_to,
            credential=credential,
            vouched=vouched,
        )
        return self._signed(Kind.ACCESS, claims, {})

    def mint_delegated(
        self,
        kind: Kind,
        chain: Sequence[Grant],
        scopes: frozenset[str],
        *,
        parent: str,
        credential: str | None = None,
        bound_to: str | None = None,
        vouched: bool = False,
    ) -> IssuedToken:
        """A token for the delegatee of the newest hop, within its transaction.

        Args:
            kind: a delegation token, or an access token that is one as well.
            chain: the hops, newest first.
            scopes: as coarse as all scopes.
            parent: the token that this one follows from; it is committed to by hash.
            credential: the credential of the delegatee that an access token is issued for.
            bound_to: the thumbprint of the key that an access token is bound to.
            vouched: whether what started the delegatee vouches for it.
        """
        now = int(self._clock())
        longest = MAX_LIFETIME_S if kind is Kind.DELEGATION else self._lifetime_s
        grant = chain[0]
        claims = AccessToken(
            id=self._new_id(),
            client=grant.to,
            subject=grant.subject,
            transaction=grant.transaction,
            scopes=scopes,
            issued_at=now,
            expires_at=min(grant.expires_at, now + longest),
            grant=grant.id,
            credential=credential,
            bound_to=bound_to,
            vouched=vouched,
        )
        return self._signed(kind, claims, chain_claims(chain, parent))

    def verify(self, token: str, kind: Kind = Kind.ACCESS) -> AccessToken:
        """What a token says, if it is one of ours, of this kind, and has not expired.

        Raises:
            Unauthenticated: it is not; the message does not say which check failed, only by how
                much a genuine token has expired.
        """
        try:
            payload, key = self._signed_payload(token, kind)
            claims = self._read(strict_json.loads(payload), key)
            if kind is Kind.DELEGATION and claims.grant is None:
                _malformed("dlg")
        except (JoseError, ValueError):
            raise foreign() from None
        if (late := self._clock() - claims.expires_at) >= LEEWAY_S:
            raise expired(late)
        return claims

    def _signed(self, kind: Kind, claims: AccessToken, more: Json) -> IssuedToken:
        key = self._keys.active
        claims = replace(claims, key=key.kid)
        header = {"alg": "ES256", "typ": kind.value, "kid": key.kid}
        payload = orjson.dumps(self._wire(claims) | more)
        compact = jws.serialize_compact(header, payload, key.pair, algorithms=_ALGORITHMS)
        return IssuedToken(compact, claims, claims.expires_at - claims.issued_at)

    def _signed_payload(self, token: str, kind: Kind) -> tuple[bytes, str]:
        """What was signed, and the name of our key that did."""
        if len(token) > MAX_TOKEN_CHARS or not _COMPACT.fullmatch(token):
            raise ValueError("not a compact JWS")
        key = self._key(token.partition(".")[0], kind)
        signed = jws.deserialize_compact(token, key.pair, algorithms=_ALGORITHMS)
        return signed.payload or b"", key.kid

    def _key(self, segment: str, kind: Kind) -> SigningKey:
        if len(segment) > MAX_HEADER_CHARS:
            raise ValueError("header too long")
        header = strict_json.loads(urlsafe_b64decode(segment.encode()))
        if header.keys() != _HEADER or header["typ"] != kind.value or header["alg"] != "ES256":
            raise ValueError("not the header of such a token")
        kid = header["kid"]
        key = self._keys.find(kid) if isinstance(kid, str) else None
        if key is None:
            raise ValueError("unknown key")
        return key

    def _read(self, wire: Json, key: str) -> AccessToken:
        """The claims, each of the exact type that `_wire` writes."""
        if wire.get("iss") != self._issuer or wire.get("aud") != self._resource:
            raise ValueError("for or from somebody else")
        issued_at, expires_at = _seconds(wire, "iat"), _seconds(wire, "exp")
        if not issued_at < expires_at <= issued_at + MAX_LIFETIME_S:
            raise ValueError("impossible lifetime")
        if issued_at > self._clock() + LEEWAY_S:
            raise ValueError("from the future")
        return AccessToken(
            id=_text(wire, "jti"),
            client=AgentId(_text(wire, "client_id")),
            subject=AgentId(_text(wire, "sub")),
            transaction=_text(wire, "txn"),
            scopes=frozenset(_text(wire, "scope").split(" ")),
            issued_at=issued_at,
            expires_at=expires_at,
            grant=_grant(wire),
            bound_to=_bound_to(wire),
            credential=_text(wire, "cred") if "cred" in wire else None,
            key=key,
            vouched=_vouched(wire),
        )

    def _wire(self, claims: AccessToken) -> Json:
        return {
            "iss": self._issuer,
            "aud": self._resource,
            "sub": claims.subject,
            "client_id": claims.client,
            "jti": claims.id,
            "iat": claims.issued_at,
            "exp": claims.expires_at,
            "scope": " ".join(sorted(claims.scopes)),
            "txn": claims.transaction,
        } | _standing(claims)


def _standing(claims: AccessToken) -> Json:
    """What a token is worth nothing without, and who vouches for its client, where there is such a thing."""
    key = {"cnf": {"jkt": claims.bound_to}} if claims.bound_to else {}
    vouched = {"vouched": True} if claims.vouched else {}
    return key | vouched | ({"cred": claims.credential} if claims.credential else {})


def expired(late_s: float) -> Unauthenticated:
    """The refusal of a genuine token that expired `late_s` seconds ago."""
    return Unauthenticated(f"expired {int(late_s)} s ago", hint="get a new token from the token endpoint")


def foreign() -> Unauthenticated:
    """The refusal of everything else: it does not say which check failed."""
    return Unauthenticated("not a token of this broker", hint="get a token from the token endpoint")


def _grant(wire: Json) -> GrantId | None:
    if "dlg" not in wire:
        return None
    facts = wire["dlg"]
    return GrantId(_text(cast("Json", facts), "id")) if isinstance(facts, dict) else _malformed("dlg")


def _bound_to(wire: Json) -> str | None:
    if "cnf" not in wire:
        return None
    facts = wire["cnf"]
    return _text(cast("Json", facts), "jkt") if isinstance(facts, dict) else _malformed("cnf")


def _vouched(wire: Json) -> bool:
    if "vouched" not in wire:
        return False
    return wire["vouched"] is True or _malformed("vouched")


def _seconds(wire: Json, name: str) -> int:
    value = wire.get(name)
    if type(value) is not int:  # neither bool nor float: NaN and 1e400 never compare as late
        _malformed(name)
    return value


def _text(wire: Json, name: str) -> str:
    value: Any = wire.get(name)
    if not isinstance(value, str) or not value:
        _malformed(name)
    return value


def _malformed(name: str) -> NoReturn:
    raise ValueError(f"claim {name} is malformed")
