"""May a chain of one kind call one target? What is not the single call is worked out once.

The answer to one call is the answer to every other that rules cannot tell from it, so permits are kept
by what the lens sees. Refusals are worked out each time: they name the actor that may not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cedarpy

from broker.errors import Because
from broker.model import Agent, Clock, Json, Principal, Situation, Target
from broker.policy import cedar
from broker.policy.compile import Compiled
from broker.policy.conditions import COUNTERS
from broker.policy.context import Lens, Seen, UnreadableCallError, expanded
from broker.policy.interface import Consent, Decision, Shadow
from broker.policy.rules import Rule
from broker.policy.static import Being, may_hold
from broker.policy.terms import strictest
from broker.policy.verdicts import Actor

_CALL = {"type": "Action", "id": "call"}
HINT = "ask an operator of the broker; the call's record names the rules"
ERROR = Because("error", "a rule could not be evaluated, so nothing is permitted")


@dataclass(frozen=True, slots=True)
class Hearing:
    """What Cedar said when each actor was asked about each combination of arguments."""

    actors: tuple[Actor, ...]
    contexts: tuple[str, ...]
    answers: tuple[cedar.Answer, ...]

    @property
    def permitted(self) -> bool:
        """Whether all said yes and no rule failed."""
        return all(answer.allowed and not answer.failed for answer in self.answers)

    @property
    def rules(self) -> tuple[str, ...]:
        """Every rule that decided for somebody."""
        return tuple(dict.fromkeys(rule for answer in self.answers for rule in answer.rules))


@dataclass(frozen=True, slots=True)
class Trace:
    """What one rule says about one actor and one call: it `holds`, does not, or `failed` to be evaluated.

    Where it is about something else altogether it does not `apply`.
    """

    actor: Agent
    rule: Rule
    applies: bool
    holds: bool = False
    failed: bool = False


class Case:
    """One chain, as far as rules can know it, and one target that all of it is shown.

    Args:
        compiled: the set in force.
        target: what is called.
        being: its class, as an entity.
        actors: the chain as rules see it.
        clock: Unix time in seconds.
    """

    def __init__(
        self, compiled: Compiled, target: Target, being: Being, actors: Sequence[Actor], clock: Clock
    ) -> None:
        self.target = target
        self._compiled = compiled
        self._being = being
        self._actors = tuple(actors)
        self._beings = {actor: actor.being(n) for n, actor in enumerate(dict.fromkeys(actors))}
        everybody = list(self._beings.values())
        self.rules = tuple(r for r in compiled.rules.values() if may_hold(r.parsed, "call", everybody, being))
        self._asking = {r.id: r for r in self.rules if r.approver is not None and not r.shadow}
        self._shadowed = compiled.shadowed if any(rule.shadow for rule in self.rules) else None
        paths = {path for rule in self.rules for path in rule.reads}
        if self._asking:
            paths.add(("approved",))
        leaves = expanded(paths, compiled.arguments, COUNTERS)
        self._lens = Lens(leaves, target, frozenset(self._asking), clock)

    def look(self, principal: Principal, params: Json, situation: Situation) -> Seen:
        """All that rules can see of a call; hashable.

        Raises:
            UnreadableCallError: a declared argument is not what was declared.
        """
        return self._lens.look(principal, params, situation)

    def decide(self, agents: Sequence[Agent], seen: Seen, approved: frozenset[str]) -> Decision:
        """The decision on a call.

        Args:
            agents: the chain, newest first.
            seen: what `look` returned.
            approved: the rules for which a human has agreed.

        Raises:
            ValueError: Cedar gave no answer.
        """
        approved &= self._asking.keys()
        hearing = self.hear(self._compiled.policies, seen, approved)
        shadow = self._shadow(hearing, seen, approved)
        consents = self._consents(hearing, seen, approved)
        because = tuple(self._compiled.rules[rule].because for rule in hearing.rules)
        version = self._compiled.version
        if consents:
            because = tuple(self._compiled.rules[consent.rule].because for consent in consents)
            hint = " and ".join(f"a `{name}`" for name in dict.fromkeys(c.approver for c in consents))
            hint = f"{hint} has to agree to this call before it can be made"
            return Decision(
                permitted=False, because=because, policy=version, hint=hint, consents=consents, shadow=shadow
            )
        if not hearing.permitted:
            because = self._refusal(agents, hearing)
            return Decision(permitted=False, because=because, policy=version, hint=HINT, shadow=shadow)
        terms = strictest(self._compiled.rules[rule].obligations for rule in hearing.rules)
        return Decision(permitted=True, because=because, policy=version, obligations=terms, shadow=shadow)

    def traces(self, agents: Sequence[Agent], seen: Seen, approved: frozenset[str]) -> list[Trace]:
        """Each rule by itself, for each actor: for people who ask why; far slower than a decision.

        Raises:
            ValueError: Cedar gave no answer.
        """
        found: list[Trace] = []
        for rule in self._compiled.rules.values():
            if rule not in self.rules:
                found += [Trace(agent, rule, applies=False) for agent in agents]
                continue
            hearing = self.hear(cedarpy.PolicySet.from_str(rule.cedar), seen, approved)
            for agent, actor in zip(agents, self._actors, strict=True):
                mine = [a for a, who in zip(hearing.answers, hearing.actors, strict=True) if who == actor]
                applies = may_hold(rule.parsed, "call", [self._beings[actor]], self._being)
                holds = any(rule.id in answer.rules for answer in mine)
                found.append(Trace(agent, rule, applies, holds, any(answer.failed for answer in mine)))
        return found

    def hear(self, policies: cedarpy.PolicySet, seen: Seen, approved: frozenset[str]) -> Hearing:
        """Ask Cedar.

        Raises:
            ValueError: it gave no answer. UnreadableCallError: there is too much to ask.
        """
        actors: list[Actor] = []
        contexts: list[str] = []
        for actor in self._beings:
            found = self._lens.contexts(seen, actor.context, approved)
            contexts += found
            actors += [actor] * len(found)
        answers = self._ask(policies, actors, contexts)
        return Hearing(tuple(actors), tuple(contexts), tuple(answers))

    def _ask(
        self, policies: cedarpy.PolicySet, actors: Sequence[Actor], contexts: Sequence[str]
    ) -> list[cedar.Answer]:
        resource = _uid(self._being)
        questions: list[dict[str, Any]] = [
            {
                "principal": _uid(self._beings[actor]),
                "action": _CALL,
                "resource": resource,
                "context": context,
            }
            for actor, context in zip(actors, contexts, strict=True)
        ]
        return cedar.ask(questions, policies, self._entities)

    @cached_property
    def _entities(self) -> cedarpy.Entities:
        beings = [self._being, *self._beings.values()]
        return cedar.parse_entities([being.entity() for being in beings], self._compiled.schema)

    def _consents(self, hearing: Hearing, seen: Seen, approved: frozenset[str]) -> tuple[Consent, ...]:
        """Who would have to agree; nobody if nobody has to or that would not help."""
        if not self._asking:
            return ()
        if hearing.permitted:
            missing = [rule for rule in hearing.rules if rule in self._asking and rule not in approved]
            return tuple(self._consent(rule) for rule in missing)
        every = frozenset(self._asking)
        granted = self.hear(self._compiled.policies, seen, every)
        if not granted.permitted:
            return ()
        needed = self._needed(hearing, granted)
        if not self.hear(self._compiled.policies, seen, approved | needed).permitted:
            needed = every
        return tuple(self._consent(rule) for rule in self._asking if rule in needed - approved)

    def _needed(self, hearing: Hearing, granted: Hearing) -> frozenset[str]:
        """The forbids that stood in the way, and for whom nothing else permits it the first entry that would.

        An obligation to ask binds wherever its entry permits the call.
        """
        needed = {rule for rule in hearing.rules if rule in self._asking}
        for answer in granted.answers:
            permits = [self._compiled.rules[rule] for rule in answer.rules]
            needed |= {rule.id for rule in permits if rule.approver is not None and not rule.asks}
            asking = [rule.id for rule in self._asking.values() if rule in permits and rule.asks]
            if asking and all(rule.asks for rule in permits) and needed.isdisjoint(asking):
                needed.add(asking[0])
        return frozenset(needed)

    def _consent(self, rule_id: str) -> Consent:
        rule = self._asking[rule_id]
        return Consent(rule_id, rule.approver or "", rule.because.text)

    def _shadow(self, hearing: Hearing, seen: Seen, approved: frozenset[str]) -> Shadow | None:
        """What the shadow rules would change; nothing about them ever decides."""
        if self._shadowed is None:
            return None
        other = self.hear(self._shadowed, seen, approved)
        if other.permitted == hearing.permitted:
            return None
        rules = [self._compiled.rules[rule] for rule in other.rules]
        because = [rule.because for rule in rules if rule.shadow] or [ERROR]
        return Shadow(permitted=other.permitted, because=tuple(because))

    def _refusal(self, agents: Sequence[Agent], hearing: Hearing) -> tuple[Because, ...]:
        """A forbid does not hide that nothing permits the call anyway: lifting it would not help."""
        first = next(n for n, a in enumerate(hearing.answers) if not a.allowed or a.failed)
        answer, actor = hearing.answers[first], hearing.actors[first]
        because = [self._compiled.rules[rule].because for rule in answer.rules if not answer.allowed]
        if answer.failed:
            return (*because, ERROR)
        (permit,) = self._ask(self._compiled.permits, [actor], [hearing.contexts[first]])
        if not permit.allowed or permit.failed:
            agent = agents[self._actors.index(actor)]
            because.append(no_role(agent, self.target, self._compiled.roles))
            because += [rule.because for rule in self._unmet(actor)]
        return tuple(because)

    def _unmet(self, actor: Actor) -> list[Rule]:
        """The entries of the actor's own roles that mean the target and ask for something else."""
        return [
            rule
            for rule in self.rules
            if rule.allowance is not None
            and rule.allowance.role in actor.roles
            and (rule.asks or rule.allowance.condition is not None)
        ]


def no_role(agent: Agent, target: Target, defined: frozenset[str]) -> Because:
    """That nothing permits it, in words."""
    roles = [role if role in defined else f"{role}, which is not defined" for role in sorted(agent.roles)]
    listed = "; ".join(roles) or "none"
    return Because("default", f"no role of `{agent.id}` (roles: {listed}) permits `{target.name}`")


def unreadable(compiled: Compiled, problem: UnreadableCallError) -> Decision:
    """The refusal of a call whose arguments rules cannot judge."""
    because = Because("argument", f"rules cannot judge this call: {problem}")
    hint = (
        "give the argument as `tools/*.yaml` declares it: one exact number or text, or a short list of them"
    )
    return Decision(permitted=False, because=(because,), policy=compiled.version, hint=hint)


def _uid(being: Being) -> dict[str, str]:
    return {"type": being.uid[0], "id": being.uid[1]}
