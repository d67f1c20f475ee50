"""Principals and targets as tests need them."""

from broker.model import Agent, AgentId, Kind, MicroUSD, OrganisationId, Principal, SideEffect, Target


def agent(name: str = "ann", *roles: str, team: str | None = None, organisation: str = "acme") -> Agent:
    return Agent(AgentId(name), OrganisationId(organisation), frozenset(roles), team)


def chain(*actors: Agent) -> Principal:
    return Principal(actors[0], actors[-1].id, actors, frozenset(), "t1", "x1", 0)


def having(*roles: str, team: str | None = None, organisation: str = "acme") -> Principal:
    return chain(agent("ann", *roles, team=team, organisation=organisation))


def tool(
    name: str,
    *,
    effect: SideEffect = SideEffect.WRITES,
    labels: frozenset[str] = frozenset(),
    price: int = 0,
    kind: Kind = Kind.TOOL,
) -> Target:
    connector = name.partition("__")[0]
    return Target(kind, name, connector, name, {}, MicroUSD(price), "test", effect, labels)
