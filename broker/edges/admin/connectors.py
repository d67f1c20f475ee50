"""What can operators see of the catalogue? How connectors are and what they offer, not their settings."""

from collections.abc import Sequence
from typing import Literal, Protocol

from pydantic import Field

from broker.catalog.mount import Mount
from broker.edges.admin.operation import AnyOperation, Asked, Operation
from broker.edges.admin.shapes import NoQuery, Nothing, Shape
from broker.errors import UnknownTarget
from broker.identity.operators import Right
from broker.model import Kind, SideEffect, Target


class ConnectorFacts(Shape):
    """A connector."""

    name: str
    prefix: str
    agent: str | None = Field(description="the agent that its upstream acts as")
    state: Literal["ok", "failed", "opening"]
    problem: str | None = Field(description="why it offers nothing now")
    offers: int = Field(description="how many things can be called through it")


class AllConnectors(Shape):
    """All connectors, by name."""

    items: list[ConnectorFacts]


class TargetFacts(Shape):
    """One thing that can be called, as agents see it."""

    kind: Kind
    name: str
    upstream_name: str
    side_effect: SideEffect
    labels: list[str]
    price_micro_usd: int = Field(description="the worst case of one call")
    price_source: str


class ConnectorDetail(ConnectorFacts):
    """A connector with all that it offers."""

    targets: list[TargetFacts]


class Catalog(Protocol):
    """What this reads."""

    @property
    def mounts(self) -> Sequence[Mount]:
        """The connectors."""
        ...

    def targets(self, kind: Kind) -> Sequence[Target]:
        """All targets of one kind."""
        ...


class Connectors:
    """The catalogue, to operators."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def operations(self) -> Sequence[AnyOperation]:
        """All that can be asked."""
        return [
            Operation("GET", "/connectors", Right.READ, self.list, AllConnectors),
            Operation("GET", "/connectors/{connector}", Right.READ, self.show, ConnectorDetail),
        ]

    async def list(self, asked: Asked[NoQuery, Nothing]) -> AllConnectors:  # noqa: ARG002 - the shape of all
        """All connectors, with their state."""
        mounts = sorted(self._catalog.mounts, key=lambda mount: mount.name)
        return AllConnectors(items=[_facts(mount, self._targets(mount)) for mount in mounts])

    async def show(self, asked: Asked[NoQuery, Nothing]) -> ConnectorDetail:
        """One connector, with all that it offers."""
        name = asked.path["connector"]
        mount = next((mount for mount in self._catalog.mounts if mount.name == name), None)
        if mount is None:
            raise UnknownTarget(f"there is no connector `{name}`", hint="GET /admin/api/connectors lists all")
        targets = self._targets(mount)
        return ConnectorDetail(
            **dict(_facts(mount, targets)), targets=[_target_facts(target) for target in targets]
        )

    def _targets(self, mount: Mount) -> Sequence[Target]:
        return [t for kind in Kind for t in self._catalog.targets(kind) if t.connector == mount.name]


def _facts(mount: Mount, targets: Sequence[Target]) -> ConnectorFacts:
    return ConnectorFacts(
        name=mount.name,
        prefix=mount.names.prefix,
        agent=mount.agent,
        state="failed" if mount.problem else "ok" if mount.opened else "opening",
        problem=mount.problem,
        offers=len(targets),
    )


def _target_facts(target: Target) -> TargetFacts:
    return TargetFacts(
        kind=target.kind,
        name=target.name,
        upstream_name=target.upstream_name,
        side_effect=target.side_effect,
        labels=sorted(target.labels),
        price_micro_usd=target.price,
        price_source=target.price_source,
    )
