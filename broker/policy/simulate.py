"""What would have been decided otherwise? Recorded calls, judged once more under changed policies.

A call is judged with what was known of it when it was made: roles, labels, trust, taint, origins, counters.
Where a rule looks at an argument whose value was not recorded, both answers are tried. The call counts as
judged if they come to the same, or if only one of them agrees with what was decided then.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import product
from typing import TYPE_CHECKING

from broker.circumstances import Recalled
from broker.model import Target
from broker.policy.clauses import assumed
from broker.policy.compile import Compiled, with_rules
from broker.policy.context import UnreadableCallError
from broker.policy.interface import Decision
from broker.policy.question import Verdict
from broker.policy.rules import Rule
from broker.policy.snapshot import Snapshot
from broker.policy.static import Path

if TYPE_CHECKING:
    from broker.policy.case import Case, Look

MOST_UNKNOWN = 4
"""How many rules of unknown outcome are tried both ways."""

EXAMPLES = 3
"""How many calls of a group are named."""

_MOST_SNAPSHOTS = 4096
_MOST_DECISIONS = 200_000

Assumption = tuple[tuple[str, bool], ...]
"""Whether what is not known of a rule's conditions is taken to be met, by rule."""

Retold = Callable[[Target], tuple[Target, frozenset[str]]]
"""A recorded target as the changed facts make it, and the arguments that they declare anew."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A call that would have been decided otherwise. `rules` are those that would decide."""

    call: str
    agent: str
    target: str
    before: Verdict
    after: Verdict
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unjudged:
    """A call that cannot be judged: `rules` look at what was not recorded."""

    call: str
    agent: str
    target: str
    rules: tuple[str, ...]
    what: tuple[str, ...]


class _Set:
    """One set of policies, and all variants of it that were needed, target by target."""

    def __init__(self, compiled: Compiled) -> None:
        self.compiled = compiled
        self._now = 0.0
        self._variants: dict[tuple[Assumption, frozenset[Path]], Compiled] = {}
        self._decided: dict[tuple[Case, Look], Decision] = {}
        self._snapshots: dict[tuple[Assumption, frozenset[Path], Target], Snapshot] = {}

    def decide(
        self,
        past: Recalled,
        target: Target,
        assumption: Assumption = (),
        blind: frozenset[Path] = frozenset(),
    ) -> Decision:
        """A decision on what rules can see of the call; the agent that its text names may be another."""
        snapshot = self._snapshot(target, assumption, blind)
        self._now = datetime.fromisoformat(past.at).timestamp()
        case = snapshot.case(past.principal, target)
        try:
            look = None if case is None else case.look(past.principal, past.params, past.situation)
        except UnreadableCallError:
            look = None
        if case is None or look is None:
            return snapshot.decide(past.principal, target, past.params, past.situation)
        known = self._decided.get((case, look))
        if known is None:
            if len(self._decided) >= _MOST_DECISIONS:
                self._decided.clear()
            known = snapshot.decide(past.principal, target, past.params, past.situation)
            self._decided[case, look] = known
        return known

    def unknown(self, past: Recalled, target: Target, blind: frozenset[Path]) -> list[Rule]:
        """The rules that can matter here and look at what is not known."""
        case = self._snapshot(target, (), frozenset()).case(past.principal, target)
        return [] if case is None else [rule for rule in case.rules if not rule.shadow and _sees(rule, blind)]

    def _snapshot(self, target: Target, assumption: Assumption, blind: frozenset[Path]) -> Snapshot:
        key = (assumption, blind, target)
        found = self._snapshots.get(key)
        if found is None:
            if len(self._snapshots) >= _MOST_SNAPSHOTS:
                self._snapshots.clear()
            found = Snapshot(self._variant(assumption, blind), [target], lambda: self._now)
            self._snapshots[key] = found
        return found

    def _variant(self, assumption: Assumption, blind: frozenset[Path]) -> Compiled:
        if not assumption:
            return self.compiled
        found = self._variants.get((assumption, blind))
        if found is None:
            rules = {
                rule_id: assumed(self.compiled.rules[rule_id], blind, met=met) for rule_id, met in assumption
            }
            found = self._variants[assumption, blind] = with_rules(self.compiled, rules)
        return found


class Simulation:
    """Judges recorded calls under a changed set.

    Args:
        changed: the set that might be put in force.
        present: the set that is in force. Calls that it has decided are known a little better.
        retold: what the changed facts make of a target.
    """

    def __init__(self, changed: Compiled, present: Compiled | None, retold: Retold) -> None:
        self._changed = _Set(changed)
        self._present = None if present is None else _Set(present)
        self._retold = retold
        self._known: dict[Target, tuple[Target, frozenset[str]]] = {}

    def judge(self, past: Recalled) -> Difference | Unjudged | None:
        """What would be otherwise about a call; None if nothing would."""
        if any(rule.startswith("delegation/") for rule in past.rules):
            return None  # a hop of its delegation refused it, whatever the policies say
        target, declared = self._target(past.target)
        blind = _blind(past, declared)
        unknown = self._changed.unknown(past, target, blind) if blind else []
        if not unknown:
            return _difference(past, self._changed.decide(past, target))
        return self._by_trying(past, target, blind, unknown)

    def _target(self, target: Target) -> tuple[Target, frozenset[str]]:
        known = self._known.get(target)
        if known is None:
            known = self._known[target] = self._retold(target)
        return known

    def _by_trying(
        self, past: Recalled, target: Target, blind: frozenset[Path], unknown: Sequence[Rule]
    ) -> Difference | Unjudged | None:
        then, old = self._then(past, blind)
        names = sorted({rule.id for rule in (*unknown, *old)})
        if len(names) > MOST_UNKNOWN:
            return _unjudged(past, unknown, blind)
        found: dict[Verdict, Decision] = {}
        for assumption in _assumptions(names):
            if then is not None and not _agrees(
                past, then.decide(past, past.target, _of(assumption, old), blind)
            ):
                continue
            decision = self._changed.decide(past, target, _of(assumption, unknown), blind)
            found.setdefault(_verdict(decision), decision)
        if len(found) != 1:
            return _unjudged(past, unknown, blind)
        return _difference(past, next(iter(found.values())))

    def _then(self, past: Recalled, blind: frozenset[Path]) -> tuple[_Set | None, list[Rule]]:
        """The set that decided then and its rules of unknown outcome, if the changed set has them too."""
        present = self._present
        if present is None or present.compiled.version != past.policy:
            return None, []
        rules = present.unknown(past, past.target, blind)
        changed = self._changed.compiled.rules
        same = all(rule.id in changed and changed[rule.id].cedar == rule.cedar for rule in rules)
        return (present, rules) if same else (None, [])


def _agrees(past: Recalled, decision: Decision) -> bool:
    """Whether a decision is the one that was recorded."""
    rules = frozenset(because.rule for because in decision.because)
    return _verdict(decision) is _recorded(past) and rules == past.rules


def _blind(past: Recalled, declared: frozenset[str]) -> frozenset[Path]:
    """What rules can look at and nobody knows any more."""
    found: set[Path] = {(group, name) for name in past.unrecorded for group in ("num", "str")}
    for name in declared:
        found |= {(group, name) for group in ("num", "str", "provenance", "sums", "distinct")}
        found |= {("destinations",), ("amounts",)}
    if len(past.principal.actors) > 1:
        found.add(("task",))
    return frozenset(found)


def _sees(rule: Rule, blind: frozenset[Path]) -> bool:
    """Whether a rule looks at one of these, or at a whole in which one of them is."""
    return any(path[: len(seen)] == seen for seen in rule.reads for path in blind)


def _assumptions(names: Sequence[str]) -> Iterator[Mapping[str, bool]]:
    for values in product((True, False), repeat=len(names)):
        yield dict(zip(names, values, strict=True))


def _of(assumption: Mapping[str, bool], rules: Sequence[Rule]) -> Assumption:
    return tuple((rule.id, assumption[rule.id]) for rule in rules)


def _recorded(past: Recalled) -> Verdict:
    if past.permitted:
        return Verdict.ALLOW
    return Verdict.NEEDS_APPROVAL if past.asked else Verdict.DENY


def _verdict(decision: Decision) -> Verdict:
    if decision.permitted:
        return Verdict.ALLOW
    return Verdict.NEEDS_APPROVAL if decision.consents else Verdict.DENY


def _difference(past: Recalled, decision: Decision) -> Difference | None:
    before, after = _recorded(past), _verdict(decision)
    if before is after:
        return None
    rules = tuple(because.rule for because in decision.because)
    return Difference(past.call, past.principal.agent.id, past.target.name, before, after, rules)


def _unjudged(past: Recalled, rules: Sequence[Rule], blind: frozenset[Path]) -> Unjudged:
    what = sorted({".".join(path) for path in blind if any(_sees(rule, frozenset({path})) for rule in rules)})
    return Unjudged(
        call=past.call,
        agent=past.principal.agent.id,
        target=past.target.name,
        rules=tuple(rule.id for rule in rules),
        what=tuple(what),
    )


@dataclass(slots=True)
class Group:
    """Calls that differ in the same way: how many, and the first of them."""

    count: int = 0
    calls: list[str] = field(default_factory=list[str])

    def add(self, call: str) -> None:
        """Count one more."""
        self.count += 1
        if len(self.calls) < EXAMPLES:
            self.calls.append(call)


@dataclass(slots=True)
class Tally:
    """What a simulation comes to. Groups are kept under the first difference of their kind, without its call.

    `silent` calls have no decision in their records.
    """

    judged: int = 0
    silent: int = 0
    differences: dict[Difference, Group] = field(default_factory=dict[Difference, Group])
    unjudged: dict[Unjudged, Group] = field(default_factory=dict[Unjudged, Group])

    def add(self, found: Difference | Unjudged | None) -> None:
        """Count one call."""
        self.judged += 1
        match found:
            case Difference():
                self.differences.setdefault(replace(found, call=""), Group()).add(found.call)
            case Unjudged():
                self.unjudged.setdefault(replace(found, call=""), Group()).add(found.call)
            case None:
                pass
