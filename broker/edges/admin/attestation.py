"""Is an agent what was signed? Its baseline, what contradicts it, and an operator's new baseline."""

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from pydantic import Field

from broker.edges.admin.agents import known_agent
from broker.edges.admin.credentials import PublicJwk
from broker.edges.admin.operation import AnyOperation, Asked, Operation
from broker.edges.admin.shapes import NoQuery, Nothing, Shape
from broker.identity.attestation import attested, differences, level_of, tools_digest, verified_manifest
from broker.identity.interface import AgentStore
from broker.identity.jwks import read_key
from broker.identity.operators import Right
from broker.journal import Journal
from broker.model import Agent, Attestation, Clock, Kind, Principal, Target


class DifferenceFacts(Shape):
    """One thing in which something differs from the baseline."""

    what: str
    baseline: str | None
    now: str | None


class Standing(Shape):
    """How an agent stands to its baseline."""

    agent: str
    attestation: Attestation
    why: str | None = Field(description="why the level is not what the manifest would give")
    drift: str | None = Field(description="how the running agent was seen to contradict its manifest")
    manifest_sha256: str | None
    tools_declared: str | None = Field(description="`tools_sha256` of the manifest")
    tools_offered: str = Field(description="the same digest of the tools that the broker lists to it now")
    tools_differ: bool = Field(description="whether these two differ; false without a manifest")


class NewBaseline(Shape):
    """A signed manifest, and the key that the operator vouches for."""

    manifest: str = Field(pattern=r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$", max_length=32768)
    jwk: PublicJwk
    check_only: bool = Field(default=False, description="show what would be different, and change nothing")


class Rebased(Shape):
    """What a new baseline changes."""

    agent: str
    attestation: Attestation
    taken: bool
    differences: list[DifferenceFacts]


class Catalog(Protocol):
    """What there is."""

    def targets(self, kind: Kind) -> Sequence[Target]:
        """All targets of one kind."""
        ...


Visible = Callable[[Principal, Sequence[Target]], Sequence[Target]]


class Attestations:
    """Baselines of agents, to operators.

    Args:
        agents: who there is.
        journal: changes them, and records it.
        catalog: what there is to be offered.
        visible: what of it an agent is shown.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        agents: AgentStore,
        journal: Journal,
        catalog: Catalog,
        visible: Visible,
        clock: Clock = time.time,
    ) -> None:
        self._agents = agents
        self._journal = journal
        self._catalog = catalog
        self._visible = visible
        self._clock = clock

    def operations(self) -> Sequence[AnyOperation]:
        """All that can be asked."""
        one = "/agents/{agent}/attestation"
        return [
            Operation("GET", one, Right.READ, self.show, Standing),
            Operation("POST", one, Right.AGENTS, self.rebase, Rebased, body=NewBaseline),
        ]

    async def show(self, asked: Asked[NoQuery, Nothing]) -> Standing:
        """How an agent stands to its baseline, and whether it is offered the tools that were signed."""
        agent = await known_agent(self._agents, asked.path["agent"])
        level, why = level_of(agent, self._clock())
        offered = tools_digest([target.definition for target in self._offered(agent)])
        declared = agent.manifest.tools_sha256 if agent.manifest else None
        return Standing(
            agent=agent.id,
            attestation=level,
            why=why or None,
            drift=agent.drift,
            manifest_sha256=agent.manifest.digest if agent.manifest else None,
            tools_declared=declared,
            tools_offered=offered,
            tools_differ=declared not in {None, offered},
        )

    async def rebase(self, asked: Asked[NoQuery, NewBaseline]) -> Rebased:
        """Take a signed manifest as the new baseline, and say what is different from the one before."""
        before = await known_agent(self._agents, asked.path["agent"])
        key = read_key(asked.body.jwk.model_dump(exclude_none=True))
        signed = verified_manifest(asked.body.manifest, key, self._clock())
        attested(before, signed)  # refuses what is not of this agent or contradicts its record
        if not asked.body.check_only:
            await self._journal.change_agent(
                before.id, lambda agent: attested(agent, signed), by=asked.operator.by, reason="attested"
            )
        after = await known_agent(self._agents, before.id)
        found = differences(before.manifest, signed)
        return Rebased(
            agent=after.id,
            attestation=after.attestation,
            taken=not asked.body.check_only,
            differences=[DifferenceFacts(what=d.what, baseline=d.baseline, now=d.now) for d in found],
        )

    def _offered(self, agent: Agent) -> Sequence[Target]:
        """The tools that an agent is listed when it acts on its own."""
        alone = Principal(agent, agent.id, (agent,), frozenset(), "", "", 0)
        return self._visible(alone, self._catalog.targets(Kind.TOOL))
