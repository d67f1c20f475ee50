"""What does Cedar say about one actor? Questions, answers, and every way an answer can be no.

An actor is asked about as a member of its roles, team and organisation; targets that no rule can
tell apart are asked about once.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cedarpy import PolicySet

from broker.model import Agent, Target
from broker.policy import cedar
from broker.policy.compile import ENTITY_OF, Compiled
from broker.policy.selection import selections

_CALL = {"type": "Action", "id": "call"}
_LIST = {"type": "Action", "id": "list"}
_ANYBODY = "-"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One actor and one target. `error` (a reason to refuse) if a rule could not be evaluated."""

    listed: bool
    called: bool
    rules: tuple[str, ...]
    error: bool = False


REFUSED = Verdict(listed=False, called=False, rules=())
FAILED = Verdict(listed=False, called=False, rules=(), error=True)


@dataclass(frozen=True, slots=True)
class Actor:
    """All that rules can know of an actor: `id` is empty unless some rule names an agent."""

    id: str
    roles: frozenset[str]
    team: str | None
    organisation: str
    attestation: int
    depth: int

    def entity(self) -> dict[str, Any]:
        """The actor as a Cedar entity."""
        parents = [("Role", role) for role in sorted(self.roles)]
        parents += [("Organisation", self.organisation)] + ([("Team", self.team)] if self.team else [])
        return _entity("Agent", self.id or _ANYBODY, parents, {"attestation": self.attestation})


class Classes:
    """The targets, grouped into those that no rule can tell apart."""

    def __init__(self, compiled: Compiled, targets: Iterable[Target]) -> None:
        self._compiled = compiled
        self.of: dict[str, dict[str, tuple[Target, int]]] = {kind: {} for kind in ENTITY_OF}
        self._uids: list[dict[str, str]] = []
        entities: list[dict[str, Any]] = []
        numbers: dict[object, int] = {}
        for target in _distinct(targets):
            selected = selections(compiled.allowances, target)
            number = numbers.setdefault(self._traits(target, selected), len(numbers))
            if number == len(entities):
                entities.append(_target_entity(target, selected))
                self._uids.append(entities[-1]["uid"])
            self.of[target.kind][target.name] = (target, number)
        self._entities = cedar.parse_entities(entities, compiled.schema)

    def __len__(self) -> int:
        return len(self._uids)

    def number(self, target: Target) -> int | None:
        """The class of a target; None if it does not exist, or is not what it was."""
        known = self.of[target.kind].get(target.name)
        if known is None or (known[0] is not target and known[0] != target):
            return None
        return known[1]

    @property
    def names_agents(self) -> bool:
        """Whether some rule names an agent, so that roles, team and organisation do not say all."""
        return any(kind == "Agent" for kind, _ in self._compiled.mentioned)

    def _traits(self, target: Target, selected: Sequence[str]) -> object:
        uid = (ENTITY_OF[target.kind], target.name)
        return (
            uid if uid in self._compiled.mentioned else uid[0],
            target.connector,
            target.labels,
            target.side_effect,
            target.price,
            tuple(selected),
        )

    def judge(self, actor: Actor, numbers: Sequence[int]) -> dict[int, Verdict]:
        """The verdicts on some classes.

        Raises:
            ValueError: Cedar gave no answers, or a name of the actor is no Unicode text.
        """
        answers = self._ask(self._compiled.policies, actor, numbers)
        return {n: _verdict(*answers[2 * i : 2 * i + 2]) for i, n in enumerate(numbers)}

    def has_permit(self, actor: Actor, number: int) -> bool:
        """Whether some rule permits it, forbids set aside.

        Raises:
            ValueError: as `judge`.
        """
        return all(a.allowed and not a.failed for a in self._ask(self._compiled.permits, actor, [number]))

    def _ask(self, policies: PolicySet, actor: Actor, numbers: Sequence[int]) -> list[cedar.Answer]:
        """Two answers for each class: may it be listed, may it be called?"""
        entity = actor.entity()
        entities = cedar.with_entity(self._entities, entity, self._compiled.schema)
        common = {"principal": entity["uid"], "context": json.dumps({"depth": actor.depth})}
        questions = [
            {**common, "action": action, "resource": self._uids[n]}
            for n in numbers
            for action in (_LIST, _CALL)
        ]
        return cedar.ask(questions, policies, entities)


def _verdict(list_answer: cedar.Answer, call_answer: cedar.Answer) -> Verdict:
    if list_answer.failed or call_answer.failed:
        return FAILED
    deciding = call_answer if list_answer.allowed else list_answer
    called = list_answer.allowed and call_answer.allowed
    return Verdict(listed=list_answer.allowed, called=called, rules=deciding.rules)


def actors_of(agents: Sequence[Agent], *, named: bool) -> tuple[Actor, ...]:
    """The chain as rules see it."""
    depth = len(agents) - 1
    return tuple(
        Actor(a.id if named else "", a.roles, a.team, a.organisation, int(a.attestation[1:]), depth)
        for a in agents
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


def _target_entity(target: Target, selected: Sequence[str]) -> dict[str, Any]:
    parents = [("Connector", target.connector)]
    parents += [("Label", label) for label in sorted(target.labels)]
    parents += [("Selection", selection) for selection in selected]
    attributes = {"side_effect": str(target.side_effect), "price": int(target.price)}
    return _entity(ENTITY_OF[target.kind], target.name, parents, attributes)


def _entity(
    kind: str, name: str, parents: Sequence[tuple[str, str]], attributes: Mapping[str, object]
) -> dict[str, Any]:
    return {
        "uid": {"type": kind, "id": name},
        "attrs": dict(attributes),
        "parents": [{"type": parent, "id": parent_name} for parent, parent_name in parents],
    }
