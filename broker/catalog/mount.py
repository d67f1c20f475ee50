"""One connector in its place: its names, and the targets that its offer makes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal
from typing import Any, Protocol, cast

from broker.catalog.breaker import State
from broker.catalog.delivery import Delivery
from broker.catalog.names import Names
from broker.catalog.pins import Pin
from broker.catalog.results import expose_definition
from broker.connector import Offer, Upstream
from broker.model import AgentId, Argument, Json, Kind, MicroUSD, SideEffect, Target


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a tool besides its definition: by the connector's author, then by the operator."""

    price_usd: str | None = None
    price_source: str | None = None
    side_effect: SideEffect | None = None
    cache_s: int | None = None
    labels: frozenset[str] = frozenset()
    risk: int = 0
    min_trust: int = 0
    arguments: tuple[Argument, ...] = ()
    own_fields: tuple[str, ...] = ()


class OperatorFacts(Protocol):
    """The operator's facts (from `policies/tools/*.yaml`)."""

    def __call__(self, name: str, kind: Kind = Kind.TOOL, connector: str = "") -> Facts:
        """What is said of a target, by its exposed name, its kind and who offers it."""
        ...


@dataclass(slots=True)
class Mount:
    """A connector, its names and time-out, the agent it acts as if it is one, and what it offered last.

    `ask`: nothing new of it is served before an operator has approved it.
    """

    name: str
    upstream: Upstream
    names: Names
    timeout_s: float
    agent: AgentId | None = None
    most: int | None = None
    """Calls at a time; None: no limit."""
    ask: bool = False
    opened: bool = False
    problem: str | None = None
    """Why it offers nothing now, for operators."""
    offer: Offer = field(default_factory=Offer)
    """What may be served of it."""
    listed: Sequence[Json] = ()
    """The definitions of its tools as they came, served or not."""
    waiting: tuple[Pin, ...] = ()
    """Definitions that are not served before an operator approves them."""
    delivery: Delivery = field(init=False)

    def __post_init__(self) -> None:
        self.delivery = Delivery(self.name, self.upstream, self.timeout_s, self.most)

    @property
    def state(self) -> str:
        """`ok`, `failed` where it offers nothing, `resting` where it is left alone after failures."""
        if self.problem:
            return "failed"
        return "ok" if self.delivery.breaker.state is State.CLOSED else "resting"

    def targets(self, operator: OperatorFacts) -> Iterator[Target]:
        """Everything in the last offer, under outside names."""
        for definition in self.offer.tools:
            yield self._tool(definition, operator)
        for definition in self.offer.prompts:
            name = str(definition["name"])
            exposed = self.names.exposed(name)
            yield self._target(Kind.PROMPT, exposed, name, {**definition, "name": exposed}, operator)
        for definition in self.offer.resources:
            uri = str(definition["uri"])
            exposed = self.names.exposed_uri(uri)
            yield self._target(Kind.RESOURCE, exposed, uri, {**definition, "uri": exposed}, operator)
        for definition in self.offer.templates:
            uri = str(definition["uriTemplate"])
            exposed = self.names.exposed_uri(uri)
            yield self._target(Kind.TEMPLATE, exposed, uri, {**definition, "uriTemplate": exposed}, operator)

        for definition in self.offer.models:
            name = str(definition["id"])
            exposed = self.names.exposed(name)
            described: Json = {"aliases": [], **definition, "id": exposed, "owned_by": self.name}
            yield self._target(Kind.MODEL, exposed, name, described, operator)

    def _tool(self, definition: Json, operator: OperatorFacts) -> Target:
        name = str(definition["name"])
        exposed = self.names.exposed(name)
        author = _author_facts(self.offer.facts.get(name, {}))
        ruled = operator(exposed, Kind.TOOL, self.name)
        price = ruled.price_usd if ruled.price_usd is not None else author.price_usd
        source = ruled.price_source or (f"connector:{self.name}" if price else "free")
        return Target(
            kind=Kind.TOOL,
            name=exposed,
            connector=self.name,
            upstream_name=name,
            definition=expose_definition({**definition, "name": exposed}, self.names.exposed_uri),
            price=micro_usd(price) if price else MicroUSD(0),
            price_source=source,
            side_effect=ruled.side_effect or author.side_effect or _annotated(definition),
            labels=ruled.labels | author.labels,
            agent=self.agent,
            arguments=ruled.arguments,
            own_fields=ruled.own_fields,
            risk=ruled.risk,
            min_trust=ruled.min_trust,
            cache_s=author.cache_s or 0 if ruled.cache_s is None else ruled.cache_s,
        )

    def _target(
        self, kind: Kind, exposed: str, name: str, definition: Json, operator: OperatorFacts
    ) -> Target:
        ruled = operator(exposed, kind, self.name)
        return Target(
            kind=kind,
            name=exposed,
            connector=self.name,
            upstream_name=name,
            definition=definition,
            side_effect=SideEffect.READS,
            labels=ruled.labels,
            agent=self.agent,
            risk=ruled.risk,
            min_trust=ruled.min_trust,
        )


def micro_usd(usd: str) -> MicroUSD:
    """US dollars as text to micro-USD, rounded up once."""
    return MicroUSD(int((Decimal(usd) * 1_000_000).to_integral_value(ROUND_CEILING)))


def _author_facts(facts: Mapping[str, Any]) -> Facts:
    effect = facts.get("side_effect")
    return Facts(
        price_usd=facts.get("price"),
        side_effect=SideEffect(effect) if effect else None,
        cache_s=facts.get("cache_s"),
        labels=frozenset(facts.get("labels", ())),
    )


def _annotated(definition: Json) -> SideEffect:
    """What the upstream says of itself: a hint, which the operator's facts overrule."""
    annotations = definition.get("annotations")
    if not isinstance(annotations, dict):
        return SideEffect.WRITES
    hints = cast("Json", annotations)
    if hints.get("readOnlyHint") is True:
        return SideEffect.READS
    return SideEffect.DESTROYS if hints.get("destructiveHint") is True else SideEffect.WRITES
