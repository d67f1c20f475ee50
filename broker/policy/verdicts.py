"""Who asks for what, as rules see them? Actors, classes of targets, and what an actor is shown.

An actor is asked about as a member of its roles, team and organisation; targets that no rule can
tell apart are asked about once.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from cedarpy import PolicySet

from broker.model import Agent, Kind, Target
from broker.policy import cedar
from broker.policy.compile import ENTITY_OF, Compiled
from broker.policy.selection import selections
from broker.policy.static import Being

_LIST = {"type": "Action", "id": "list"}
_ANYBODY = "-"


@dataclass(frozen=True, slots=True)
class Actor:
    """All that rules can know of an actor: `id` is empty unless some rule names an agent.

    `depth` and `lowest` are the length of the chain and its lowest attestation.
    """

    id: str
    roles: frozenset[str]
    team: str | None
    organisation: str
    attestation: int
    depth: int
    lowest: int

    def being(self, number: int = 0) -> Being:
        """The actor as an entity; `number` tells those apart that no rule names."""
        parents = {("Role", role) for role in self.roles} | {("Organisation", self.organisation)}
        if self.team:
            parents.add(("Team", self.team))
        uid = ("Agent", self.id or f"{_ANYBODY}{number}")
        return Being(uid, frozenset(parents), {"attestation": self.attestation})

    @property
    def context(self) -> dict[str, Any]:
        """What is the same for everything that the chain asks."""
        return {"depth": self.depth, "attestation": self.lowest}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an actor is shown a target. `error`, a reason not to, if a rule could not be evaluated."""

    listed: bool
    rules: tuple[str, ...]
    error: bool = False


REFUSED = Verdict(listed=False, rules=())
FAILED = Verdict(listed=False, rules=(), error=True)


class Classes:
    """The targets, grouped into those that no rule can tell apart."""

    def __init__(self, compiled: Compiled, targets: Iterable[Target]) -> None:
        self._compiled = compiled
        self.of: dict[str, dict[str, tuple[Target, int]]] = {kind: {} for kind in ENTITY_OF}
        self.beings: list[Being] = []
        self.names_agents = any(kind == "Agent" for kind, _ in compiled.mentioned)
        """Whether some rule names an agent, so that roles, team and organisation do not say all."""
        numbers: dict[object, int] = {}
        for target in _distinct(targets):
            selected = selections(compiled.allowances, target)
            number = numbers.setdefault(self._traits(target, selected), len(numbers))
            if number == len(self.beings):
                self.beings.append(_being(target, selected))
            self.of[target.kind][target.name] = (target, number)
        self._entities = cedar.parse_entities([b.entity() for b in self.beings], compiled.schema)

    def __len__(self) -> int:
        return len(self.beings)

    def number(self, target: Target) -> int | None:
        """The class of a target; None if it does not exist, or is not what it was."""
        known = self.of[target.kind].get(target.name)
        if known is None or (known[0] is not target and known[0] != target):
            return None
        return known[1]

    def _traits(self, target: Target, selected: Sequence[str]) -> object:
        uid = (ENTITY_OF[target.kind], target.name)
        return (
            uid if uid in self._compiled.mentioned else uid[0],
            target.connector,
            target.labels,
            target.side_effect,
            target.price,
            target.agent,
            target.risk,
            target.min_trust,
            tuple(selected),
        )

    def judge(self, actor: Actor, numbers: Sequence[int]) -> dict[int, Verdict]:
        """Whether an actor is shown some classes.

        Raises:
            ValueError: Cedar gave no answers, or a name of the actor is no Unicode text.
        """
        answers = self._ask(self._compiled.policies, actor, numbers)
        return {
            n: FAILED if answer.failed else Verdict(listed=answer.allowed, rules=answer.rules)
            for n, answer in zip(numbers, answers, strict=True)
        }

    def has_permit(self, actor: Actor, number: int) -> bool:
        """Whether an actor would be shown a class, forbids set aside.

        Raises:
            ValueError: as `judge`.
        """
        (answer,) = self._ask(self._compiled.permits, actor, [number])
        return answer.allowed and not answer.failed

    def _ask(self, policies: PolicySet, actor: Actor, numbers: Sequence[int]) -> list[cedar.Answer]:
        entity = actor.being().entity()
        entities = cedar.with_entity(self._entities, entity, self._compiled.schema)
        common = {"principal": entity["uid"], "action": _LIST, "context": json.dumps(actor.context)}
        questions = [{**common, "resource": self._uid(n)} for n in numbers]
        return cedar.ask(questions, policies, entities)

    def _uid(self, number: int) -> dict[str, str]:
        kind, name = self.beings[number].uid
        return {"type": kind, "id": name}


def actors_of(agents: Sequence[Agent], *, named: bool) -> tuple[Actor, ...]:
    """The chain as rules see it."""
    depth = len(agents) - 1
    levels = [int(a.attestation[1:]) for a in agents]
    return tuple(
        Actor(
            id=agent.id if named else "",
            roles=agent.roles,
            team=agent.team,
            organisation=agent.organisation,
            attestation=level,
            depth=depth,
            lowest=min(levels),
        )
        for agent, level in zip(agents, levels, strict=True)
    )


def _distinct(targets: Iterable[Target]) -> list[Target]:
    """Targets that have one meaning: neither two of one name, nor a name that is no Unicode text."""
    found: dict[tuple[str, str], list[Target]] = {}
    for target in targets:
        found.setdefault((target.kind, target.name), []).append(target)
    return [same[0] for same in found.values() if len(same) == 1 and _is_text(same[0])]


def _is_text(target: Target) -> bool:
    try:
        "\0".join((target.name, target.connector, *target.labels)).encode()
    except UnicodeEncodeError:
        return False
    return True


def _being(target: Target, selected: Sequence[str]) -> Being:
    parents = {("Connector", target.connector)}
    parents |= {("Label", label) for label in target.labels}
    parents |= {("Selection", selection) for selection in selected}
    attributes: dict[str, Any] = {"side_effect": str(target.side_effect), "price": int(target.price)}
    said = {"agent": target.agent, "risk": target.risk or None, "min_trust": target.min_trust or None}
    attributes |= {name: value for name, value in said.items() if value is not None}
    return Being((ENTITY_OF[Kind(target.kind)], target.name), frozenset(parents), attributes)
