"""Is this client who it says it is? By a secret (made, stored as a digest, checked) or an assertion."""

import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from hmac import compare_digest
from math import ceil

from broker.identity.assertions import Assertions, read_assertion
from broker.identity.federation import Federation
from broker.identity.interface import AgentStore, Evidence, Secret
from broker.model import Agent, AgentId, AgentStatus, Clock

SECRET_PREFIX = "bk_"
"""Lets secret scanners recognise a leaked secret."""

FAILURES_ALLOWED = 10
WINDOW_S = 60
TRACKED_PAIRS = 4096

_NOBODY = Secret(sha256(secrets.token_bytes(32)).digest(), created_at=0)
"""Compared with where there is nothing to compare: an unknown client takes the time of a known one."""


def new_secret() -> str:
    """A client secret: 256 random bits after a prefix, only `[A-Za-z0-9_-]`.

    No character needs form encoding: clients differ in whether they do it in HTTP Basic (RFC 6749 §2.3.1).
    """
    return SECRET_PREFIX + secrets.token_urlsafe(32)


def digest(secret: str) -> bytes:
    """What is stored of a secret. With 256 random bits there is nothing to guess, so no slow hash."""
    return sha256(secret.encode()).digest()


@dataclass(frozen=True, slots=True)
class Attempt:
    """The outcome of one attempt to authenticate.

    `agent` is whom the client id names, if anybody, accepted or not. `evidence` is set where it was
    accepted; `retry_after_s` where nothing was looked at, because this pair of client and address has
    failed too often.
    """

    evidence: Evidence | None = None
    agent: Agent | None = None
    retry_after_s: int | None = None

    @property
    def accepted(self) -> bool:
        """Whether it is this client."""
        return self.evidence is not None


class Clients:
    """Authenticates OAuth clients.

    Args:
        agents: the live records and their secrets.
        assertions: checks what clients have signed.
        federation: checks what others have signed for them.
        clock: Unix time in seconds.
    """

    def __init__(
        self, agents: AgentStore, assertions: Assertions, federation: Federation, clock: Clock
    ) -> None:
        self._agents = agents
        self._assertions = assertions
        self._federation = federation
        self._clock = clock
        self._failures = Failures(clock)

    async def authenticate(
        self, client_id: str, secret: str, address: str, *, method: str = "client_secret_basic"
    ) -> Attempt:
        """Try a secret. A wrong one and an unknown or inactive client are the same refusal in the same time.

        Args:
            client_id: as presented; nothing in it is trusted.
            secret: as presented.
            address: where the attempt comes from. Failures count per client and address: nobody
                can lock a client out from somewhere else.
            method: how it was presented (RFC 8414 §2).
        """

        async def proof() -> Evidence | None:
            matched = self._matching(secret, await self._agents.secrets(AgentId(client_id)))
            return Evidence(method, matched.id, launched=matched.launch is not None) if matched else None

        return await self._attempt(client_id, address, proof)

    async def authenticate_assertion(self, assertion: str, client_id: str | None, address: str) -> Attempt:
        """Try a client assertion (RFC 7523 §3). Refused like a wrong secret, in the same time.

        Args:
            assertion: as presented; nothing in it is trusted.
            client_id: as presented beside it, if at all; then it has to be the same client.
            address: where the attempt comes from.

        Raises:
            StorageUnavailable: it cannot be noted that the assertion is used.
        """
        try:
            claim = read_assertion(assertion)
        except ValueError:
            return await self._attempt(client_id or "", address, _unproven)
        federated = self._federation.knows(claim)
        named = self._federation.agent(claim) if federated else claim.subject
        if named is None or client_id not in {None, named}:
            return await self._attempt(client_id or claim.subject, address, _unproven)
        proves = self._federation.proves if federated else self._assertions.proves
        return await self._attempt(named, address, partial(proves, claim))

    async def _attempt(
        self, client_id: str, address: str, proof: Callable[[], Awaitable[Evidence | None]]
    ) -> Attempt:
        pair = (client_id[:256], address)
        if wait := self._failures.wait_s(pair):
            return Attempt(retry_after_s=wait)
        agent = await self._agents.agent(AgentId(client_id))
        evidence = await proof()
        if evidence is not None and agent is not None and agent.status is AgentStatus.ACTIVE:
            self._failures.forget(pair)
            return Attempt(evidence, agent)
        self._failures.count(pair)
        return Attempt(agent=agent)

    def _matching(self, secret: str, stored: Sequence[Secret]) -> Secret | None:
        presented, now = digest(secret), self._clock()
        matched: Secret | None = None
        for candidate in stored or (_NOBODY,):
            equal = compare_digest(presented, candidate.digest)
            if equal and (candidate.not_after is None or now < candidate.not_after):
                matched = candidate
        return matched


async def _unproven() -> None:
    return None


class Failures:
    """Counts failures per (client, address) within a window. Holds at most `TRACKED_PAIRS` of them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()

    def wait_s(self, pair: tuple[str, str]) -> int:
        """Seconds until this pair may try again; 0 means now."""
        count, ends = self._seen.get(pair, (0, 0.0))
        left = ends - self._clock()
        return ceil(left) if count >= FAILURES_ALLOWED and left > 0 else 0

    def count(self, pair: tuple[str, str]) -> None:
        """Note a failure; the first of a pair opens its window."""
        now = self._clock()
        count, ends = self._seen.pop(pair, (0, 0.0))
        self._seen[pair] = (count + 1, ends) if now < ends else (1, now + WINDOW_S)
        if len(self._seen) > TRACKED_PAIRS:
            self._seen.popitem(last=False)

    def forget(self, pair: tuple[str, str]) -> None:
        """Start afresh: the pair has authenticated."""
        self._seen.pop(pair, None)
