"""Which targets does a role's pattern mean, now?"""

from collections.abc import Collection, Iterator

from broker.model import OWN_CONNECTOR, Kind, Target
from broker.patterns import matches
from broker.policy.roles import Allowance, Pattern

_OWN = f"{OWN_CONNECTOR}__"
_Entries = list[tuple[int, Pattern]]


def selects(pattern: Pattern, target: Target) -> bool:
    """Whether a pattern means a target."""
    name = acting(target) if pattern.acts_as else target.name
    return _narrowed(pattern, target) and name is not None and matches(pattern.glob, name)


def acting(target: Target) -> str | None:
    """The agent that a target acts as, or is."""
    return target.agent or (target.name if target.kind is Kind.AGENT else None)


class Selector:
    """Finds the allowances that mean a target without trying them all: most are names or how names begin."""

    def __init__(self, allowances: Collection[Allowance]) -> None:
        self._ids = [allowance.id for allowance in allowances]
        self._exact: dict[str, _Entries] = {}
        self._prefixes: dict[int, dict[str, _Entries]] = {}
        self._others: _Entries = []
        for number, allowance in enumerate(allowances):
            for pattern in allowance.patterns:
                self._add(number, pattern)

    def _add(self, number: int, pattern: Pattern) -> None:
        stars, entry = pattern.glob.count("*"), (number, pattern)
        if pattern.acts_as or stars > 1 or (stars and not pattern.glob.endswith("*")):
            self._others.append(entry)
        elif stars:
            prefix = pattern.glob[:-1]
            self._prefixes.setdefault(len(prefix), {}).setdefault(prefix, []).append(entry)
        else:
            self._exact.setdefault(pattern.glob, []).append(entry)

    def selections(self, target: Target) -> list[str]:
        """The ids of the allowances that mean a target, in their order."""
        found = {number for number, pattern in self._named(target.name) if _narrowed(pattern, target)}
        found |= {number for number, pattern in self._others if selects(pattern, target)}
        return [self._ids[number] for number in sorted(found)]

    def _named(self, name: str) -> Iterator[tuple[int, Pattern]]:
        yield from self._exact.get(name, ())
        for length, prefixes in self._prefixes.items():
            yield from prefixes.get(name[:length], ())


def _narrowed(pattern: Pattern, target: Target) -> bool:
    """Whether a target is of the kinds, effects and labels that a pattern is about.

    The broker's own tools are meant only where they are named.
    """
    if target.kind not in pattern.kinds:
        return False
    if target.connector == OWN_CONNECTOR and not pattern.glob.startswith(_OWN):
        return False
    if pattern.side_effects is not None and target.side_effect not in pattern.side_effects:
        return False
    return pattern.labels is None or not pattern.labels.isdisjoint(target.labels)
