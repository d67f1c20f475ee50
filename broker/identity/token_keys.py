"""Which key signs access tokens now, and which are still accepted? They change while the broker runs."""

from dataclasses import dataclass, field

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from broker.errors import ConfigurationError
from broker.identity.interface import KeyState, KeyStore, KeyUse, StoredKey
from broker.model import Clock, Json


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key pair that signs access tokens (ES256). `kid` is its thumbprint (RFC 7638)."""

    kid: str
    pair: ECKey = field(repr=False)
    state: KeyState
    created_at: int
    not_after: int | None

    def holds(self, now: float) -> bool:
        """Whether what it signed is accepted."""
        return self.not_after is None or now < self.not_after


class TokenKeys:
    """The keys that sign access tokens: the active one signs, all that hold verify.

    Args:
        store: where they are kept.
        clock: Unix time in seconds.
    """

    def __init__(self, store: KeyStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._stored: list[StoredKey] = []
        self._by_kid: dict[str, SigningKey] = {}
        self.generation = 0
        """Grows with every change: what was verified before is to be verified again."""

    async def refresh(self) -> bool:
        """Take into use what is in the store, making what a first start lacks; whether anything changed.

        Raises:
            ConfigurationError: a stored key cannot be read; the previous ones stay in use.
        """
        now = int(self._clock())
        await self._store.keys(KeyUse.TOKENS, lambda: new_token_key(now, KeyState.ACTIVE))
        stored = await self._store.keys(KeyUse.TOKENS, lambda: new_token_key(now), KeyState.NEXT)
        if list(stored) == self._stored:
            return False
        self._by_kid = {key.kid: _signing(key) for key in stored}
        self._stored = list(stored)
        self.generation += 1
        return True

    @property
    def active(self) -> SigningKey:
        """The key that new tokens are signed with."""
        return next(key for key in self._by_kid.values() if key.state is KeyState.ACTIVE)

    def held(self) -> list[SigningKey]:
        """All keys that are still of use: the next, the active one, those that retire."""
        now, order = self._clock(), list(KeyState)
        held = [key for key in self._by_kid.values() if key.holds(now)]
        return sorted(held, key=lambda key: order.index(key.state))

    def find(self, kid: str) -> SigningKey | None:
        """The key of this name, if what it signed is still accepted."""
        key = self._by_kid.get(kid)
        return key if key is not None and key.holds(self._clock()) else None

    def jwks(self) -> Json:
        """The public halves of all that hold (RFC 7517 §5), the next one included."""
        extra = {"use": "sig", "alg": "ES256"}
        return {"keys": [{**k.pair.as_dict(private=False), "kid": k.kid, **extra} for k in self.held()]}


def new_token_key(now: int, state: KeyState = KeyState.NEXT) -> StoredKey:
    """A new key pair; `now` is Unix seconds."""
    key = ECKey.generate_key("P-256")
    material = orjson.dumps(key.as_dict(private=True)).decode()
    return StoredKey(KeyUse.TOKENS, key.thumbprint(), material, now, state)


def unreadable(stored: StoredKey) -> ConfigurationError:
    """What is said of a stored key that is damaged."""
    return ConfigurationError(
        f"the stored key `{stored.kid}` for {stored.use} cannot be read",
        hint="restore the broker's state from a backup made before it was damaged",
    )


def _signing(stored: StoredKey) -> SigningKey:
    try:
        pair = ECKey.import_key(orjson.loads(stored.material))
    except (JoseError, UnsupportedAlgorithm, ValueError, KeyError) as error:
        raise unreadable(stored) from error
    if not pair.is_private or pair.curve_name != "P-256" or pair.thumbprint() != stored.kid:
        raise unreadable(stored)
    return SigningKey(stored.kid, pair, stored.state, stored.created_at, stored.not_after)
