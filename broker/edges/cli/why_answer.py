"""How does an explanation of a decision read? `broker why`, for people and as JSON."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from broker.edges.cli.ink import Ink, visible
from broker.edges.cli.output import dollars
from broker.edges.cli.policy_folder import Known
from broker.model import Json

if TYPE_CHECKING:
    from broker.policy.explain import Explanation, Word
    from broker.policy.interface import Decision
    from broker.policy.question import Question

_VERDICTS = {"allow": "green", "needs_approval": "yellow", "deny": "red", "hidden": "red"}
_MEANS = {
    "allow": "allowed",
    "deny": "denied",
    "needs_approval": "needs approval",
    "hidden": "denied, and hidden",
}


def told(explained: "Explanation", ink: Ink) -> Iterator[str]:
    """The verdict, and every rule with what it says, line by line."""
    decision, question = explained.decision, explained.question
    chain = " for ".join(f"`{actor.id}`" for actor in question.principal.actors)
    verdict = ink(_VERDICTS[explained.verdict], _MEANS[explained.verdict])
    yield f"{verdict}: {visible(chain)} calling `{visible(question.target.name)}`"
    yield from _list("decided by", [f"{b.rule}  {b.text}" for b in decision.because], ink)
    yield from _list("on terms", _terms(decision), ink)
    yield from _list("would change", list(explained.changes), ink)
    yield from _list("applies", [_word(word) for word in explained.deciding], ink)
    yield from _list("does not apply", [_word(word) for word in explained.ignored], ink)


def _list(title: str, items: Sequence[str], ink: Ink) -> Iterator[str]:
    if items:
        yield ""
        yield ink("bold", title)
        yield from (f"  {visible(item)}" for item in items)


def _word(word: "Word") -> str:
    shadow = "shadow, " if word.rule.shadow else ""
    said = word.why or f"{word.says} it: {word.rule.reason}"
    return f"{word.rule.id}  {word.rule.place}  ({shadow}{word.actor.id}) {said}"


def _terms(decision: "Decision") -> list[str]:
    terms = decision.obligations
    found = [] if terms.max_cost is None else [f"it may cost at most {dollars(terms.max_cost)}"]
    found += [f"`{path}` is taken out of the result" for path in sorted(terms.redact)]
    found += ["the result is marked as made by an agent"] if terms.watermark else []
    if decision.shadow is not None:
        rules = ", ".join(f"`{because.rule}`" for because in decision.shadow.because)
        found.append(f"{rules} in the shadow would {'permit' if decision.shadow.permitted else 'refuse'} it")
    return found


def about_target(question: "Question", known: Known) -> Iterator[str]:
    """That nothing is known to offer the target, where that is so."""
    target = question.target
    if (target.kind, target.name) not in known.by_name:
        yield ""
        yield f"`{visible(target.name)}` is not offered by anything that is known here ({known.said});"
        yield "it was judged by what your `tools/*.yaml` say of it"


def data(explained: "Explanation") -> Json:
    """The same for machines."""
    decision = explained.decision
    terms = decision.obligations
    return {
        "verdict": explained.verdict,
        "permitted": decision.permitted,
        "because": [{"rule": b.rule, "text": b.text} for b in decision.because],
        "policy": decision.policy,
        "obligations": {
            "max_cost_micro_usd": terms.max_cost,
            "redact": sorted(terms.redact),
            "watermark": terms.watermark,
        },
        "consents": [{"rule": c.rule, "approver": c.approver, "text": c.text} for c in decision.consents],
        "shadow": None if decision.shadow is None else {"permitted": decision.shadow.permitted},
        "changes": list(explained.changes),
        "rules": [
            {
                "rule": word.rule.id,
                "place": word.rule.place,
                "actor": word.actor.id,
                "says": word.says,
                "why": word.why,
                "shadow": word.rule.shadow,
            }
            for word in explained.words
        ],
    }
