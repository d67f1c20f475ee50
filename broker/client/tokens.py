"""How long is an agent's access token good? It is renewed before it expires.

While one call renews the token, the others go on with the one that is still good.
"""

import time
from dataclasses import dataclass, field

import anyio

from broker.client.oauth import AuthorizationServer
from broker.errors import BrokerError
from broker.model import Clock

RENEW_AT = 0.8
"""Share of its life after which a token is renewed."""


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token, when to renew it and when it ends, by the agent's own clock."""

    token: str = field(repr=False)
    renew_at: float
    ends_at: float


class Tokens:
    """The access token of one agent, shared by all of its calls.

    Args:
        server: gives the tokens.
        clock: seconds that only grow.
    """

    def __init__(self, server: AuthorizationServer, clock: Clock = time.monotonic) -> None:
        self._server = server
        self._clock = clock
        self._renewing = anyio.Lock()
        self._current: AccessToken | None = None

    async def token(self, *, refused: str | None = None, lasting_s: float = 0) -> str:
        """A token that is good now.

        Args:
            refused: the token that the broker has not accepted; it is not given again.
            lasting_s: for how many more seconds the token should be good, if tokens live that long.

        Raises:
            Unauthenticated: the credential is not accepted.
            UpstreamUnreachable: no broker answers.
            UpstreamError: the broker gives no token now.
        """
        good = self._good(refused, lasting_s)
        if good and (self._clock() < good.renew_at or self._renewing.locked()):
            return good.token
        async with self._renewing:
            good = self._good(refused, lasting_s)
            if good is None or self._clock() >= good.renew_at:
                good = self._current = await self._renewed(good)
        return good.token

    def _good(self, refused: str | None, lasting_s: float) -> AccessToken | None:
        current = self._current
        usable = current and current.token != refused and self._clock() + lasting_s < current.ends_at
        return current if usable else None

    async def _renewed(self, good: AccessToken | None) -> AccessToken:
        """A new token; while the broker gives none, the old one as long as it is good."""
        asked_at = self._clock()
        try:
            answer = await self._server.token()
        except BrokerError:
            if good is None or self._clock() >= good.ends_at:
                raise
            return good
        lifetime = int(answer["expires_in"])
        return AccessToken(answer["access_token"], asked_at + RENEW_AT * lifetime, asked_at + lifetime)
