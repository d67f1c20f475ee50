"""What follows from one set of policies and one catalogue? Worked out once per chain, then looked up."""

from collections.abc import Sequence
from typing import TypeVar

from broker.errors import Because
from broker.model import Agent, Clock, Json, Principal, Situation, Target
from broker.policy.case import ERROR, HINT, Case, Trace, no_role, unreadable
from broker.policy.compile import Compiled
from broker.policy.context import Seen, UnreadableCallError
from broker.policy.interface import Decision
from broker.policy.verdicts import FAILED, REFUSED, Actor, Classes, Verdict, actors_of

_MOST_ACTORS = 4_096
_MOST_CASES = 16_384
_MOST_DECISIONS = 65_536

Chain = tuple[object, ...]
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Snapshot:
    """One set and one catalogue, and what has been worked out about them so far."""

    def __init__(self, compiled: Compiled, targets: Sequence[Target], clock: Clock) -> None:
        self.compiled = compiled
        self.targets = tuple(targets)
        self.classes = Classes(compiled, self.targets)
        self._clock = clock
        self._named = self.classes.names_agents
        self._listed: dict[Chain, frozenset[int]] = {}
        self._verdicts: dict[Actor, dict[int, Verdict]] = {}
        self._cases: dict[object, Case] = {}
        self._kept: dict[tuple[Case, Seen], Decision] = {}

    def chain(self, principal: Principal) -> Chain:
        """All that rules can know of a chain."""
        if self._named:
            return tuple(
                [(a.id, a.roles, a.team, a.organisation, a.attestation) for a in chain_of(principal)]
            )
        return tuple([(a.roles, a.team, a.organisation, a.attestation) for a in chain_of(principal)])

    def listed(self, principal: Principal) -> frozenset[int]:
        """The classes of targets that every actor is shown."""
        chain = self.chain(principal)
        known = self._listed.get(chain)
        if known is None:
            known = self._listed_by_all(actors_of(chain_of(principal), named=self._named))
            _bound(self._listed, _MOST_ACTORS)
            self._listed[chain] = known
        return known

    def _listed_by_all(self, actors: Sequence[Actor]) -> frozenset[int]:
        numbers = frozenset(range(len(self.classes))) if actors else frozenset[int]()
        for actor in actors:
            verdicts = self._judge(actor, sorted(numbers))
            numbers = frozenset(n for n in numbers if verdicts[n].listed)
        return numbers

    def decide(self, principal: Principal, target: Target, params: Json, situation: Situation) -> Decision:
        """The decision on one call. Only a call that rules cannot tell from it may share it."""
        case = self.case(principal, target)
        if case is None:
            return self._hidden(chain_of(principal), target)
        try:
            seen = case.look(principal, params, situation)
            decision = self._kept.get((case, seen))
            if decision is None:
                decision = case.decide(chain_of(principal), seen, situation.approved)
                if decision.permitted:  # refusals name the actor that may not, so they are not shared
                    _bound(self._kept, _MOST_DECISIONS)
                    self._kept[case, seen] = decision
        except UnreadableCallError as error:
            return unreadable(self.compiled, error)
        except Exception:  # noqa: BLE001 - the edge to Cedar: no answer of any kind is a refusal
            return self._refused(ERROR)
        return decision

    def case(self, principal: Principal, target: Target) -> Case | None:
        """What is known about calls of this target by this chain; None if some actor is not shown it."""
        key = (self.chain(principal), target.kind, target.name)
        case = self._cases.get(key)
        if case is not None and (case.target is target or case.target == target):
            return case
        number = self.classes.number(target)
        if number is None or number not in self.listed(principal):
            return None
        actors = actors_of(chain_of(principal), named=self._named)
        case = Case(self.compiled, target, self.classes.beings[number], actors, self._clock)
        _bound(self._cases, _MOST_CASES)
        self._cases[key] = case
        return case

    def explain(
        self, principal: Principal, target: Target, params: Json, situation: Situation
    ) -> list[Trace]:
        """What each rule says about a call of a target that exists, also where it is hidden from the chain.

        Raises:
            UnreadableCallError: a declared argument is not what was declared.
            ValueError: Cedar gave no answer.
        """
        agents, number = chain_of(principal), self.classes.number(target)
        if not agents or number is None:
            return []
        actors = actors_of(agents, named=self._named)
        case = Case(self.compiled, target, self.classes.beings[number], actors, self._clock)
        return case.traces(agents, case.look(principal, params, situation), situation.approved)

    def _hidden(self, agents: Sequence[Agent], target: Target) -> Decision:
        """The refusal of what some actor is not shown: the first of them decides."""
        number = self.classes.number(target)
        for agent, actor in zip(agents, actors_of(agents, named=self._named), strict=True):
            verdict = REFUSED if number is None else self._judge(actor, [number])[number]
            if verdict.listed:
                continue
            because = [self.compiled.rules[rule].because for rule in verdict.rules]
            if verdict.error:
                because.append(ERROR)
            elif not because or number is None or not self._has_permit(actor, number):
                because.append(no_role(agent, target, self.compiled.roles))
            return self._refused(*because)
        return self._refused(Because("default", "the chain does not begin with the agent that asks"))

    def _judge(self, actor: Actor, numbers: Sequence[int]) -> dict[int, Verdict]:
        known = self._verdicts.get(actor)
        if known is None:
            _bound(self._verdicts, _MOST_ACTORS)
            known = self._verdicts[actor] = {}
        missing = [n for n in numbers if n not in known]
        if missing:
            known.update(self._judged(actor, missing))
        return {n: known[n] for n in numbers}

    def _judged(self, actor: Actor, numbers: Sequence[int]) -> dict[int, Verdict]:
        try:
            return self.classes.judge(actor, numbers)
        except Exception:  # noqa: BLE001 - the edge to Cedar: no answer of any kind is a refusal
            return dict.fromkeys(numbers, FAILED)

    def _has_permit(self, actor: Actor, number: int) -> bool:
        try:
            return self.classes.has_permit(actor, number)
        except Exception:  # noqa: BLE001 - the edge to Cedar
            return False

    def _refused(self, *because: Because) -> Decision:
        return Decision(permitted=False, because=because, policy=self.compiled.version, hint=HINT)


def chain_of(principal: Principal) -> tuple[Agent, ...]:
    """Every actor; nobody if the authenticated agent is not the newest of them."""
    actors = principal.actors
    if actors and (actors[0] is principal.agent or actors[0] == principal.agent):
        return actors
    return ()


def _bound(cache: dict[_Key, _Value], most: int) -> None:
    if len(cache) >= most:
        cache.clear()
