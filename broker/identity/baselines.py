"""Is the agent that asks for a token still the one that was attested? Its own words against its manifest.

Only an agent that holds one of its keys can say anything here, so no stranger can make another one drift.
"""

from collections.abc import Sequence
from typing import Final, Protocol

from broker.identity.assertions import read_assertion
from broker.identity.attestation import STATEMENT, Difference, contradictions
from broker.model import Agent, AgentId, Clock, Json
from broker.settings import TokenSettings

MISSING: Final = Difference("manifest_sha256", None, None)


class DriftLog(Protocol):
    """Where it is written down that an agent is not what was attested."""

    async def drifted(self, agent_id: AgentId, why: str) -> None:
        """Record it, and lower its level until an operator has looked at it. The same again is recorded once.

        Raises:
            StorageUnavailable: it cannot be recorded.
        """
        ...


class Baselines:
    """Holds agents against their manifests when they ask for a token.

    Args:
        settings: what happens to those that differ.
        log: where it is recorded.
        clock: Unix time in seconds.
    """

    def __init__(self, settings: TokenSettings, log: DriftLog, clock: Clock) -> None:
        self._refuses = settings.manifest_mismatch == "refuse"
        self._required = settings.manifest_required
        self._log = log
        self._clock = clock

    async def objection(self, agent: Agent, assertion: str | None) -> str:
        """Why an agent gets no token; empty if it may have one.

        Args:
            agent: the client, authenticated.
            assertion: the client assertion that it has authenticated with, if it did.

        Raises:
            StorageUnavailable: it cannot be recorded that it differs.
        """
        found = self._differences(agent, assertion)
        if not found:
            return ""
        why = told(found)
        if self._refuses:
            return why
        await self._log.drifted(agent.id, why)
        return ""

    def _differences(self, agent: Agent, assertion: str | None) -> Sequence[Difference]:
        if agent.manifest is None:
            return ()
        said: Json = {}
        if assertion is not None:
            claim = read_assertion(assertion)
            if claim.issuer != agent.id:
                return ()  # a platform vouches for the workload, and knows nothing of manifests
            said = claim.token.claims
        if self._required and "manifest_sha256" not in said:
            return (MISSING,)
        return contradictions(agent, said, self._clock()) if said.keys() & STATEMENT.keys() else ()


def told(found: Sequence[Difference]) -> str:
    """Differences in one line."""
    return "; ".join(map(_told, found))


def _told(one: Difference) -> str:
    if one is MISSING:
        return "it does not say which manifest it runs under"
    if one.what == "not_after":
        return "its manifest has ended"
    return f"it says {one.what} `{one.now}`, its manifest `{one.baseline}`"
