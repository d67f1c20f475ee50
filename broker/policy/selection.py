"""Which targets does a role's pattern mean, now?"""

from collections.abc import Collection, Iterator

from broker.documents import did_you_mean
from broker.model import Kind, Target
from broker.patterns import matches
from broker.policy.compile import ENTITY_OF, Compiled
from broker.policy.roles import Allowance, Pattern
from broker.policy.static import Uid

_TARGET_TYPES = frozenset(ENTITY_OF.values())


def selects(pattern: Pattern, target: Target) -> bool:
    """Whether a pattern means a target."""
    if target.kind not in pattern.kinds:
        return False
    if pattern.side_effects is not None and target.side_effect not in pattern.side_effects:
        return False
    if pattern.labels is not None and pattern.labels.isdisjoint(target.labels):
        return False
    if not pattern.acts_as:
        return matches(pattern.glob, target.name)
    name = target.agent or (target.name if target.kind is Kind.AGENT else None)
    return name is not None and matches(pattern.glob, name)


def selections(allowances: Collection[Allowance], target: Target) -> list[str]:
    """The ids of the allowances that mean a target."""
    return [a.id for a in allowances if any(selects(pattern, target) for pattern in a.patterns)]


def idle(compiled: Compiled, targets: Collection[Target]) -> Iterator[str]:
    """What the policies name and nothing offers now: a typing error, or an upstream that is down."""
    names = {kind: {t.name for t in targets if t.kind is kind} for kind in Kind}
    connectors = {t.connector for t in targets}
    for allowance in compiled.allowances:
        for pattern in allowance.patterns:
            if pattern.glob != "*" and not any(selects(pattern, target) for target in targets):
                known = {name for kind in pattern.kinds for name in names[kind]}
                yield _warning(pattern.place, pattern.glob, known | {f"{c}__*" for c in connectors})
    present = {(ENTITY_OF[kind], name) for kind, found in names.items() for name in found}
    present |= {("Connector", connector) for connector in connectors}
    for uid, place in compiled.mentioned.items():
        if _is_target(uid) and uid not in present:
            yield _warning(place, uid[1], {name for kind, name in present if kind == uid[0]})


def _is_target(uid: Uid) -> bool:
    return uid[0] in _TARGET_TYPES or uid[0] == "Connector"


def _warning(place: str, name: str, known: Collection[str]) -> str:
    suggestion = did_you_mean(name, known)
    return f"{place}: `{name}` matches nothing that is offered now{f'; {suggestion}' if suggestion else ''}"
