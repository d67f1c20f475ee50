"""What can operators do with agents? Enrol, look, change, stop; nothing that they may not be asked about."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, Protocol

import orjson
from pydantic import Field

from broker.audit.interface import SYSTEM_LOG, Filter, LogReader
from broker.edges.admin.cursors import Cursors
from broker.edges.admin.operation import AnyOperation, Asked, Operation
from broker.edges.admin.shapes import (
    Because,
    Line,
    MicroDollars,
    Name,
    NoQuery,
    Nothing,
    Page,
    PagedQuery,
    Shape,
    Time,
    time_of,
    time_or_none,
)
from broker.errors import UnknownTarget
from broker.identity.clients import digest, new_secret
from broker.identity.interface import AgentFilter, AgentStore
from broker.identity.operators import Right
from broker.identity.records import MOST_ATTRIBUTES, attribute_of
from broker.identity.seals import Sealer
from broker.journal import Journal
from broker.ledger.interface import LedgerReader
from broker.model import Agent, AgentId, AgentStatus, Attestation, Clock, Json, MicroUSD, OrganisationId

Attributes = Annotated[
    dict[
        Annotated[str, Field(pattern=r"^[!-~]([ -~]{0,254}[!-~])?$")],
        Annotated[Line, Field(min_length=1)],
    ],
    # Pydantic writes the pattern of the keys, and leaves other keys open.
    Field(max_length=MOST_ATTRIBUTES, json_schema_extra={"additionalProperties": False}),
]
Roles = Annotated[list[Annotated[Line, Field(min_length=1)]], Field(min_length=1, max_length=64)]


class ManifestFacts(Shape):
    """The signed manifest that stands behind an agent's record."""

    version: str
    model: str
    model_version: str
    prompt_sha256: str
    tools_sha256: str
    code_sha256: str
    owner: str
    not_after: Time
    kid: str = Field(description="thumbprint of the key that signed it")
    digest: str = Field(description="SHA-256 of the JWS")


class AgentFacts(Shape):
    """An agent."""

    id: str
    organisation: str
    team: str | None
    roles: list[str]
    status: AgentStatus
    owner: str | None
    purpose: str | None
    model: str | None
    model_version: str | None
    attributes: dict[str, str]
    cap_micro_usd: int | None
    attestation: Attestation
    manifest: ManifestFacts | None
    drift: str | None = Field(description="how it was seen to contradict its manifest")
    created_at: Time | None
    changed_at: Time | None


class AgentDetail(AgentFacts):
    """An agent, with what it does."""

    last_seen: Time | None = Field(description="when it last began a call, within a minute")
    spent_micro_usd: int
    held_micro_usd: int = Field(description="what its calls in flight hold")


class NewAgent(Shape):
    """An agent to be enrolled."""

    id: Name
    organisation: Name = "default"
    roles: Roles
    team: Line | None = None
    owner: Line | None = Field(default=None, description="who answers for it; default: who enrols it")
    purpose: Line | None = None
    model: Line | None = None
    model_version: Line | None = None
    attributes: Attributes = Field(default_factory=dict)
    cap_micro_usd: MicroDollars | None = None


class EnrolledAgent(Shape):
    """An agent that has just been enrolled."""

    agent: AgentFacts
    client_id: str
    client_secret: str = Field(description="shown once, kept nowhere")


class AgentChange(Shape):
    """What is to be different. What is left out stays; null is none."""

    roles: Roles | None = Field(default=None, description="replace those it has; null leaves them")
    team: Line | None = None
    owner: Line | None = None
    purpose: Line | None = None
    model: Line | None = None
    model_version: Line | None = None
    attributes: Attributes | None = Field(default=None, description="replace those it has; null is none")
    cap_micro_usd: MicroDollars | None = None
    reason: Line = Field(default="", description="goes into the log")


class AgentsQuery(PagedQuery):
    """Which agents."""

    organisation: Name | None = Field(default=None, description="only agents of this organisation")
    status: Literal["active", "suspended", "revoked"] | None = Field(
        default=None, description="only agents of this status"
    )


class PastChange(Shape):
    """A record about an agent."""

    seq: int
    record: dict[str, Any] = Field(description="as it lies in the log")


class AgentReader(Protocol):
    """What this reads."""

    @property
    def agents(self) -> AgentStore:
        """The agents."""
        ...

    @property
    def log(self) -> LogReader:
        """The logs."""
        ...

    @property
    def ledger(self) -> LedgerReader:
        """What is spent and held."""
        ...


class Agents:
    """The agents, to operators.

    Args:
        store: who there is.
        journal: changes them, and records it.
        sealer: seals cursors.
        clock: Unix time in seconds.
    """

    def __init__(
        self, store: AgentReader, journal: Journal, sealer: Sealer, clock: Clock = time.time
    ) -> None:
        self._store = store
        self._journal = journal
        self._pages = Cursors(sealer, "agents")
        self._past = Cursors(sealer, "history")
        self._clock = clock

    def operations(self) -> Sequence[AnyOperation]:
        """All that can be asked."""
        one = "/agents/{agent}"
        return [
            Operation("GET", "/agents", Right.READ, self.list, Page[AgentFacts], query=AgentsQuery),
            Operation("POST", "/agents", Right.AGENTS, self.enrol, EnrolledAgent, body=NewAgent, status=201),
            Operation("GET", one, Right.READ, self.show, AgentDetail),
            Operation("PATCH", one, Right.AGENTS, self.change, AgentFacts, body=AgentChange),
            Operation("GET", f"{one}/history", Right.READ, self.history, Page[PastChange], query=PagedQuery),
            Operation("POST", f"{one}/suspend", Right.AGENTS, self.suspend, AgentFacts, body=Because),
            Operation("POST", f"{one}/resume", Right.AGENTS, self.resume, AgentFacts, body=Because),
            Operation("POST", f"{one}/revoke", Right.AGENTS, self.revoke, AgentFacts, body=Because),
        ]

    async def list(self, asked: Asked[AgentsQuery, Nothing]) -> Page[AgentFacts]:
        """Agents, by id."""
        query, at = asked.query, self._pages.read(asked)
        where = AgentFilter(
            organisation=query.organisation,
            status=AgentStatus(query.status) if query.status else None,
            after="" if at is None else at["after"],
            limit=query.limit + 1,
        )
        found = list(await self._store.agents.agents(where))
        shown = found[: query.limit]
        further = len(found) > query.limit
        return Page(
            items=[facts(agent) for agent in shown],
            next=self._pages.make(asked, {"after": shown[-1].id}) if further else None,
        )

    async def enrol(self, asked: Asked[NoQuery, NewAgent]) -> EnrolledAgent:
        """Enrol an agent. Its secret is shown once and kept nowhere."""
        new, secret = asked.body, new_secret()
        agent = Agent(
            id=AgentId(new.id),
            organisation=OrganisationId(new.organisation),
            roles=frozenset(new.roles),
            team=new.team or None,
            cap_micro_usd=_cap(new.cap_micro_usd),
            owner=new.owner or asked.operator.id,
            created_at=int(self._clock()),
            purpose=new.purpose or None,
            model=new.model or None,
            model_version=new.model_version or None,
            attributes=_attributes(new.attributes),
        )
        await self._journal.enrol(agent, digest(secret), by=asked.operator.by)
        return EnrolledAgent(agent=facts(agent), client_id=agent.id, client_secret=secret)

    async def show(self, asked: Asked[NoQuery, Nothing]) -> AgentDetail:
        """One agent, with what it has spent and when it was last seen."""
        agent = await known_agent(self._store.agents, asked.path["agent"])
        balance = await self._store.ledger.balance(f"agent:{agent.id}")
        seen = await self._store.agents.last_seen(agent.id)
        return AgentDetail(
            **dict(facts(agent)),
            last_seen=time_or_none(seen),
            spent_micro_usd=balance.spent,
            held_micro_usd=balance.held,
        )

    async def change(self, asked: Asked[NoQuery, AgentChange]) -> AgentFacts:
        """Change what is known of an agent. It applies from its next call on."""
        given = {name: getattr(asked.body, name) for name in asked.body.model_fields_set - {"reason"}}
        return await self._changed(asked, _changing(given), asked.body.reason)

    async def history(self, asked: Asked[PagedQuery, Nothing]) -> Page[PastChange]:
        """Everything that was done to an agent, oldest first."""
        agent = await known_agent(self._store.agents, asked.path["agent"])
        at = self._past.read(asked)
        where = Filter(agent=agent.id, from_seq=0 if at is None else at["seq"])
        items: list[PastChange] = []
        async for record in self._store.log.records(SYSTEM_LOG, where):
            if len(items) == asked.query.limit:
                return Page(items=items, next=self._past.make(asked, {"seq": record.seq}))
            items.append(PastChange(seq=record.seq, record=orjson.loads(record.body)))
        return Page(items=items, next=None)

    async def suspend(self, asked: Asked[NoQuery, Because]) -> AgentFacts:
        """The kill switch: refuse an agent and all it has delegated, cancel its calls in flight."""
        return await self._set(asked, AgentStatus.SUSPENDED)

    async def resume(self, asked: Asked[NoQuery, Because]) -> AgentFacts:
        """Let a suspended agent act again."""
        return await self._set(asked, AgentStatus.ACTIVE)

    async def revoke(self, asked: Asked[NoQuery, Because]) -> AgentFacts:
        """Stop an agent for good: it can never be resumed, and its name stays taken."""
        return await self._set(asked, AgentStatus.REVOKED)

    async def _set(self, asked: Asked[NoQuery, Because], status: AgentStatus) -> AgentFacts:
        return await self._changed(asked, lambda agent: replace(agent, status=status), asked.body.reason)

    async def _changed(
        self, asked: Asked[NoQuery, Any], change: Callable[[Agent], Agent], reason: str
    ) -> AgentFacts:
        """Change an agent; the second time changes and records nothing."""
        name = AgentId(asked.path["agent"])
        await self._journal.change_agent(name, change, by=asked.operator.by, reason=reason)
        return facts(await known_agent(self._store.agents, name))


async def known_agent(agents: AgentStore, name: str) -> Agent:
    """An agent by its id.

    Raises:
        UnknownTarget: there is none.
    """
    agent = await agents.agent(AgentId(name))
    if agent is None:
        raise UnknownTarget(f"there is no agent `{name}`", hint="GET /admin/api/agents lists all")
    return agent


def facts(agent: Agent) -> AgentFacts:
    """An agent as the API shows it."""
    manifest = agent.manifest
    signed = None
    if manifest is not None:
        said: Json = {name: getattr(manifest, name) for name in ManifestFacts.model_fields}
        said["not_after"] = time_of(manifest.not_after)
        signed = ManifestFacts(**said)
    return AgentFacts(
        id=agent.id,
        organisation=agent.organisation,
        team=agent.team,
        roles=sorted(agent.roles),
        status=agent.status,
        owner=agent.owner,
        purpose=agent.purpose,
        model=agent.model,
        model_version=agent.model_version,
        attributes=dict(agent.attributes),
        cap_micro_usd=agent.cap_micro_usd,
        attestation=agent.attestation,
        manifest=signed,
        drift=agent.drift,
        created_at=time_or_none(agent.created_at),
        changed_at=time_or_none(agent.changed_at),
    )


def _changing(given: Json) -> Callable[[Agent], Agent]:
    """A change of a record to what was given; an empty text is none."""
    changes: Json = {name: value if value != "" else None for name, value in given.items()}
    if "attributes" in changes:
        changes["attributes"] = _attributes(changes["attributes"] or {})
    if "roles" in changes:
        roles = changes.pop("roles")
        changes |= {"roles": frozenset(roles)} if roles is not None else {}
    return lambda agent: replace(agent, **changes)


def _attributes(given: dict[str, str]) -> dict[str, str]:
    return dict(attribute_of(key, value) for key, value in given.items())


def _cap(amount: int | None) -> MicroUSD | None:
    return None if amount is None else MicroUSD(amount)
