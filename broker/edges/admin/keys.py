"""What can operators do with the keys that sign access tokens? Their names and states, never the keys."""

import time
from collections.abc import Sequence

from pydantic import Field

from broker.credentials import Credentials
from broker.edges.admin.operation import AnyOperation, Asked, Operation
from broker.edges.admin.shapes import NoQuery, Nothing, Shape, Time, time_of, time_or_none
from broker.identity.interface import KeyState
from broker.identity.operators import Right
from broker.identity.token_keys import TokenKeys, new_token_key
from broker.identity.tokens import LEEWAY_S, MAX_LIFETIME_S
from broker.model import Clock


class SigningKeyFacts(Shape):
    """A key that signs, signed, or will sign access tokens."""

    kid: str = Field(description="its thumbprint (RFC 7638)")
    state: KeyState
    created_at: Time
    not_after: Time | None = Field(description="from when on what it signed is refused")


class SigningKeys(Shape):
    """All keys that hold: the next, the active one, those that retire."""

    items: list[SigningKeyFacts]


class KeyRotation(Shape):
    """Which key is to retire."""

    active: str = Field(
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="the key that is active now: asking twice rotates once",
    )
    drop: bool = Field(
        default=False, description="it has leaked: refuse every token that it signed, from now on"
    )


class BrokerKeys:
    """The signing keys, to operators.

    Args:
        keys: what is in use.
        credentials: rotates them, and records it.
        clock: Unix time in seconds.
    """

    def __init__(self, keys: TokenKeys, credentials: Credentials, clock: Clock = time.time) -> None:
        self._keys = keys
        self._credentials = credentials
        self._clock = clock

    def operations(self) -> Sequence[AnyOperation]:
        """All that can be asked."""
        return [
            Operation("GET", "/keys", Right.READ, self.list, SigningKeys),
            Operation("POST", "/keys/rotate", Right.KEYS, self.rotate, SigningKeys, body=KeyRotation),
        ]

    async def list(self, asked: Asked[NoQuery, Nothing]) -> SigningKeys:  # noqa: ARG002 - the shape of all
        """The keys that hold: the next, the active one, those that retire."""
        return await self._held()

    async def rotate(self, asked: Asked[NoQuery, KeyRotation]) -> SigningKeys:
        """Sign with the next key from now on. Tokens in use stay good for as long as they live."""
        now = int(self._clock())
        until = now if asked.body.drop else now + MAX_LIFETIME_S + LEEWAY_S
        await self._credentials.rotate_key(
            new_token_key(now), now=now, until=until, by=asked.operator.by, active=asked.body.active
        )
        return await self._held()

    async def _held(self) -> SigningKeys:
        """The keys as the store has them now."""
        await self._keys.refresh()
        return SigningKeys(
            items=[
                SigningKeyFacts(
                    kid=key.kid,
                    state=key.state,
                    created_at=time_of(key.created_at),
                    not_after=time_or_none(key.not_after),
                )
                for key in self._keys.held()
            ]
        )
