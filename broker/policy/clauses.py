"""Which part of a rule is not met? A rule is cut into clauses, and Cedar is asked about each of them.

Nothing here evaluates anything: every clause becomes a policy of its own that permits where the clause is
met, and the same questions that a decision asks are put to these.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import cedarpy

from broker.policy.case import Case
from broker.policy.context import Seen
from broker.policy.rules import Rule
from broker.policy.static import Being, Path, reads

_ALL = {"op": "All"}
_LISTING = {
    "==": {"left": {"Var": "action"}, "right": {"Value": {"__entity": {"type": "Action", "id": "list"}}}}
}
_NEVER = {"<": {"left": {".": {"left": {"Var": "context"}, "attr": "depth"}}, "right": {"Value": 0}}}
"""Never so, and not seen to be: a rule that is known not to hold would not be mentioned in a refusal."""
_BRACKETS = re.compile(r"\(((?:context|resource|principal)(?:\.\w+)*)\)")
_ATTRIBUTE = re.compile(r"\b(resource|principal)\.(\w+)")

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Clause:
    """One part of a rule: a scope (`principal`, `action`, `resource`) or a condition."""

    part: str
    text: str
    policy: Json
    """The policy that permits where this clause, and every condition before it, is met."""
    sees: tuple[tuple[str, ...], ...] = ()
    """What of the context it looks at."""


@dataclass(frozen=True, slots=True)
class Unmet:
    """The first clause of a rule that is not met for an actor, and the values that it looked at."""

    clause: Clause
    values: Mapping[str, object]


def unmet(
    case: Case, seen: Seen, approved: frozenset[str], rules: Sequence[Rule]
) -> dict[tuple[str, int], Unmet]:
    """By rule and number of the actor in the chain, what is not met. A rule that holds is not in it.

    Raises:
        ValueError: Cedar gave no answer. UnreadableCallError: there is too much to ask.
    """
    clauses = {rule.id: list(_clauses(rule, whole=rule in case.rules)) for rule in rules}
    probes = [(rule, number) for rule, found in clauses.items() for number in range(len(found))]
    if not probes:
        return {}
    names = {probe: f"p{at}" for at, probe in enumerate(probes)}
    policies = {names[rule, n]: _named(clauses[rule][n].policy, names[rule, n]) for rule, n in probes}
    hearing = case.hear(_policy_set(policies), seen, approved)
    found: dict[tuple[str, int], Unmet] = {}
    for answer, context, actor in zip(hearing.answers, hearing.contexts, hearing.actors, strict=True):
        met = frozenset(answer.rules)
        for rule, parts in clauses.items():
            first = next((c for n, c in enumerate(parts) if names[rule, n] not in met), None)
            if first is None:
                continue
            for at, (each, being) in enumerate(case.beings):
                if each == actor:
                    values = _values(first, json.loads(context), being, case.being)
                    found.setdefault((rule, at), Unmet(first, values))
    return found


def assumed(rule: Rule, blind: frozenset[Path], *, met: bool) -> Rule:
    """A rule in which every condition that looks at something unknown is taken to be met, or not to be.

    A condition counts as a whole; what is joined by `&&` as several.
    """
    seen = [c for c in _split(rule.parsed["conditions"]) if not _looks_at(c, blind)]
    if rule.allowance is not None:  # what a role lists does not depend on conditions
        either = {"||": {"left": _LISTING, "right": _conjunction([c["body"] for c in seen], met=met)}}
        conditions: list[Json] = [{"kind": "when", "body": either}]
    else:
        conditions = seen if met else [*seen, {"kind": "when", "body": _NEVER}]
    parsed = {**rule.parsed, "conditions": conditions}
    reads_now = frozenset(path for condition in conditions for path in reads(condition))
    return replace(rule, parsed=parsed, cedar=_cedar({"x": parsed}), reads=reads_now)


def _looks_at(condition: Json, blind: frozenset[Path]) -> bool:
    return any(path[: len(seen)] == seen for seen in reads(condition) for path in blind)


def _conjunction(bodies: Sequence[Json], *, met: bool) -> Json:
    """All of them, and the answer to what is not known."""
    whole: Json = {"Value": True} if met else _NEVER
    for body in reversed(bodies):
        whole = {"&&": {"left": body, "right": whole}}
    return whole


def condition_text(rule: Rule) -> str:
    """All conditions of a rule, as Cedar."""
    found = [
        f"{condition['kind']} {{ {_text(condition['body'])} }}" for condition in rule.parsed["conditions"]
    ]
    return " ".join(found)


def _clauses(rule: Rule, *, whole: bool) -> Iterator[Clause]:
    """The clauses in order. Not `whole`: without those about the context, which was not looked at."""
    for part in ("principal", "action", "resource"):
        scope = rule.parsed[part]
        if scope["op"] != "All":
            yield Clause(part, _scope_text(part, scope), _policy({part: scope}, []))
    before: list[Json] = []
    for condition in _split(rule.parsed["conditions"]):
        looks_at = tuple(sorted(set(reads(condition))))
        if looks_at and not whole:
            continue
        before.append(condition)
        yield Clause("condition", _condition_text(condition), _policy({}, before), looks_at)


def _split(conditions: Sequence[Json]) -> Iterator[Json]:
    """Conditions, cut at the `&&` that join them."""
    for condition in conditions:
        if condition["kind"] == "when":
            yield from ({"kind": "when", "body": part} for part in _joined(condition["body"]))
        else:
            yield condition


def _joined(body: Json) -> Iterator[Json]:
    either = body.get("||")
    if either is not None and either["left"] == _LISTING:  # an entry of a role: listing has no conditions
        body = either["right"]
    both = body.get("&&")
    if both is None:
        yield body
    else:
        yield from _joined(both["left"])
        yield from _joined(both["right"])


def _policy(scopes: Json, conditions: Sequence[Json]) -> Json:
    scope = {part: scopes.get(part, _ALL) for part in ("principal", "action", "resource")}
    return {"effect": "permit", **scope, "conditions": list(conditions)}


def _named(policy: Json, name: str) -> Json:
    return {**policy, "annotations": {"id": name}}


def _cedar(policies: Mapping[str, Json]) -> str:
    whole: dict[str, Any] = {"staticPolicies": policies, "templates": {}, "templateLinks": []}
    return cedarpy.policies_from_json_str(json.dumps(whole))


def _policy_set(policies: Mapping[str, Json]) -> cedarpy.PolicySet:
    return cedarpy.PolicySet.from_str(_cedar(policies))


def _text(body: Json) -> str:
    """An expression as Cedar writes it, without the brackets that say nothing."""
    policy = _cedar({"x": _named(_policy({}, [{"kind": "when", "body": body}]), "x")})
    inside = policy.strip().partition("when {")[2].removesuffix("};").strip()
    while (plainer := _BRACKETS.sub(r"\1", inside)) != inside:
        inside = plainer
    return inside


def _condition_text(condition: Json) -> str:
    text = _text(condition["body"])
    return text if condition["kind"] == "when" else f"unless {text}"


def _scope_text(part: str, scope: Json) -> str:
    policy = _cedar({"x": _named(_policy({part: scope}, []), "x")})
    inside = re.sub(r"\s+", " ", policy.partition("permit(")[2])
    found = re.search(rf"\b({part} .*?)(?:, (?:action|resource)\b|\) ?;)", inside)
    return part if found is None else found[1]


def _values(clause: Clause, context: Json, actor: Being, target: Being) -> dict[str, object]:
    """What the attributes in a clause are in this call; None where there is none."""
    found: dict[str, object] = {}
    for path in clause.sees:
        value: object = context
        for name in path:
            value = cast("Json", value).get(name) if isinstance(value, dict) else None
        found["context." + ".".join(path)] = value
    for who, name in _ATTRIBUTE.findall(clause.text):
        found[f"{who}.{name}"] = (actor if who == "principal" else target).attributes.get(name)
    return found
