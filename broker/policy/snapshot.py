"""What follows from one set of policies and one catalogue? Worked out once per chain, then looked up."""

from collections.abc import Sequence
from typing import TypeVar

from broker.errors import Because
from broker.model import Agent, Principal, Target
from broker.policy.compile import Compiled
from broker.policy.interface import Decision
from broker.policy.verdicts import FAILED, REFUSED, Actor, Classes, Verdict, actors_of

_MOST_ACTORS = 4_096
_MOST_DECISIONS = 65_536

Chain = tuple[object, ...]
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Snapshot:
    """One set and one catalogue, and what has been worked out about them so far."""

    def __init__(self, compiled: Compiled, targets: Sequence[Target]) -> None:
        self.compiled = compiled
        self.targets = tuple(targets)
        self.classes = Classes(compiled, self.targets)
        self.permitted: dict[object, tuple[Target, Decision]] = {}
        self._named = self.classes.names_agents
        self._listed: dict[Chain, frozenset[int]] = {}
        self._verdicts: dict[Actor, dict[int, Verdict]] = {}

    def chain(self, principal: Principal) -> Chain:
        """All that rules can know of a chain."""
        if self._named:
            return tuple([(a.id, a.roles, a.team, a.organisation, a.attestation) for a in _chain(principal)])
        return tuple([(a.roles, a.team, a.organisation, a.attestation) for a in _chain(principal)])

    def listed(self, principal: Principal) -> frozenset[int]:
        """The classes of targets that every actor is shown."""
        chain = self.chain(principal)
        known = self._listed.get(chain)
        if known is None:
            known = self._listed_by_all(actors_of(_chain(principal), named=self._named))
            _bound(self._listed, _MOST_ACTORS)
            self._listed[chain] = known
        return known

    def _listed_by_all(self, actors: Sequence[Actor]) -> frozenset[int]:
        numbers = frozenset(range(len(self.classes))) if actors else frozenset[int]()
        for actor in actors:
            verdicts = self._judge(actor, sorted(numbers))
            numbers = frozenset(n for n in numbers if verdicts[n].listed)
        return numbers

    def decide(self, principal: Principal, target: Target) -> Decision:
        """Work a decision out: the first actor that may not decides."""
        agents = _chain(principal)
        number = self.classes.number(target)
        rules: list[str] = []
        for agent, actor in zip(agents, actors_of(agents, named=self._named), strict=True):
            verdict = REFUSED if number is None else self._judge(actor, [number])[number]
            if not verdict.called:
                permitted = bool(verdict.rules) and self._has_permit(actor, number)
                return self._refusal(agent, target, verdict, permitted=permitted)
            rules += verdict.rules
        if not agents:
            return self._decision(Because("default", "the chain does not begin with the agent that asks"))
        because = [self.compiled.rules[rule] for rule in dict.fromkeys(rules)]
        return self._decision(*because, permitted=True)

    def remember(self, key: object, target: Target, decision: Decision) -> None:
        """Keep a permit. Refusals are worked out each time: they name the actor that may not."""
        _bound(self.permitted, _MOST_DECISIONS)
        self.permitted[key] = (target, decision)

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

    def _has_permit(self, actor: Actor, number: int | None) -> bool:
        if number is None:
            return False
        try:
            return self.classes.has_permit(actor, number)
        except Exception:  # noqa: BLE001 - the edge to Cedar
            return False

    def _refusal(self, agent: Agent, target: Target, verdict: Verdict, *, permitted: bool) -> Decision:
        """A forbid does not hide that nothing permits the call anyway: lifting it would not help."""
        because = [self.compiled.rules[rule] for rule in verdict.rules]
        if verdict.error:
            because.append(Because("error", "a rule could not be evaluated, so nothing is permitted"))
        elif not permitted:
            because.append(Because("default", self._no_role(agent, target)))
        return self._decision(*because)

    def _decision(self, *because: Because, permitted: bool = False) -> Decision:
        hint = None if permitted else "ask an operator of the broker; the call's record names the rules"
        return Decision(permitted, because, self.compiled.version, hint)

    def _no_role(self, agent: Agent, target: Target) -> str:
        roles = [r if r in self.compiled.roles else f"{r}, which is not defined" for r in sorted(agent.roles)]
        return f"no role of `{agent.id}` (roles: {'; '.join(roles) or 'none'}) permits `{target.name}`"


def _chain(principal: Principal) -> tuple[Agent, ...]:
    """Every actor; nobody if the authenticated agent is not the newest of them."""
    actors = principal.actors
    if actors and (actors[0] is principal.agent or actors[0] == principal.agent):
        return actors
    return ()


def _bound(cache: dict[_Key, _Value], most: int) -> None:
    if len(cache) >= most:
        cache.clear()
