"""Why may it, or why may it not? One question, every rule, and what would have to change.

The verdict is the engine's own. What is added is what each rule says about it, asked of the same Cedar
rules with the same questions.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

from broker.model import Agent
from broker.policy.case import Trace
from broker.policy.clauses import Unmet, condition_text, unmet
from broker.policy.context import UnreadableCallError
from broker.policy.engine import PolicyEngine
from broker.policy.interface import Decision
from broker.policy.question import Question, Verdict, verdict_on
from broker.policy.rules import Rule
from broker.policy.selection import selects


class Says(StrEnum):
    """What a rule says about an actor and a call."""

    PERMITS = "permits"
    FORBIDS = "forbids"
    ASIDE = "does not apply"
    FAILED = "cannot be evaluated"


@dataclass(frozen=True, slots=True)
class Word:
    """What one rule says about one actor; `why` it does not apply, where it does not."""

    actor: Agent
    rule: Rule
    says: Says
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision, what every rule says, and what would have to change for the call to be made."""

    question: Question
    verdict: Verdict
    decision: Decision
    words: tuple[Word, ...]
    changes: tuple[str, ...]

    @property
    def deciding(self) -> list[Word]:
        """What the rules say that hold. Shadow rules hold, and decide nothing."""
        return [word for word in self.words if word.says is not Says.ASIDE]

    @property
    def ignored(self) -> list[Word]:
        """The rules that have nothing to say here."""
        return [word for word in self.words if word.says is Says.ASIDE]


def explain(engine: PolicyEngine, question: Question) -> Explanation:
    """Decide a question, and say why. The engine has to know the target (`retarget`)."""
    verdict, decision = verdict_on(engine, question)
    try:
        words = tuple(_words(engine, question))
    except UnreadableCallError:  # the decision says what cannot be read; no rule was asked
        words = ()
    changes = tuple(dict.fromkeys(_changes(question, verdict, decision, words)))
    return Explanation(question, verdict, decision, words, changes)


def _words(engine: PolicyEngine, question: Question) -> Iterator[Word]:
    principal, target, params, situation = (
        question.principal,
        question.target,
        question.params,
        question.situation,
    )
    case = engine.examined(principal, target)
    if case is None:
        return
    traces = engine.explain(principal, target, params, situation)
    aside = list({t.rule.id: t.rule for t in traces if not t.holds and not t.failed}.values())
    missing = unmet(case, case.look(principal, params, situation).seen, situation.approved, aside)
    for trace in traces:
        at = next(n for n, actor in enumerate(principal.actors) if actor is trace.actor)
        yield Word(
            trace.actor, trace.rule, _says(trace), _why(trace, missing.get((trace.rule.id, at)), question)
        )


def _says(trace: Trace) -> Says:
    if trace.failed:
        return Says.FAILED
    if not trace.holds:
        return Says.ASIDE
    return Says.PERMITS if trace.rule.permits else Says.FORBIDS


def _why(  # noqa: PLR0911 - one line a part of a rule
    trace: Trace, unmet: Unmet | None, question: Question
) -> str | None:
    if trace.holds or trace.failed or unmet is None:
        return None
    actor, allowance, target = trace.actor, trace.rule.allowance, question.target
    match unmet.clause.part:
        case "principal" if allowance is not None:
            return f"`{actor.id}` has not the role `{allowance.role}`"
        case "principal":
            return f"it is about `{unmet.clause.text}`; `{actor.id}` is not"
        case "resource" if allowance is not None:
            return f"its patterns do not mean `{target.name}`"
        case "resource":
            return f"it is about `{unmet.clause.text}`; `{target.name}` is not"
        case "action":
            return "it is about what is listed, not about calls"
        case _ if "context.approved.contains" in unmet.clause.text:
            return "no human has agreed" if trace.rule.permits else "a human has agreed"
        case _:
            return f"`{unmet.clause.text}` is not so{_with(unmet)}"


def _with(unmet: Unmet) -> str:
    values = [f"{name} is {_value(value)}" for name, value in unmet.values.items()]
    return f" ({'; '.join(values)})" if values else ""


def _value(value: object) -> str:
    match value:
        case None:
            return "not there"
        case list() | tuple():
            return f"[{', '.join(_value(each) for each in cast('Sequence[object]', value))}]"
        case str():
            return f'"{value}"'
        case _:
            return str(value)


def _changes(
    question: Question, verdict: Verdict, decision: Decision, words: Sequence[Word]
) -> Iterator[str]:
    """What would have to be otherwise. Several lines: all of them, unless they say "or"."""
    if verdict is Verdict.ALLOW:
        return
    for consent in decision.consents:
        yield f"somebody with the role `{consent.approver}` has to agree: {_about(consent.rule, words)}"
    if decision.consents:
        return
    if not words:
        yield from (f"{because.rule}: {because.text}" for because in decision.because)
        return
    for actor in question.principal.actors:
        mine = [word for word in words if word.actor is actor and not word.rule.shadow]
        if not any(word.says is Says.PERMITS for word in mine):
            yield _permission(actor, question, mine)
    for word in words:
        if word.says is Says.FORBIDS and not word.rule.shadow:
            conditions = condition_text(word.rule)
            holds = f", which holds {conditions}" if conditions else ", which holds for every such call"
            yield f"`{word.rule.id}` ({word.rule.place}) must not forbid it{holds}"
        elif word.says is Says.FAILED and not word.rule.shadow:
            yield f"`{word.rule.id}` ({word.rule.place}) has to be mended: it cannot be evaluated"


def _permission(actor: Agent, question: Question, mine: Sequence[Word]) -> str:
    """What would permit it to an actor: an entry of its roles that asks for more, else another role."""
    entries = [word for word in mine if word.rule.allowance is not None and word.rule.permits]
    own = [
        w
        for w in entries
        if (a := w.rule.allowance)
        and a.role in actor.roles
        and any(selects(p, question.target) for p in a.patterns)
    ]
    if own:
        options = [f"{word.why} ({word.rule.place})" for word in own]
        return f"`{actor.id}` has an entry for it, but " + ", or ".join(options)
    others = [(w.rule, a) for w in entries if (a := w.rule.allowance) and a.role not in actor.roles]
    roles = {a.role: rule.place for rule, a in others if any(selects(p, question.target) for p in a.patterns)}
    if roles:
        such = " or ".join(f"`{role}` ({place})" for role, place in sorted(roles.items()))
        return f"`{actor.id}` would need a role that allows it, such as {such}"
    return f"no role allows `{question.target.name}`: an entry in `roles/` of a role of `{actor.id}` would"


def _about(rule_id: str, words: Sequence[Word]) -> str:
    rule = next((word.rule for word in words if word.rule.id == rule_id), None)
    return f"`{rule_id}`" if rule is None else f"`{rule_id}` ({rule.place}) {rule.reason}"
