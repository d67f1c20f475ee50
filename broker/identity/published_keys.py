"""Which keys does somebody publish at an address (`jwks_uri`)? Fetched when needed, and seldom.

Strangers can make us look for a key, by naming one that nobody has. So an address is asked at most once
in `PAUSE_S` for that, at most once at a time, and after each failure less often.
"""

import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio

from broker.errors import InvalidRequest, UpstreamError
from broker.identity.compact import Unverified
from broker.identity.interface import KeySource
from broker.identity.jwks import LARGEST_JWKS, PublicKey, usable_keys
from broker.model import Clock

logger = logging.getLogger("broker.identity")

FRESH_S = 300
"""How long keys are used before they are looked at again, in seconds; a key taken down works that long."""
STALE_S = 900
"""How old keys may become, in seconds, while their address cannot be read."""
PAUSE_S = 30
"""How soon an address is asked again for a key that it did not have, in seconds."""
LONGEST_PAUSE_S = 480
KEPT = 1024
"""How many addresses are remembered; the least recently used go first."""


@dataclass(slots=True)
class _Known:
    """What is known of one address. Times are Unix seconds."""

    keys: Sequence[PublicKey] = ()
    read_at: float = -STALE_S
    ask_from: float = 0
    failures: int = 0
    turn: anyio.Lock = field(default_factory=anyio.Lock)


class PublishedKeys:
    """The key sets that agents and issuers publish.

    Args:
        source: fetches a document.
        clock: Unix time in seconds.
        capacity: how many addresses are remembered.
    """

    def __init__(self, source: KeySource, clock: Clock, *, capacity: int = KEPT) -> None:
        self._source = source
        self._clock = clock
        self._capacity = capacity
        self._known: OrderedDict[str, _Known] = OrderedDict()

    async def fitting(self, url: str, token: Unverified, *, allow_private: bool) -> Sequence[PublicKey]:
        """The keys at an address that a token may be checked with; none if it cannot be read.

        Args:
            url: where they are published.
            token: names its key, or not.
            allow_private: whether the address may be on this machine or in a private network.
        """
        known = self._entry(url)
        found = self._usable(known, token)
        if self._lacks(known, found):
            async with known.turn:  # who waits here finds what the one before has fetched
                found = self._usable(known, token)
                if self._lacks(known, found):
                    # Whoever hangs up meanwhile must not take the others' answer along. It has an end.
                    with anyio.CancelScope(shield=True):
                        await self._refresh(url, known, allow_private=allow_private)
                    found = self._usable(known, token)
        return found

    def _lacks(self, known: _Known, found: Sequence[PublicKey]) -> bool:
        """Whether to ask: nothing fits, or what fits has not been looked at for a while."""
        now = self._clock()
        return now >= known.ask_from and (not found or now >= known.read_at + FRESH_S)

    def _usable(self, known: _Known, token: Unverified) -> Sequence[PublicKey]:
        if self._clock() >= known.read_at + STALE_S:
            return ()
        algorithm, kid = token.header["alg"], token.header.get("kid")
        return [key for key in known.keys if key.fits(algorithm, kid)]

    async def _refresh(self, url: str, known: _Known, *, allow_private: bool) -> None:
        try:
            content = await self._source.fetch(url, largest=LARGEST_JWKS, allow_private=allow_private)
            keys = usable_keys(content)
        except (UpstreamError, InvalidRequest) as error:
            known.failures += 1
            pause = min(PAUSE_S << min(known.failures - 1, 10), LONGEST_PAUSE_S)
            known.ask_from = self._clock() + pause
            logger.warning("no keys from %s, asked again in %d s: %s", url, pause, error.message)
            return
        known.keys, known.failures = keys, 0
        known.read_at = self._clock()
        known.ask_from = known.read_at + PAUSE_S

    def _entry(self, url: str) -> _Known:
        known = self._known.get(url)
        if known is None:
            known = self._known[url] = _Known()
            if len(self._known) > self._capacity:
                self._known.popitem(last=False)
        self._known.move_to_end(url)
        return known
