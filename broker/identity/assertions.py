"""Did this client sign that it is itself, for us, just now, and for the first time? RFC 7523 §3."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from broker.identity.compact import Unverified, read, seconds, text
from broker.identity.interface import AgentStore, Evidence, ReplayStore
from broker.identity.jwks import ALGORITHMS, PublicKey, signer_of, stored_key
from broker.identity.published_keys import PublishedKeys
from broker.model import AgentId, Clock, Json

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
MAX_LIFETIME_S = 300
LEEWAY_S = 30
"""How far a client's clock may be from ours, in seconds."""

_MEMBERS = frozenset({"alg", "typ", "kid"})
_HINTS = frozenset({"x5t"})
"""What public issuers add to name their key once more; it is not looked at."""
_TYPES = frozenset({"JWT", "jwt", "JOSE", "client-authentication+jwt"})


@dataclass(frozen=True, slots=True)
class Claim:
    """An assertion that could be read: whom it claims to be of. Nothing in it is verified."""

    issuer: str
    subject: str
    token: Unverified = field(repr=False)


class Assertions:
    """Checks client assertions.

    Args:
        issuer: this authorization server: the audience, with or without a slash at its end.
        token_url: also an audience, unless `strict`.
        strict: whether only the issuer is an audience.
        agents: whose keys count.
        published: the keys of those who publish theirs.
        private_addresses: whether those may be on this machine or in a private network.
        replays: what was used before.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        issuer: str,
        token_url: str,
        *,
        strict: bool,
        agents: AgentStore,
        published: PublishedKeys,
        private_addresses: bool,
        replays: ReplayStore,
        clock: Clock,
    ) -> None:
        own = {issuer, f"{issuer}/"}
        self._audiences = frozenset(own if strict else own | {token_url})
        self._agents = agents
        self._published = published
        self._private_addresses = private_addresses
        self._replays = replays
        self._clock = clock

    async def proves(self, claim: Claim) -> Evidence | None:
        """The key of the agent it names that signed an assertion that holds now and was never used.

        Raises:
            StorageUnavailable: it cannot be noted as used.
        """
        credential = await self._signed_with(claim)
        if credential is None:
            return None
        try:
            expires_at, jti = self._current(claim)
        except ValueError:
            return None
        first = await self._replays.first_use(f"client {claim.subject}", jti, expires_at + LEEWAY_S)
        return Evidence("private_key_jwt", credential) if first else None

    async def _signed_with(self, claim: Claim) -> str | None:
        """The credential of the agent that an assertion was signed with."""
        token, agent = claim.token, AgentId(claim.subject)
        stored = {key.id: stored_key(key) for key in await self._agents.keys(agent)}
        fitting = _fitting(token, stored.values())
        address = None if fitting else await self._agents.key_address(agent)
        if address is None:
            signer = signer_of(token, fitting)
            return next((name for name, key in stored.items() if key is signer), None)
        published = await self._published.fitting(address.url, token, allow_private=self._private_addresses)
        return address.id if signer_of(token, published) else None

    def _current(self, claim: Claim) -> tuple[int, str]:
        """Until when it holds, and its id.

        Raises:
            ValueError: it is not of its subject, not for us, or not now.
        """
        claims, now = claim.token.claims, self._clock()
        if not claim.token.header.keys() <= _MEMBERS:
            raise ValueError("more than a client writes")
        if claim.issuer != claim.subject or audience(claims) not in self._audiences:
            raise ValueError("of or for somebody else")
        issued_at, expires_at = seconds(claims, "iat"), seconds(claims, "exp")
        if not issued_at < expires_at <= issued_at + MAX_LIFETIME_S:
            raise ValueError("lives too long")
        check_now(claims, now)
        if issued_at > now + LEEWAY_S:
            raise ValueError("from the future")
        return expires_at, text(claims, "jti")


def _fitting(token: Unverified, keys: Iterable[PublicKey]) -> Sequence[PublicKey]:
    algorithm, kid = token.header["alg"], token.header.get("kid")
    return [key for key in keys if key.fits(algorithm, kid)]


def read_assertion(assertion: str) -> Claim:
    """Whom an assertion claims to be of.

    The header holds `alg`, and `typ` and `kid` if anything: keys and addresses of keys that come with
    a token are not even looked at (RFC 8725 §3.10), nor is what `crit` would demand.

    Raises:
        ValueError: it cannot be a client assertion.
    """
    token = read(assertion)
    header = token.header
    if not header.keys() <= _MEMBERS | _HINTS or header.get("alg") not in ALGORITHMS:
        raise ValueError("not the header of a client assertion")
    typ, kid = header.get("typ", "JWT"), header.get("kid", "")
    if not isinstance(kid, str) or not isinstance(typ, str) or typ not in _TYPES:
        raise ValueError("not the header of a client assertion")
    return Claim(text(token.claims, "iss", 2048), text(token.claims, "sub", 2048), token)


def audience(claims: Json) -> str:
    """The only audience: with others in the list, they could use what is meant for us.

    Raises:
        ValueError: there is none, or more than one.
    """
    found = claims.get("aud")
    if isinstance(found, list) and len(found) == 1:  # pyright: ignore[reportUnknownArgumentType] - a list of JSON
        return text({"aud": found[0]}, "aud", 2048)
    return text(claims, "aud", 2048)


def check_now(claims: Json, now: float) -> None:
    """Refuse what has expired or does not hold yet.

    Raises:
        ValueError: it does not hold now.
    """
    if seconds(claims, "exp") <= now - LEEWAY_S:
        raise ValueError("expired")
    if "nbf" in claims and seconds(claims, "nbf") > now + LEEWAY_S:
        raise ValueError("not yet")
