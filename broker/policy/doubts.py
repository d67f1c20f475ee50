"""What do the policies say that is probably not meant? Nothing here is an error: an upstream may be down."""

from collections.abc import Collection, Iterator

from broker.documents import did_you_mean
from broker.model import Kind, Target
from broker.policy.compile import ENTITY_OF, Compiled
from broker.policy.selection import acting, selects

KNOWN_LABELS = frozenset({"untrusted-source", "private-data", "external-sink", "money", "pii"})
"""The labels that the shipped rules and the documentation speak of."""

_TARGET_TYPES = frozenset(ENTITY_OF.values())
_ARGUMENT_RECORDS = frozenset({"num", "str", "provenance"})


def doubts(compiled: Compiled, targets: Collection[Target]) -> Iterator[str]:
    """Patterns, names, arguments and labels that match nothing now, with file, line and what may be meant."""
    yield from _idle_patterns(compiled, targets)
    yield from _idle_names(compiled, targets)
    yield from _undeclared_arguments(compiled)
    yield from _strange_labels(compiled, targets)


def _idle_patterns(compiled: Compiled, targets: Collection[Target]) -> Iterator[str]:
    connectors = {t.connector for t in targets}
    for allowance in compiled.allowances:
        for pattern in allowance.patterns:
            if pattern.glob == "*" or any(selects(pattern, target) for target in targets):
                continue
            if pattern.acts_as:
                known = {name for target in targets if (name := acting(target))}
            else:
                known = {t.name for t in targets if t.kind in pattern.kinds} | {f"{c}__*" for c in connectors}
            yield _idle(pattern.place, pattern.glob, known)


def _idle_names(compiled: Compiled, targets: Collection[Target]) -> Iterator[str]:
    present = {(ENTITY_OF[Kind(t.kind)], t.name) for t in targets}
    present |= {("Connector", t.connector) for t in targets}
    for uid, place in compiled.mentioned.items():
        if uid[0] in (*_TARGET_TYPES, "Connector") and uid not in present:
            yield _idle(place, uid[1], {name for kind, name in present if kind == uid[0]})


def _idle(place: str, name: str, known: Collection[str]) -> str:
    return _with_suggestion(f"{place}: `{name}` matches nothing that is offered now", name, known)


def _undeclared_arguments(compiled: Compiled) -> Iterator[str]:
    """`context.num has amonut` is well-formed Cedar, and never true."""
    numbers = {a.name for a in compiled.arguments if a.scale is not None}
    texts = {a.name for a in compiled.arguments if a.scale is None}
    declared = {"num": numbers, "str": texts, "provenance": numbers | texts}
    for rule in compiled.rules.values():
        for record, name in sorted({path for path in rule.reads if len(path) == 2}):
            if record in _ARGUMENT_RECORDS and name not in declared[record] and not _is_optional(rule.id):
                what = f"{rule.place}: no tool declares the argument `{name}` of `context.{record}`"
                yield _with_suggestion(what, name, declared[record])


def _is_optional(rule_id: str) -> bool:
    """Shipped rules speak of arguments that an operator may or may not declare."""
    return rule_id.partition("/")[0] in ("defaults", "flow")


def _strange_labels(compiled: Compiled, targets: Collection[Target]) -> Iterator[str]:
    """A label that is almost another: in a rule it never matches, on a tool no rule ever sees it."""
    ruled = {name: place for (kind, name), place in compiled.mentioned.items() if kind == "Label"}
    given = {label: entry.place for entry in compiled.declared for label in entry.labels}
    offered = {label for target in targets for label in target.labels}
    for name, place in ruled.items():
        yield from _almost(place, name, KNOWN_LABELS | offered)
    for name, place in given.items():
        yield from _almost(place, name, KNOWN_LABELS | ruled.keys())


def _almost(place: str, label: str, known: Collection[str]) -> Iterator[str]:
    suggestion = None if label in known else did_you_mean(label, known)
    if suggestion:
        yield f"{place}: nothing else speaks of the label `{label}`; {suggestion}"


def _with_suggestion(what: str, name: str, known: Collection[str]) -> str:
    suggestion = did_you_mean(name, known)
    return f"{what}; {suggestion}" if suggestion else what
